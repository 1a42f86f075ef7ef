"""Operations from the caller's side: ask for work, look at it, wait for its end. `Client.operations` is one.

An operation gets its id here, before it is first asked for: when the answer is lost it is asked for again by that id,
and the platform does not take it for another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gnomon.connection import Connection, Json
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.operations import new_operation_id
from gnomon.errors import OperationFailed, Unavailable, from_json

_FINAL = ("succeeded", "failed", "cancelled")
_AWAY_S = 120.0
"""How long a platform may be away while an operation is waited for; a machine that is busy restarts it in less."""
_ASK_AGAIN_AFTER_S = (0.2, 1.0)
"""Pauses before an operation whose answer was lost is asked for again; a replica of the gateway is replaced in less."""


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
        """Ask for an operation, again if the answer is lost; asked for by the same id it is done once.

        Args:
            kind: `ingest`, `materialize`, `train`, `deploy`, `monitor`, `retrain`, `audit_skew`,
                `export_training_set` or `export_features`.
            target: Name of the source, view, model, deployment or monitor.
            arguments: JSON arguments of the kind.
            operation_id: Names the request, so that repeating it is harmless; a fresh id is made when left out.

        Returns:
            The operation: `id`, `kind`, `target`, `state`, `progress`, `result`, `error`, `attempts`.

        Raises:
            Unavailable: No answer came, three times; the hint and the details' `id` name the operation, which may have
                been asked for.
            Conflict: That id belongs to an operation of another kind, target or arguments.
        """
        identity = operation_id or new_operation_id(SystemClock().now_us())
        body = {"kind": kind, "target": target, "arguments": dict(arguments or {}), "id": identity}
        for pause_s in _ASK_AGAIN_AFTER_S:
            try:
                return self._call("POST", "/api/v1/operations", json=body)
            except Unavailable:
                time.sleep(pause_s)
        try:
            return self._call("POST", "/api/v1/operations", json=body)
        except Unavailable as error:
            error.hint = f"{error.hint}; it may have been asked for all the same: `gnomon operations {identity}`"
            error.details["id"] = identity
            raise

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
            Unavailable: The platform has not answered for two minutes.
        """
        deadline, seen, pause_s = time.monotonic() + timeout_s, None, 0.05
        while True:
            now = self._get_through_restarts(seen or operation, on_progress)
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

    def _get_through_restarts(self, last: Json, on_progress: Callable[[Json], None] | None) -> Json:
        """Ask for an operation, patiently while the gateway is away: the operation does not depend on it."""
        deadline, told = time.monotonic() + _AWAY_S, False
        while True:
            try:
                return self.get(last["id"])
            except Unavailable as error:
                if time.monotonic() > deadline:
                    error.hint = f"{error.hint}; then look at it again: `gnomon operations {last['id']}`"
                    error.details["id"] = last["id"]
                    raise
                if on_progress is not None and not told:
                    on_progress({**last, "progress": f"no answer from the platform: waiting up to {_AWAY_S:.0f} s"})
                told = True
                time.sleep(0.5)

    def run(
        self, kind: str, target: str, arguments: Mapping[str, Any] | None = None, *, operation_id: str | None = None,
        **waiting: Any,
    ) -> Json:  # fmt: skip
        """Submit an operation and wait for its result; other keywords go to `wait`."""
        return self.wait(self.submit(kind, target, arguments, operation_id), **waiting)


def _result(operation: Json) -> Json:
    if operation["state"] == "succeeded":
        return {"operation": operation["id"], **(operation["result"] or {})}
    if operation["state"] == "failed":
        raise from_json(operation["error"] or {})
    raise OperationFailed(f"{operation['kind']} of '{operation['target']}' was cancelled")
