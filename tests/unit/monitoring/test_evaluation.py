"""A monitor fires when any of its rules does, on enough rows of its window, and says why in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gnomon.contracts.clocks import to_us
from gnomon.contracts.deployments import Drift, Monitor, Quality
from gnomon.errors import InvalidInput
from gnomon.monitoring.evaluation import MonitorReport, evaluate_monitor

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOW_US = to_us(NOW)
DAY_US = 86_400_000_000
RNG = np.random.default_rng(0)
REFERENCE = pa.table({"amount": RNG.normal(size=3000), "output": RNG.random(3000)})


def live(rows: int, *, shift: float = 0.0, outcomes: int = 0, days_ago: float = 1.0) -> pa.Table:
    scores = RNG.random(rows)
    labels = [float(score > 0.5) if i < outcomes else None for i, score in enumerate(scores)]
    return pa.table(
        {
            "prediction_id": [str(i) for i in range(rows)],
            "time_us": pa.array([NOW_US - int(days_ago * DAY_US)] * rows, pa.int64()),
            "output": scores,
            "outcome": pa.array(labels, pa.float64()),
            "amount": RNG.normal(shift, size=rows),
        }
    )


def monitor(*rules: Drift | Quality, min_rows: int = 200) -> Monitor:
    return Monitor("watch", deployment="fraud", window="7d", every="1d", min_rows=min_rows, rules=rules)


def accuracy(task: str, labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> Mapping[str, float]:
    assert task == "binary"
    assert labels.dtype == scores.dtype == np.float64
    return {"accuracy": float(np.mean((scores > 0.5) == labels)), "roc_auc": float("nan")}


def evaluate(rules: Monitor, table: pa.Table) -> MonitorReport:
    return evaluate_monitor(rules, "binary", REFERENCE, table, NOW_US, accuracy)


def test_drifted_input_fires_and_is_named() -> None:
    report = evaluate(monitor(Drift("inputs"), Drift("score")), live(500, shift=1.5))
    assert report.fired
    assert [rule.fired for rule in report.rules] == [True, False]
    assert report.findings[0].startswith("fires: PSI of amount is ")
    assert report.findings[1].startswith("PSI of score is ")
    assert report.window == (NOW - timedelta(days=7), NOW)
    assert (report.rows, report.outcomes) == (500, 0)


def test_equal_window_does_not_fire() -> None:
    assert not evaluate(monitor(Drift("inputs"), Drift("score"), Quality("accuracy", min=0.9)), live(500)).fired


def test_too_few_rows_say_so() -> None:
    report = evaluate(monitor(Drift("inputs"), Quality("accuracy", min=1.0)), live(199, shift=9, outcomes=150))
    assert not report.fired
    assert report.findings == (
        "drift of inputs: 199 predictions in 7d are too few to say, it takes 200",
        "accuracy: 150 outcomes in 7d are too few to say, it takes 200",
    )
    assert evaluate(monitor(Drift("inputs")), live(200, shift=9)).fired


def test_nothing_was_logged() -> None:
    report = evaluate(monitor(Drift("inputs"), Quality("accuracy", min=1.0)), pa.table({}))
    assert (report.fired, report.rows, report.outcomes) == (False, 0, 0)


def test_quality_counts_rows_with_outcome_only() -> None:
    report = evaluate(monitor(Quality("accuracy", min=0.99)), live(900, outcomes=300))
    assert (report.fired, report.outcomes) == (False, 300)
    assert report.findings == ("accuracy is 1.000 on 300 outcomes, within bounds (at least 0.99)",)


@pytest.mark.parametrize(
    ("rule", "fired", "words"),
    [
        (Quality("accuracy", min=1.0), False, "within bounds (at least 1)"),
        (Quality("accuracy", max=1.0), False, "within bounds (at most 1)"),
        (Quality("accuracy", max=0.9), True, "above 0.9"),
        (Quality("accuracy", min=1.1), True, "below 1.1"),
    ],
)
def test_quality_fires_beyond_its_bounds_only(rule: Quality, fired: bool, words: str) -> None:
    report = evaluate(monitor(rule), live(300, outcomes=300))
    assert report.fired is fired
    assert report.findings[0].endswith(f"accuracy is 1.000 on 300 outcomes, {words}")


def test_metric_without_value_does_not_fire() -> None:
    report = evaluate(monitor(Quality("roc_auc", min=0.9)), live(300, outcomes=300))
    assert not report.fired
    assert "no value on 300 outcomes" in report.findings[0]


def test_unknown_metric_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"no metric 'acuracy'.*did you mean 'accuracy'"):
        evaluate(monitor(Quality("acuracy", min=0.9)), live(300, outcomes=300))


def test_rows_outside_the_window_are_left_out() -> None:
    old, edge = live(400, shift=9, days_ago=7.0), live(300, days_ago=0.0)
    report = evaluate(monitor(Drift("inputs")), pa.concat_tables([old, edge]))
    assert (report.fired, report.rows) == (False, 300)


def test_report_is_json() -> None:
    body = evaluate(monitor(Drift("inputs"), Quality("roc_auc", min=0.5)), live(300, outcomes=300)).as_json()
    assert json.loads(json.dumps(body, allow_nan=False)) == body
