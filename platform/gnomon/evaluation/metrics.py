"""Metrics of a model on held-out rows, each with its 95 % confidence interval.

Called after a training, for candidate and champion on the same rows, and by whoever judges a live window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gnomon.contracts.models import Task
from gnomon.contracts.registry import Metric
from gnomon.errors import InvalidInput

Array = np.ndarray[Any, Any]

_BOOTSTRAP_ROWS = 20_000
_SMALLEST_PROBABILITY = 1e-15
_INTERVAL = (0.025, 0.975)


def evaluate(
    task: Task, labels: Array | Sequence[float], scores: Array | Sequence[float], seed: int = 0, samples: int = 200
) -> tuple[Metric, ...]:
    """Compute the task's metrics in the order of `contracts.models.BINARY_METRICS` or `REGRESSION_METRICS`.

    A metric that is not defined on these rows is left out: `roc_auc` and `average_precision` where all labels are
    equal, `r2` where they do not vary. Intervals are percentile bootstraps over rows. With more than 20,000 rows each
    sample draws 20,000 of them and the deviations from the value are scaled by √(20,000 / rows), the m-out-of-n
    bootstrap (Bickel, Götze, van Zwet 1997); the value itself is always that of all rows.

    Args:
        task: `binary` or `regression`.
        labels: 0 or 1 for binary tasks, finite numbers for regressions; shape (rows,).
        scores: Probabilities, or predicted numbers; shape (rows,).
        seed: Of the bootstrap; equal arguments give equal intervals.
        samples: Bootstrap samples.

    Returns:
        The metrics, each with its interval.

    Raises:
        InvalidInput: There are no rows, lengths differ, or a label or score is not what the task takes.

    Example:
        >>> [(m.name, m.value) for m in evaluate("regression", [1.0, 2.0], [1.0, 4.0])]
        [('rmse', 1.4142135623730951), ('mae', 1.0), ('r2', -7.0)]
    """
    labels, scores = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    _check(task, labels, scores)
    rows = len(labels)
    if task == "binary":
        order = np.argsort(scores, kind="stable")
        labels, scores = labels[order], scores[order]
        compute: _Binary | _Regression = _Binary(labels, scores)
    else:
        compute = _Regression(labels, scores)
    values = compute(np.arange(rows))
    drawn = min(rows, _BOOTSTRAP_ROWS)
    random = np.random.default_rng(abs(seed))
    # Sorted rows keep the scores sorted, so that no sample sorts them again.
    resampled = [compute(np.sort(random.integers(0, rows, drawn, np.int32))) for _ in range(samples)]
    shrink = np.sqrt(drawn / rows)
    metrics = []
    for name, value in values.items():
        # A sample may miss a class where it is rare; the interval is that of the samples that do not.
        differences = [sample[name] - value for sample in resampled if name in sample]
        spread = [difference for difference in differences if math.isfinite(difference)]
        low, high = np.quantile(spread, _INTERVAL) * shrink if spread else (0.0, 0.0)
        # A percentile interval may miss the value where the metric sits at its bound.
        metrics.append(Metric(name, value, value + min(float(low), 0.0), value + max(float(high), 0.0)))
    return tuple(metrics)


def _check(task: Task, labels: Array, scores: Array) -> None:
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise InvalidInput(f"labels of shape {labels.shape} do not fit scores of shape {scores.shape}")
    if not len(labels):
        raise InvalidInput(
            "there are no held-out rows to evaluate on", "raise the model's holdout, or ingest more data"
        )
    for what, values in (("label", labels), ("score", scores)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise InvalidInput(f"{int(bad.sum())} of {len(values)} held-out rows have a {what} that is not finite")
    if task == "binary":
        if not np.isin(labels, (0.0, 1.0)).all():
            raise InvalidInput(f"a binary label is 0 or 1, a held-out row has {labels[~np.isin(labels, (0, 1))][0]:g}")
        if scores.min() < 0.0 or scores.max() > 1.0:
            raise InvalidInput(f"a probability lies in [0, 1], scores range from {scores.min():g} to {scores.max():g}")


class _Binary:
    """Computes the binary metrics of any rows, given in ascending order of score."""

    def __init__(self, labels: Array, scores: Array) -> None:
        self._positive = labels == 1.0
        self._group = np.concatenate([[0], np.cumsum(np.diff(scores) > 0)]).astype(np.int32)
        certain = np.clip(scores, _SMALLEST_PROBABILITY, 1.0 - _SMALLEST_PROBABILITY)
        self._loss = -np.where(self._positive, np.log(certain), np.log1p(-certain))
        self._brier = (scores - labels) ** 2
        self._correct = ((scores >= 0.5) == self._positive).astype(np.float64)

    def __call__(self, rows: Array) -> dict[str, float]:
        positive, group = self._positive[rows], self._group[rows]
        # The last row of each run of equal scores; all rows of a run change sides together.
        ends = np.flatnonzero(np.append(group[1:] != group[:-1], True))
        seen = ends + 1
        positives = np.cumsum(positive)[ends]
        total, ones = len(rows), int(positives[-1])
        metrics = {}
        if 0 < ones < total:
            metrics["roc_auc"] = _roc_auc(positives, seen - positives)
            metrics["average_precision"] = _average_precision(positives, seen)
        metrics["log_loss"] = float(self._loss[rows].mean())
        metrics["brier"] = float(self._brier[rows].mean())
        metrics["accuracy"] = float(self._correct[rows].mean())
        return metrics


def _roc_auc(positives: Array, negatives: Array) -> float:
    """Return the share of (positive, negative) pairs in the right order, ties as half (Mann–Whitney U).

    Both arrays count the rows up to and including each distinct score, ascending.
    """
    new_positives = np.diff(positives, prepend=0).astype(np.float64)
    new_negatives = np.diff(negatives, prepend=0)
    below = negatives - new_negatives
    return float(new_positives @ (below + 0.5 * new_negatives)) / (float(positives[-1]) * float(negatives[-1]))


def _average_precision(positives: Array, seen: Array) -> float:
    """Return Σ (recall step × precision) over the distinct scores from the highest down, without interpolation."""
    total, ones = int(seen[-1]), int(positives[-1])
    below_positives = np.concatenate([[0], positives[:-1]])
    below_rows = np.concatenate([[0], seen[:-1]])
    precision = (ones - below_positives) / (total - below_rows)
    return float(np.diff(positives, prepend=0) @ precision) / ones


class _Regression:
    """Computes the regression metrics of any rows."""

    def __init__(self, labels: Array, scores: Array) -> None:
        self._labels = labels
        self._error = scores - labels

    def __call__(self, rows: Array) -> dict[str, float]:
        labels, error = self._labels[rows], self._error[rows]
        squared = float((error**2).mean())
        metrics = {"rmse": float(np.sqrt(squared)), "mae": float(np.abs(error).mean())}
        variance = float(labels.var())
        if variance > 0 and math.isfinite(squared / variance):  # labels may differ by next to nothing
            metrics["r2"] = 1.0 - squared / variance
        return metrics
