"""Gates: bounds, directions, champions, and words with numbers."""

from __future__ import annotations

import pytest

from gnomon.contracts.models import Gate
from gnomon.contracts.registry import Metric
from gnomon.evaluation.gates import check_gates


def metric(name: str, value: float) -> Metric:
    return Metric(name, value, value - 0.01, value + 0.01)


@pytest.mark.parametrize(
    ("gate", "value", "passed"),
    [
        (Gate("roc_auc", min=0.7), 0.7, True),
        (Gate("roc_auc", min=0.7), 0.6999, False),
        (Gate("brier", max=0.1), 0.1, True),
        (Gate("brier", max=0.1), 0.1001, False),
        (Gate("roc_auc", min=0.5, max=0.9), 0.95, False),
    ],
)
def test_bounds_are_inclusive(gate: Gate, value: float, passed: bool) -> None:
    report = check_gates([gate], [metric(gate.metric, value)], None)
    assert report.passed is passed
    assert f"{value:.4f}" in "".join(report.lines)


@pytest.mark.parametrize(
    ("name", "candidate", "champion", "by", "passed"),
    [
        ("roc_auc", 0.80, 0.78, 0.01, True),
        ("roc_auc", 0.78, 0.78, 0.0, True),
        ("roc_auc", 0.775, 0.78, 0.0, False),
        ("roc_auc", 0.775, 0.78, -0.01, True),
        ("log_loss", 0.30, 0.35, 0.01, True),
        ("log_loss", 0.35, 0.30, 0.01, False),
        ("rmse", 5.0, 4.5, -1.0, True),
    ],
)
def test_better_points_in_the_good_direction(
    name: str, candidate: float, champion: float, by: float, passed: bool
) -> None:
    gate = Gate(name, better_than_champion_by=by)
    report = check_gates([gate], [metric(name, candidate)], [metric(name, champion)])
    assert report.passed is passed
    assert f"{champion:.4f}" in report.lines[0]


def test_without_a_champion_there_is_nothing_to_beat() -> None:
    report = check_gates([Gate("roc_auc", better_than_champion_by=0.1)], [metric("roc_auc", 0.5)], None)
    assert report.passed
    assert report.lines == ("roc_auc 0.5000 has no champion to beat: holds",)


def test_a_metric_that_could_not_be_computed_fails_its_gate() -> None:
    assert not check_gates([Gate("roc_auc", min=0.1)], [metric("brier", 0.1)], None).passed
    assert not check_gates(
        [Gate("roc_auc", better_than_champion_by=0.0)], [metric("roc_auc", 0.9)], [metric("brier", 0.1)]
    ).passed


def test_every_condition_has_its_line_and_all_must_hold() -> None:
    gates = [Gate("roc_auc", min=0.7, better_than_champion_by=0.0), Gate("brier", max=0.2)]
    report = check_gates(gates, [metric("roc_auc", 0.8), metric("brier", 0.3)], [metric("roc_auc", 0.7)])
    assert not report.passed
    assert [line.rpartition(": ")[2] for line in report.lines] == ["holds", "holds", "fails"]
    assert check_gates([], [], None).passed
