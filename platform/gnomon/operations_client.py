"""Operations from the caller's side: ask for work, look at it, wait for its end. `Client.operations` is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gnomon.connection import Connection, Json
from gnomon.errors import OperationFailed, Unavailable, from_json

_FINAL = ("succeeded", "failed", "cancelled")


class Operations:
    """The operations of a platform.

    Args:
        connection: To the platform.
    """

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    def submit(
        self, kind: str, target: str, arguments: Mapping[str, Any] | None = None, operation_id: str | None = None
    ) -> Json:  # fmt: skip
        """Ask for an operation; with an `operation_id` asking again returns the same one.

        Args:
            kind: `ingest`, `materialize`, `train`, `deploy`, `monitor` or `retrain`.
            target: Name of the source, view, model, deployment or monitor.
            arguments: JSON arguments of the kind.
            operation_id: Names the request, so that repeating it is harmless; a fresh id is made when left out.

        Returns:
            The operation: `id`, `kind`, `target`, `state`, `progress`, `result`, `error`, `attempts`.
        """
        body = {"kind": kind, "target": target, "arguments": dict(arguments or {}), "id": operation_id}
        return self._call("POST", "/api/v1/operations", json=body)

    def get(self, operation_id: str) -> Json:
        """Return an operation as it stands."""
        return self._call("GET", f"/api/v1/operations/{operation_id}")

    def newest(self, limit: int = 50) -> list[Json]:
        """Return operations, newest first."""
        found: list[Json] = self._call("GET", "/api/v1/operations", params={"limit": limit})["operations"]
        return found

    def cancel(self, operation_id: str) -> Json:
        """Cancel an operation that has not ended."""
        return self._call("POST", f"/api/v1/operations/{operation_id}/cancel")

    def wait(
        self, operation: Json, *, timeout_s: float = 3600.0, on_progress: Callable[[Json], None] | None = None
    ) -> Json:  # fmt: skip
        """Wait for an operation to end and return its result.

        Args:
            operation: As returned by `submit`.
            timeout_s: How long to wait, in seconds; the operation itself goes on afterwards.
            on_progress: Called with the operation each time that it changed.

        Returns:
            What the work answered; its fields depend on the operation's kind.

        Raises:
            OperationFailed: It was cancelled or has not ended in time; an error of its own is raised as what it was.
        """
        deadline, seen, pause_s = time.monotonic() + timeout_s, None, 0.05
        while True:
            now = self._get_through_restarts(operation["id"], deadline)
            if now != seen and on_progress is not None:
                on_progress(now)
            seen = now
            if now["state"] in _FINAL:
                return _result(now)
            if time.monotonic() > deadline:
                raise OperationFailed(
                    f"{now['kind']} of '{now['target']}' has not ended after {timeout_s:.0f} s (it is {now['state']})",
                    f"it goes on; ask again with `gnomon operations {now['id']}`",
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.5)

    def _get_through_restarts(self, operation_id: str, deadline: float) -> Json:
        """Ask for an operation, patiently while the gateway is away: the operation does not depend on it."""
        while True:
            try:
                return self.get(operation_id)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def run(self, kind: str, target: str, arguments: Mapping[str, Any] | None = None, **waiting: Any) -> Json:
        """Submit an operation and wait for its result; keywords go to `wait`."""
        return self.wait(self.submit(kind, target, arguments), **waiting)


def _result(operation: Json) -> Json:
    if operation["state"] == "succeeded":
        return {"operation": operation["id"], **(operation["result"] or {})}
    if operation["state"] == "failed":
        raise from_json(operation["error"] or {})
    raise OperationFailed(f"{operation['kind']} of '{operation['target']}' was cancelled")
