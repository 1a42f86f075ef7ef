"""History from the caller's side: the audit trail and the tracked trainings. `Client.history` is one."""

from __future__ import annotations

from datetime import datetime

from gnomon.connection import Connection, Json


class History:
    """What happened on a platform.

    Args:
        connection: To the platform.
    """

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    def audit(self, limit: int = 50) -> list[Json]:
        """Return the audit trail, newest first: `number`, `time`, `actor`, `action`, `target`, `details`."""
        found: list[Json] = self._call("GET", "/api/v1/audit", params={"limit": limit})["entries"]
        return found

    def predictions(self, deployment: str, since: datetime | None = None, limit: int = 50) -> Json:
        """Return logged predictions with their outcomes.

        Args:
            deployment: The endpoint.
            since: Aware time after which they were asked for; a day ago when left out.
            limit: How many at most.

        Returns:
            `predictions`, newest first, and `total`, the number in the period; a prediction is in the log about a
            second after it was answered.
        """
        query = {"limit": limit, **({"since": since.isoformat()} if since else {})}
        return self._call("GET", f"/api/v1/deployments/{deployment}/predictions", params=query)

    def runs(self, model: str | None = None) -> list[Json]:
        """Return tracked trainings, newest first: `run_id`, `state`, `parameters`, `metrics`, `error` and times."""
        found: list[Json] = self._call("GET", "/api/v1/runs", params={"model": model} if model else {})["runs"]
        return found

    def series(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return a metric of a training as (epoch, value), by epoch."""
        found = self._call("GET", f"/api/v1/runs/{run_id}/series/{metric}")["series"]
        return [(int(step), float(value)) for step, value in found]
