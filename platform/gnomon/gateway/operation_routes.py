"""Routes that ask for work and report outcomes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from gnomon.contracts.clocks import to_us
from gnomon.contracts.deployments import Deployment, Monitor
from gnomon.contracts.features import FeatureView
from gnomon.contracts.models import Model
from gnomon.contracts.predictions import Outcome
from gnomon.contracts.sources import DataSource
from gnomon.contracts.specs import Spec
from gnomon.control_plane.export_limits import check_export_arguments
from gnomon.control_plane.parts import Parts
from gnomon.errors import InvalidInput
from gnomon.gateway.bodies import OperationBody, OutcomesBody, operation_json, plain

_TARGETS: dict[str, type[Spec]] = {
    "ingest": DataSource, "materialize": FeatureView, "train": Model,
    "deploy": Deployment, "monitor": Monitor, "retrain": Model, "audit_skew": Model,
    "export_training_set": Model, "export_features": Spec,
}  # fmt: skip
PageRows = Annotated[int, Query(ge=0, le=10_000)]
_DAY_US = 86_400_000_000
_MOST_BYTES = 2_000_000  # of an operation's arguments: they are stored with it
_ARGUMENTS: dict[str, dict[str, type]] = {
    "deploy": {"version": int}, "audit_skew": {"since": str, "until": str},
    "export_training_set": {"as_of": str, "version": int},
    "export_features": {"as_of": str, "features": list, "keys": list, "keys_from": str, "target_kind": str},
}  # fmt: skip


def router(parts: Parts) -> APIRouter:
    """Return the routes over the platform's parts."""
    routes = APIRouter(tags=["operations"])

    @routes.post("/operations", status_code=202)
    def submit(body: OperationBody) -> dict[str, Any]:
        """Store the intent; the control plane does the work. The same `id` again returns the same operation."""
        parts.app_with(_TARGETS[body.kind], body.target)
        _check_arguments(body)
        operation = parts.operations.submit(body.kind, body.target, body.arguments, actor="api", operation_id=body.id)
        return operation_json(operation)

    @routes.get("/operations")
    def operations(limit: int = 50) -> dict[str, Any]:
        """List operations, newest first."""
        return {"operations": [operation_json(o) for o in parts.operations.list(limit=max(1, min(limit, 1000)))]}

    @routes.get("/operations/{operation_id}")
    def operation(operation_id: str) -> dict[str, Any]:
        """Show an operation as it stands."""
        return operation_json(parts.operations.get(operation_id))

    @routes.post("/operations/{operation_id}/cancel")
    def cancel(operation_id: str) -> dict[str, Any]:
        """Cancel an operation that has not ended; one that has stays as it is."""
        cancelled = parts.operations.cancel(operation_id)
        parts.audit.record("api", "cancel", f"operation/{operation_id}", {"state": cancelled.state})
        return operation_json(cancelled)

    @routes.post("/deployments/{deployment}/outcomes")
    def outcomes(deployment: str, body: OutcomesBody) -> dict[str, Any]:
        """Report what really happened; durable on answer, and harmless when repeated."""
        app = parts.app_with(Deployment, deployment).app
        _check_values(body, app.get(Model, app.get(Deployment, deployment).model))
        now_us = parts.clock.now_us()
        rows = [Outcome(o.prediction_id, o.value, now_us) for o in body.outcomes]
        # Not named by its content: a value reported, corrected and then restored would pass for a repeated batch.
        added = parts.predictions.append_outcomes(deployment, rows, secrets.token_hex(16))
        return {"deployment": deployment, "received": len(rows), "added": added}

    @routes.get("/deployments/{deployment}/predictions")
    def predictions(
        deployment: str, since: datetime | None = None, limit: PageRows = 1000, cursor: str | None = None
    ) -> dict[str, Any]:  # fmt: skip
        """List logged predictions with their outcomes, newest first: of the last day, or since a moment.

        The answer's `next`, given as `cursor`, returns those that follow in the same period; it is null at the end.
        """
        parts.app_with(Deployment, deployment)
        now_us = parts.clock.now_us()
        after_us, before = (_moment_us(since, now_us - _DAY_US), None) if cursor is None else _place(cursor)
        page = parts.predictions.page(deployment, after_us, now_us, limit=limit, before=before)
        rows = page.rows.to_pylist()
        further = None if page.is_last or not rows else _cursor(after_us, rows[-1])
        return {
            "deployment": deployment, "total": page.total, "predictions": [plain(row) for row in rows], "next": further
        }  # fmt: skip

    return routes


def _check_values(body: OutcomesBody, model: Model) -> None:
    for outcome in body.outcomes:
        if model.task == "binary" and outcome.value not in (0, 1):
            raise InvalidInput(
                f"the outcome of prediction '{outcome.prediction_id}' is {outcome.value:g}, and model '{model.name}' "
                "is binary",
                "give 1 where the label came true and 0 where not; none of these outcomes was kept",
            )


def _cursor(after_us: int, row: Mapping[str, Any]) -> str:
    """Name a row's place in its period; the period's start is in it, as a day ago is another moment at each call."""
    return f"{after_us},{row['time_us']},{row['prediction_id']}"


def _place(cursor: str) -> tuple[int, tuple[int, str]]:
    """Return the start of a cursor's period, and the (time, id) of the row that it names."""
    try:
        after, time, prediction_id = cursor.split(",", 2)
        after_us, time_us = int(after), int(time)
    except ValueError as error:
        raise InvalidInput(f"cursor: '{cursor[:80]}' is none", "give `next` of the page before, unchanged") from error
    if max(abs(after_us), abs(time_us)) >= 2**62:
        raise InvalidInput(f"cursor: '{cursor[:80]}' is none", "give `next` of the page before, unchanged")
    return after_us, (time_us, prediction_id)


def _moment_us(moment: datetime | None, default_us: int) -> int:
    if moment is None:
        return default_us
    try:
        return to_us(moment)
    except ValueError as error:
        raise InvalidInput(f"since: {error}", "write it as 2026-01-31T12:00:00Z") from error


def _check_arguments(body: OperationBody) -> None:
    known = _ARGUMENTS.get(body.kind, {})
    for name, value in body.arguments.items():
        if name not in known:
            raise InvalidInput(f"{body.kind} takes no argument '{name}'", f"it takes: {', '.join(known) or 'none'}")
        if type(value) is not known[name]:
            raise InvalidInput(
                f"{body.kind}: argument '{name}' is {str(value)[:80]!r}", f"give it as {known[name].__name__}"
            )
    try:
        size = len(json.dumps(body.arguments, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:  # such a text could be stored and not be sent back
        half = error.object[error.start : error.end]
        raise InvalidInput(
            f"{body.kind}: the arguments hold {half!a}, half of a surrogate pair", "write texts in UTF-8"
        ) from error
    if size > _MOST_BYTES:
        raise InvalidInput(f"{body.kind}: the arguments have {size} bytes, above {_MOST_BYTES}", "ask in several parts")
    if body.kind == "export_features":
        check_export_arguments(body.arguments)
