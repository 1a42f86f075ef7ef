"""The work of the operation `monitor`: compare the live window with the version's reference, and remember the finding.

Whether to retrain is not decided here: the control loop reads the operation's result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc

from gnomon.contracts.clocks import from_us
from gnomon.contracts.deployments import CHAMPION, Deployment, Monitor
from gnomon.contracts.durations import duration_us
from gnomon.contracts.models import Model
from gnomon.contracts.operations import Operation
from gnomon.control_plane.audited_work import record_once
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.training_work import REFERENCE_FILE
from gnomon.errors import Conflict
from gnomon.evaluation.metrics import evaluate
from gnomon.evaluation.references import SCORE, read_reference
from gnomon.monitoring.drift import SCORE_COLUMN
from gnomon.monitoring.evaluation import evaluate_monitor


def run_monitor(operation: Operation, parts: Parts, report: Callable[[str], None]) -> dict[str, Any]:
    """Evaluate a monitor at the platform's time, on what the champion has predicted in its window.

    Args:
        operation: Its target is the monitor.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        `fired`, `findings` in words, `rows` and `outcomes` of the champion's version, and the window's bounds.

    Raises:
        NotFound: No applied app defines the monitor.
        Conflict: Nothing serves yet, so that there is no reference to compare with.
    """
    app = parts.app_with(Monitor, operation.target).app
    monitor = app.get(Monitor, operation.target)
    model = app.get(Model, app.get(Deployment, monitor.deployment).model)
    champion = parts.registry.resolve(model.name, CHAMPION)
    if champion is None:
        raise Conflict(f"monitor '{monitor.name}' has nothing to watch: no version of '{model.name}' serves")
    report("comparing the live window with the reference")
    now_us = parts.clock.now_us()
    live = parts.predictions.read(monitor.deployment, now_us - duration_us(monitor.window), now_us)
    # Right after a promotion most of the window is the version before's, whose scores this reference does not describe.
    live = live.filter(pc.equal(live["version"], champion.number))
    reference = read_reference((parts.artifacts.get_folder(champion.artifact) / REFERENCE_FILE).read_bytes())
    reference = reference.rename_columns([SCORE_COLUMN if n == SCORE else n for n in reference.column_names])
    done = evaluate_monitor(monitor, model.task, reference, live, now_us, _metrics)
    state = dict(parts.states.get("monitor", monitor.name) or {})
    state |= {
        "operation": operation.id, "last_evaluated_us": now_us,
        "fired": done.fired, "summary": "; ".join(done.findings),
        "rows": done.rows, "outcomes": done.outcomes, "model": model.name, "version": champion.number,
    }  # fmt: skip
    if done.fired:
        state["last_fired_us"] = now_us
        details = {"findings": list(done.findings), "version": champion.number}
        record_once(parts.audit, operation.id, "monitor fired", f"monitor/{monitor.name}", details)
    parts.states.put("monitor", monitor.name, state)
    fired_rules = [rule.words for rule in done.rules if rule.fired]
    return {**done.as_json(), "fired_rules": fired_rules, "at": from_us(now_us).isoformat()}


def _metrics(task: Any, labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> Mapping[str, float]:
    return {metric.name: metric.value for metric in evaluate(task, labels, scores)}
