"""The statistics of groups of values: one vectorised function each. Called by `windows` and `tile_partials`.

Sums of float64 are added in event order; the deviation is taken in two passes, so that a large mean costs no digits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa

from gnomon.contracts.features import Aggregation
from gnomon.features.event_columns import Array, Flags
from gnomon.features.expression_kernels import ARROW_TYPES, INT, without_nan
from gnomon.features.window_groups import Groups
from gnomon.features.window_operands import Operand

Statistic = Callable[[Groups], tuple[Array, Flags]]
"""Returns the results of the groups that have one, in order, and which groups these are."""


class ResultColumn:
    """The growing result of one aggregation.

    Args:
        feature: The aggregation, whose result is no list.
        dtype: Type of the result.
        rows: Number of requests.
    """

    def __init__(self, feature: Aggregation, dtype: str, rows: int) -> None:
        self._statistic, self._dtype = _statistic(feature), dtype
        self._values = np.zeros(rows, np.float64 if dtype == "float64" else np.int64)
        self._present = np.zeros(rows, np.bool_)

    def fill(self, first: int, groups: Groups) -> None:
        """Compute the statistic of each group and keep it, the first group's at index `first`."""
        part = slice(first, first + len(groups.counts))
        with np.errstate(all="ignore"):  # infinities may meet; NaN becomes null below
            values, present = self._statistic(groups)
        self._values[part][present], self._present[part] = values, present

    def to_arrow(self, operand: Operand) -> pa.Array:
        """Return the column in its Arrow type; what no group gave a value is null."""
        return arrow_results(self._values, self._present, self._dtype, operand)


def arrow_results(values: Array, present: Flags, dtype: str, operand: Operand) -> pa.Array:
    """Return results as a column.

    Args:
        values: One per window, as numbers; anything where there is none.
        present: Which windows have a result.
        dtype: The column's type.
        operand: What the results were taken of; it has the texts that ranks stand for.

    Returns:
        Of the same length; null where a window has no result, or NaN.
    """
    missing = None if present.all() else ~present
    if operand.texts is not None and dtype == "string":
        return operand.texts.take(pa.array(values, INT, mask=missing))
    if dtype == "bool":
        return pa.array(values.astype(np.bool_), mask=missing)
    return without_nan(pa.array(values, mask=missing).cast(ARROW_TYPES[dtype]))


def halves(values: Array, starts: Array) -> tuple[Array, Array]:
    """Return the sums of the upper and of the lower halves of int64 values, group by group; neither can overflow."""
    return np.add.reduceat(values >> 32, starts), np.add.reduceat(values & 0xFFFFFFFF, starts)


def whole(high: Array, low: Array) -> tuple[Array, Flags]:
    """Return the sums of which these are the halves, only those within int64; and which these are."""
    high, low = high + (low >> 32), low & 0xFFFFFFFF
    fits = (high >= -(2**31)) & (high < 2**31)
    return (high[fits] << 32) + low[fits], fits


def _sum(groups: Groups) -> tuple[Array, Flags]:
    values, starts = groups.numbers, groups.starts
    if not len(starts):
        return values, groups.filled
    if values.dtype == np.float64 or int(np.abs(values.astype(np.float64)).max()) * int(groups.counts.max()) < 2**62:
        return np.add.reduceat(values, starts), groups.filled
    # a sum outside int64 is null, as everywhere in expressions
    sums, fits = whole(*halves(values, starts))
    present = groups.filled.copy()
    present[np.flatnonzero(present)[~fits]] = False
    return sums, present


def _mean(groups: Groups) -> tuple[Array, Flags]:
    values, starts = groups.numbers.astype(np.float64), groups.starts
    if not len(starts):
        return values, groups.filled
    return np.add.reduceat(values, starts) / groups.counts[groups.filled], groups.filled


def _var(groups: Groups) -> tuple[Array, Flags]:
    values = groups.numbers.astype(np.float64)
    enough = groups.counts > 1
    if not enough.any():
        return np.zeros(0), enough
    means, _ = _mean(groups)
    lengths = groups.counts[groups.filled]
    squares = np.add.reduceat((values - np.repeat(means, lengths)) ** 2, groups.starts)
    return squares[lengths > 1] / (lengths[lengths > 1] - 1), enough


def _std(groups: Groups) -> tuple[Array, Flags]:
    variances, enough = _var(groups)
    return np.sqrt(variances), enough


def _extreme(reduce: np.ufunc) -> Statistic:
    def statistic(groups: Groups) -> tuple[Array, Flags]:
        starts = groups.starts
        return (reduce.reduceat(groups.numbers, starts) if len(starts) else groups.numbers), groups.filled

    return statistic


def _first(groups: Groups) -> tuple[Array, Flags]:
    return groups.numbers[groups.starts], groups.filled


def _last(groups: Groups) -> tuple[Array, Flags]:
    return groups.numbers[groups.starts + groups.counts[groups.filled] - 1], groups.filled


def _count(groups: Groups) -> tuple[Array, Flags]:
    return groups.counts, np.ones(len(groups.counts), np.bool_)


def _count_distinct(groups: Groups) -> tuple[Array, Flags]:
    counts = np.bincount(groups.members[groups.distinct_starts], minlength=len(groups.counts))
    return counts, np.ones(len(groups.counts), np.bool_)


def _quantile(groups: Groups, q: float) -> tuple[Array, Flags]:
    values = groups.ranked.astype(np.float64)
    rank = (groups.counts[groups.filled] - 1) * q
    below = np.floor(rank)
    weight, first = rank - below, groups.starts
    low = values[first + below.astype(np.int64)]
    high = values[first + np.ceil(rank).astype(np.int64)]
    step = high - low
    # numpy's own two forms, each exact at the nearer end; a step that is infinite leaves only the weighted mean
    between = np.where(weight < 0.5, low + step * weight, high - step * (1 - weight))
    between = np.where(np.isfinite(step), between, low * (1 - weight) + high * weight)
    return np.where((weight == 0) | (low == high), low, between), groups.filled


def _time_since_last(groups: Groups) -> tuple[Array, Flags]:
    newest = groups.event_us[groups.starts + groups.counts[groups.filled] - 1]
    return (groups.until_us[groups.filled] - newest) / 1e6, groups.filled


def _statistic(feature: Aggregation) -> Statistic:
    if feature.function == "quantile":
        assert feature.q is not None, "a quantile has q by its definition"
        return partial(_quantile, q=feature.q)
    return _STATISTICS[feature.function]


_STATISTICS: Final[dict[str, Statistic]] = {
    "count": _count, "count_distinct": _count_distinct, "sum": _sum, "mean": _mean, "var": _var, "std": _std,
    "min": _extreme(np.minimum), "max": _extreme(np.maximum), "first": _first, "last": _last,
    "time_since_last": _time_since_last,
}  # fmt: skip
