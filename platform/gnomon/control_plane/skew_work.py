"""The work of the operation `audit_skew`: replay a model's logged predictions, and tell what differs and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np

from gnomon.contracts.clocks import to_us
from gnomon.contracts.deployments import Deployment
from gnomon.contracts.models import Model
from gnomon.contracts.operations import Operation
from gnomon.control_plane.moments import FORMS, moment_us
from gnomon.control_plane.parts import Parts, Resolve
from gnomon.errors import InvalidInput
from gnomon.features.event_columns import Int64s
from gnomon.monitoring.skew_audit import SkewQuestion, TrainedVersion, audit_skew
from gnomon.serving.prediction_log import predictions_table

_OPERATIONS: Final = 10_000
"""Operations that are searched for materializations, the newest."""


def audit_model(operation: Operation, parts: Parts, report: Callable[[str], None]) -> dict[str, Any]:
    """Audit the predictions of a model that all of its deployments have logged.

    Args:
        operation: Its target is the model; its arguments are `since` and, if not now, `until`: a duration before now, a
            date (UTC) or a time with its zone.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        `SkewReport.as_json`.

    Raises:
        NotFound: No applied app defines the model, or a table that its features come from is gone.
        InvalidInput: `since` or `until` is no moment, or the period is empty.
    """
    model = parts.app_with(Model, operation.target).app.get(Model, operation.target).name
    now_us = parts.clock.now_us()
    after_us = moment_us("since", operation.arguments.get("since", "1d"), now_us)
    until_us = moment_us("until", operation.arguments.get("until", "0s"), now_us)
    if after_us >= until_us:
        raise InvalidInput("the period to audit is empty: 'since' is not before 'until'", FORMS)
    deployments = [d.name for app in parts.apps() for d in app.all(Deployment) if d.model == model]
    question = SkewQuestion(
        model, {name: predictions_table(name) for name in deployments}, after_us, until_us, now_us,
        _materializations(parts), parts.local_rows,
    )  # fmt: skip
    return audit_skew(question, parts.offline, _versions(parts, model), report).as_json()


def _materializations(parts: Parts) -> dict[str, Int64s]:
    """Return the moments of the materializations that operations have done, by view."""
    found: dict[str, list[int]] = {}
    for done in parts.operations.list(states=("succeeded",), limit=_OPERATIONS):
        if done.kind == "materialize" and done.result is not None:
            found.setdefault(done.target, []).append(to_us(datetime.fromisoformat(done.result["as_of"])))
    return {view: np.array(sorted(moments), np.int64) for view, moments in found.items()}


def _versions(parts: Parts, model: str) -> Callable[[int], TrainedVersion]:
    @lru_cache(maxsize=64)
    def trained(number: int) -> TrainedVersion:
        version = parts.registry.version(model, number)
        app = parts.definitions.revision(version.lineage.app_hash).app
        others = [
            (applied.app, _importer(parts, applied.app.code))
            for applied in parts.definitions.revisions(app.name)
            if applied.app_hash != version.lineage.app_hash
        ]
        return TrainedVersion(version.signature, app, _importer(parts, app.code), others)

    return trained


def _importer(parts: Parts, code: str) -> Resolve:
    """Return an importer that looks for the app's code only when a function is asked for."""
    return lambda reference: parts.resolver(code)(reference)
