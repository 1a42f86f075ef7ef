"""`evaluate_monitor`: does a monitor fire on this window? Called by the worker of a `monitor` operation.

It only judges. The cooldown, and what follows, is the control plane's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gnomon.contracts.clocks import from_us
from gnomon.contracts.deployments import Drift, Monitor, Quality
from gnomon.contracts.durations import duration_us, format_duration
from gnomon.contracts.models import Task
from gnomon.errors import InvalidInput, did_you_mean
from gnomon.monitoring.drift import SCORE_COLUMN, compare

MetricFunction = Callable[[Task, NDArray[np.float64], NDArray[np.float64]], Mapping[str, float]]
"""Computes all metrics of a task from labels and scores of equal length."""


@dataclass(frozen=True)
class RuleReport:
    """What one rule found.

    Attributes:
        rule: `drift` or `quality`.
        fired: Whether it fires.
        words: What was found, with the numbers.
        value: PSI, KS distance or metric; None where there was too little to say.
    """

    rule: str
    fired: bool
    words: str
    value: float | None


@dataclass(frozen=True)
class MonitorReport:
    """What an evaluation found.

    Attributes:
        monitor: The monitor.
        fired: Whether any of its rules fires.
        rules: One report a rule, in the order of the rules.
        rows: Predictions in the window.
        outcomes: Those of them whose outcome is known.
        window: After when, and until when, the predictions were asked for.
    """

    monitor: str
    fired: bool
    rules: tuple[RuleReport, ...]
    rows: int
    outcomes: int
    window: tuple[datetime, datetime]

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found, a sentence a rule; those that fire begin with the word."""
        return tuple(f"fires: {rule.words}" if rule.fired else rule.words for rule in self.rules)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form, as the result of the operation."""
        rules = [{"rule": r.rule, "fired": r.fired, "words": r.words, "value": r.value} for r in self.rules]
        after, until = (moment.isoformat() for moment in self.window)
        seen = {"rows": self.rows, "outcomes": self.outcomes, "after": after, "until": until}
        return {"monitor": self.monitor, "fired": self.fired, "rules": rules, "findings": list(self.findings), **seen}


def evaluate_monitor(
    monitor: Monitor, task: Task, reference: pa.Table, live: pa.Table, now_us: int, metric: MetricFunction
) -> MonitorReport:  # fmt: skip
    """Evaluate all rules of a monitor on the window that ends now. Too few rows say so, and do not fire.

    Args:
        monitor: What is watched.
        task: Of the model, for the metrics.
        reference: What the version was trained on: its inputs by name, and `output`.
        live: What `PredictionLog.read` returned; rows outside the window are left out.
        now_us: End of the window, inclusive.
        metric: Computes the metrics.

    Returns:
        The report; it fires when any rule does.

    Raises:
        InvalidInput: A rule names a column or metric that there is not.
    """
    after_us = now_us - duration_us(monitor.window)
    window = _within(live, after_us, now_us)
    known = window.filter(pc.is_valid(window["outcome"])) if window.num_rows else window
    rules = tuple(
        _drift(rule, monitor, reference, window)
        if isinstance(rule, Drift)
        else _quality(rule, monitor, task, known, metric)
        for rule in monitor.rules
    )
    fired = any(rule.fired for rule in rules)
    until = (from_us(after_us), from_us(now_us))
    return MonitorReport(monitor.name, fired, rules, window.num_rows, known.num_rows, until)


def _within(live: pa.Table, after_us: int, until_us: int) -> pa.Table:
    """Keep the predictions of `(after, until]`; the log may have been read with other bounds."""
    if not live.num_rows:
        return live
    times = pc.cast(live["time_us"], pa.int64())
    return live.filter(pc.and_(pc.greater(times, after_us), pc.less_equal(times, until_us)))


def _drift(rule: Drift, monitor: Monitor, reference: pa.Table, window: pa.Table) -> RuleReport:
    if window.num_rows < monitor.min_rows:
        return _too_few("drift", f"drift of {rule.of}", window.num_rows, "predictions", monitor)
    finding = compare(reference, window, rule)
    return RuleReport("drift", finding.fired, finding.words, finding.value)


def _quality(rule: Quality, monitor: Monitor, task: Task, known: pa.Table, metric: MetricFunction) -> RuleReport:
    if known.num_rows < monitor.min_rows:
        return _too_few("quality", rule.metric, known.num_rows, "outcomes", monitor)
    labels, scores = (known[name].to_numpy().astype(np.float64) for name in ("outcome", SCORE_COLUMN))
    metrics = metric(task, labels, scores)
    if rule.metric not in metrics:
        raise InvalidInput(f"a {task} model has no metric '{rule.metric}'", did_you_mean(rule.metric, metrics))
    value = float(metrics[rule.metric])
    if not math.isfinite(value):
        words = f"{rule.metric} has no value on {known.num_rows} outcomes (are they all of one class?)"
        return RuleReport("quality", False, words, None)
    low, high = rule.min is not None and value < rule.min, rule.max is not None and value > rule.max
    words = f"{rule.metric} is {value:.3f} on {known.num_rows} outcomes, {_bounds(rule, low=low, high=high)}"
    return RuleReport("quality", low or high, words, value)


def _bounds(rule: Quality, *, low: bool, high: bool) -> str:
    if low or high:
        return f"below {rule.min:g}" if low else f"above {rule.max:g}"
    asked = [
        f"{word} {bound:g}" for word, bound in (("at least", rule.min), ("at most", rule.max)) if bound is not None
    ]
    return f"within bounds ({' and '.join(asked) or 'none set'})"


def _too_few(rule: str, what: str, rows: int, of: str, monitor: Monitor) -> RuleReport:
    words = f"{what}: {rows} {of} in {format_duration(monitor.window)} are too few to say, it takes {monitor.min_rows}"
    return RuleReport(rule, False, words, None)
