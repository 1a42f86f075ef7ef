"""Metrics against their definitions, and intervals against repeated draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import InvalidInput
from gnomon.evaluation.metrics import evaluate

ROWS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)),
    min_size=1,
    max_size=40,
)


def values(task: str, labels: list[float], scores: list[float]) -> dict[str, float]:
    return {metric.name: metric.value for metric in evaluate(task, labels, scores, samples=3)}


def brute_auc(labels: list[float], scores: list[float]) -> float:
    pairs = [
        1.0 if p > n else 0.5 if p == n else 0.0
        for p, label in zip(scores, labels, strict=True)
        if label == 1
        for n, other in zip(scores, labels, strict=True)
        if other == 0
    ]
    return sum(pairs) / len(pairs)


def brute_average_precision(labels: list[float], scores: list[float]) -> float:
    total, recall_before, ones = 0.0, 0.0, sum(labels)
    for threshold in sorted(set(scores), reverse=True):
        chosen = [label for label, score in zip(labels, scores, strict=True) if score >= threshold]
        recall = sum(chosen) / ones
        total += (recall - recall_before) * sum(chosen) / len(chosen)
        recall_before = recall
    return total


@given(ROWS)
def test_binary_metrics_equal_their_definitions(rows: list[tuple[bool, float]]) -> None:
    labels, scores = [float(label) for label, _ in rows], [score for _, score in rows]
    got = values("binary", labels, scores)
    if 0 < sum(labels) < len(labels):
        assert got["roc_auc"] == pytest.approx(brute_auc(labels, scores), abs=1e-12)
        assert got["average_precision"] == pytest.approx(brute_average_precision(labels, scores), abs=1e-12)
    else:
        assert "roc_auc" not in got
        assert "average_precision" not in got
    clipped = [min(max(score, 1e-15), 1 - 1e-15) for score in scores]
    losses = [-math.log(s) if y else -math.log1p(-s) for y, s in zip(labels, clipped, strict=True)]
    assert got["log_loss"] == pytest.approx(sum(losses) / len(rows), rel=1e-9, abs=1e-12)
    assert got["brier"] == pytest.approx(sum((s - y) ** 2 for y, s in zip(labels, scores, strict=True)) / len(rows))
    assert got["accuracy"] == pytest.approx(sum((s >= 0.5) == (y == 1) for y, s in rows) / len(rows))


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=40))
def test_regression_metrics_equal_their_definitions(rows: list[tuple[float, float]]) -> None:
    labels, scores = [label for label, _ in rows], [score for _, score in rows]
    got = values("regression", labels, scores)
    errors = [s - y for y, s in rows]
    assert got["rmse"] == pytest.approx(math.sqrt(sum(e * e for e in errors) / len(rows)))
    assert got["mae"] == pytest.approx(sum(abs(e) for e in errors) / len(rows))
    mean = math.fsum(labels) / len(labels)
    spread = math.fsum((y - mean) ** 2 for y in labels)
    if spread > 1e-6:
        assert got["r2"] == pytest.approx(1 - math.fsum(e * e for e in errors) / spread, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("tiny", [5e-324, 1e-160, 1e-150])
def test_labels_that_differ_by_next_to_nothing_have_finite_metrics(tiny: float) -> None:
    found = evaluate("regression", [0.0, 0.0, tiny, 2 * tiny], [1e6, 1.0, 1.0, -1e6], samples=50)
    assert all(math.isfinite(number) for m in found for number in (m.value, m.low, m.high))
    assert {"rmse", "mae"} <= {m.name for m in found}


def test_order_is_that_of_the_contract_and_equal_seeds_give_equal_intervals() -> None:
    random = np.random.default_rng(0)
    labels, scores = (random.random(500) < 0.3).astype(float), random.random(500)
    first = evaluate("binary", labels, scores, seed=4)
    assert [m.name for m in first] == ["roc_auc", "average_precision", "log_loss", "brier", "accuracy"]
    assert first == evaluate("binary", labels, scores, seed=4)
    assert first != evaluate("binary", labels, scores, seed=5)
    assert all(m.low < m.value < m.high for m in first)


@pytest.mark.parametrize(("rows", "rounds"), [(400, 60), (60_000, 8)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(rows: int, rounds: int) -> None:
    # 60,000 rows take the m-out-of-n path. The truth: scores uniform, P(label = 1) = score; brier = E[s(1-s)] = 1/6.
    random = np.random.default_rng(1)
    covered = width = 0.0
    for seed in range(rounds):
        scores = random.random(rows)
        labels = (random.random(rows) < scores).astype(float)
        brier = {m.name: m for m in evaluate("binary", labels, scores, seed=seed, samples=100)}["brier"]
        covered += brier.low <= 1 / 6 <= brier.high
        width += (brier.high - brier.low) / rounds
    assert covered / rounds > 0.85
    # var of (s - y)² is E[s(1-s)(1-3s+3s²)] - 1/36 = 1/15 - 1/36
    expected = 2 * 1.96 * math.sqrt((1 / 15 - 1 / 36) / rows)
    assert width == pytest.approx(expected, rel=0.15)


def test_rare_positives_still_get_an_interval() -> None:
    labels = np.zeros(300)
    labels[7] = 1.0
    auc = evaluate("binary", labels, np.linspace(0, 1, 300))[0]
    assert auc.name == "roc_auc"
    assert 0 <= auc.low <= auc.value <= auc.high <= 1


def test_one_class_leaves_out_what_is_not_defined() -> None:
    assert [m.name for m in evaluate("binary", [0, 0, 0], [0.1, 0.2, 0.3])] == ["log_loss", "brier", "accuracy"]
    assert [m.name for m in evaluate("regression", [2, 2], [1, 3])] == ["rmse", "mae"]


@pytest.mark.parametrize(
    ("task", "labels", "scores", "message"),
    [
        ("binary", [], [], "no held-out rows"),
        ("binary", [1.0], [0.1, 0.2], "do not fit"),
        ("binary", [2.0], [0.5], "0 or 1"),
        ("binary", [1.0], [1.5], r"in \[0, 1\]"),
        ("binary", [1.0, float("nan")], [0.5, 0.5], "1 of 2 held-out rows have a label"),
        ("regression", [1.0], [float("inf")], "score that is not finite"),
    ],
)
def test_bad_rows_are_refused(task: str, labels: list[float], scores: list[float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        evaluate(task, labels, scores)
