"""The statistics of groups of values: one vectorised function each. Called by `windows`.

Sums of float64 are added in event order; the deviation is taken in two passes, so that a large mean costs no digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from gnomon.features.event_columns import Array, Flags, Int64s
from gnomon.features.expression_kernels import ARROW_TYPES, INT, without_nan
from gnomon.features.window_operands import Operand

_COUNTS = ("count", "count_distinct")


@dataclass(frozen=True)
class Groups:
    """The values that take part, group by group.

    Attributes:
        values: Values of all groups, one group after the other, each in event order; None where only rows count.
        members: Group of each value; ascending.
        counts: Number of values of each group; shape (groups,).
    """

    values: Array | None
    members: Int64s
    counts: Int64s

    @classmethod
    def of(cls, operand: Operand, members: Int64s, positions: Int64s, groups: int) -> Groups:
        """Take the operand's values at the positions, without those that do not take part."""
        if operand.takes_part is not None:
            kept = operand.takes_part[positions]
            members, positions = members[kept], positions[kept]
        values = None if operand.values is None else operand.values[positions]
        return cls(values, members, np.bincount(members, minlength=groups).astype(np.int64))

    @property
    def filled(self) -> Flags:
        """Tell which groups hold a value."""
        result: Flags = self.counts > 0
        return result

    @property
    def starts(self) -> Int64s:
        """Return where each group that holds a value begins."""
        result: Int64s = (np.cumsum(self.counts) - self.counts)[self.filled]
        return result


class ResultColumn:
    """The growing result of one aggregation.

    Args:
        function: The statistic.
        dtype: Type of the result.
        rows: Number of requests.
    """

    def __init__(self, function: str, dtype: str, rows: int) -> None:
        self._function, self._dtype = function, dtype
        self._values = np.zeros(rows, np.float64 if dtype == "float64" else np.int64)
        self._present = np.zeros(rows, np.bool_)

    def fill(self, first: int, groups: Groups) -> None:
        """Compute the statistic of each group and keep it, the first group's at index `first`."""
        part = slice(first, first + len(groups.counts))
        if self._function == "count":
            self._values[part], self._present[part] = groups.counts, True
            return
        with np.errstate(all="ignore"):  # infinities may meet; NaN becomes null below
            values, present = _STATISTICS[self._function](groups)
        where = np.flatnonzero(present) + first
        self._values[where], self._present[where] = values, True

    def to_arrow(self, operand: Operand) -> pa.Array:
        """Return the column in its Arrow type; what no group gave a value is null."""
        missing = None if self._present.all() else ~self._present
        if operand.texts is not None and self._function not in _COUNTS:
            return operand.texts.take(pa.array(self._values, INT, mask=missing))
        if self._dtype == "bool":
            return pa.array(self._values.astype(np.bool_), mask=missing)
        numbers = pa.array(self._values, mask=missing)
        return without_nan(numbers.cast(ARROW_TYPES[self._dtype]))


def _values(groups: Groups) -> Array:
    assert groups.values is not None, "only count goes without a column"
    return groups.values


def _sum(groups: Groups) -> tuple[Array, Flags]:
    values, starts = _values(groups), groups.starts
    if not len(starts):
        return values, groups.filled
    if values.dtype == np.float64 or int(np.abs(values.astype(np.float64)).max()) * int(groups.counts.max()) < 2**62:
        return np.add.reduceat(values, starts), groups.filled
    # the halves cannot overflow; a sum outside int64 is null, as everywhere in expressions
    high, low = np.add.reduceat(values >> 32, starts), np.add.reduceat(values & 0xFFFFFFFF, starts)
    high, low = high + (low >> 32), low & 0xFFFFFFFF
    fits = (high >= -(2**31)) & (high < 2**31)
    present = groups.filled.copy()
    present[np.flatnonzero(present)[~fits]] = False
    return (high[fits] << 32) + low[fits], present


def _mean(groups: Groups) -> tuple[Array, Flags]:
    values, starts = _values(groups).astype(np.float64), groups.starts
    if not len(starts):
        return values, groups.filled
    return np.add.reduceat(values, starts) / groups.counts[groups.filled], groups.filled


def _std(groups: Groups) -> tuple[Array, Flags]:
    values = _values(groups).astype(np.float64)
    enough = groups.counts > 1
    if not enough.any():
        return np.zeros(0), enough
    means, _ = _mean(groups)
    lengths = groups.counts[groups.filled]
    squares = np.add.reduceat((values - np.repeat(means, lengths)) ** 2, groups.starts)
    return np.sqrt(squares[lengths > 1] / (lengths[lengths > 1] - 1)), enough


def _extreme(reduce: np.ufunc) -> Callable[[Groups], tuple[Array, Flags]]:
    def statistic(groups: Groups) -> tuple[Array, Flags]:
        starts = groups.starts
        return (reduce.reduceat(_values(groups), starts) if len(starts) else _values(groups)), groups.filled

    return statistic


def _first(groups: Groups) -> tuple[Array, Flags]:
    return _values(groups)[groups.starts], groups.filled


def _last(groups: Groups) -> tuple[Array, Flags]:
    return _values(groups)[groups.starts + groups.counts[groups.filled] - 1], groups.filled


def _count_distinct(groups: Groups) -> tuple[Array, Flags]:
    values = _values(groups)
    order = np.lexsort((values, groups.members))
    values, members = values[order], groups.members[order]
    fresh = np.ones(len(values), np.bool_)
    fresh[1:] = (values[1:] != values[:-1]) | (members[1:] != members[:-1])
    counts = np.bincount(members[fresh], minlength=len(groups.counts))
    return counts, np.ones(len(groups.counts), np.bool_)


_STATISTICS: Final[dict[str, Callable[[Groups], tuple[Array, Flags]]]] = {
    "sum": _sum, "mean": _mean, "std": _std, "min": _extreme(np.minimum), "max": _extreme(np.maximum),
    "first": _first, "last": _last, "count_distinct": _count_distinct,
}  # fmt: skip
