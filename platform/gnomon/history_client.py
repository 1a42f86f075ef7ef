"""History from the caller's side: audit trail, tracked trainings, predictions, log. `Client.history` is one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from gnomon.connection import Connection, Json

_PAGE_ROWS: Final = 5000


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

    def logs(self, *, component: str | None = None, lines: int = 100) -> list[Json]:
        """Return the newest log lines, oldest first."""
        query = {"lines": lines, **({"component": component} if component else {})}
        found: list[Json] = self._call("GET", "/api/v1/logs", params=query)["lines"]
        return found

    def quarantine(self, source: str, limit: int = 20) -> Json:
        """Return rows that broke a rule of their source.

        Args:
            source: Name of the source.
            limit: How many at most, up to 1000.

        Returns:
            `total`, and `rows`, the newest first: `ingested_at`, `file`, `line`, `rule`, `reason` and `raw`.
        """
        return self._call("GET", f"/api/v1/sources/{source}/quarantine", params={"limit": limit})

    def predictions(self, deployment: str, since: datetime | None = None, limit: int = 1000) -> Json:
        """Return logged predictions with their outcomes, fetched page by page.

        Args:
            deployment: The endpoint.
            since: Aware time after which they were asked for; a day ago when left out.
            limit: How many at most.

        Returns:
            `predictions`, newest first, and `total`, the number in the period; a prediction is in the log about a
            second after it was answered.
        """
        pages = list(self._pages(deployment, since, limit))
        return {**pages[0], "predictions": [row for page in pages for row in page["predictions"]]}

    def each_prediction(self, deployment: str, since: datetime | None = None) -> Iterator[Json]:
        """Yield all logged predictions of a period as `predictions` gives them, newest first, one page in memory."""
        for page in self._pages(deployment, since, None):
            yield from page["predictions"]

    def _pages(self, deployment: str, since: datetime | None, limit: int | None) -> Iterator[Json]:
        """Yield at least one page, without its cursor."""
        query: Json = {"since": since.isoformat()} if since else {}
        while True:
            rows = _PAGE_ROWS if limit is None else min(limit, _PAGE_ROWS)
            path = f"/api/v1/deployments/{deployment}/predictions"
            page = self._call("GET", path, params={**query, "limit": rows})
            query = {"cursor": page.pop("next")}
            yield page
            if limit is not None:
                limit -= len(page["predictions"])
            if limit == 0 or query["cursor"] is None:
                return

    def runs(self, model: str | None = None) -> list[Json]:
        """Return tracked trainings, newest first: `run_id`, `state`, `parameters`, `metrics`, `error` and times."""
        found: list[Json] = self._call("GET", "/api/v1/runs", params={"model": model} if model else {})["runs"]
        return found

    def series(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return a metric of a training as (epoch, value), by epoch."""
        found = self._call("GET", f"/api/v1/runs/{run_id}/series/{metric}")["series"]
        return [(int(step), float(value)) for step, value in found]
