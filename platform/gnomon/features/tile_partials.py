"""The algebra of tiles: what is kept of the values in a tile, and how a window's statistic is merged from that.

Called by `tiled_windows`. The value of a tiled aggregation is, everywhere, the merge of its tiles' partials in the
order of time, and a partial depends on the values of its tile alone. So a value is the same to the bit whether the
partials were kept or made from the events a moment ago, and whichever requests they were made for.

Partials are columns: arrays with one entry per partial by the names below, of which every algebra has `COUNT`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from gnomon.contracts.features import Aggregation
from gnomon.features.event_columns import Array, Flags, Int64s
from gnomon.features.tile_sketches import SKETCHES, merged_sketches, sketch_partials
from gnomon.features.window_groups import Groups
from gnomon.features.window_lists import JsonValues, json_lists, positions_inside
from gnomon.features.window_operands import Operand
from gnomon.features.window_statistics import arrow_results, halves, whole

Partials = dict[str, Array]

COUNT = "count"
"""Number of values; of a list those that it keeps. A partial of none takes no part in a merge."""

VALUE, VALUES = "value", "values"
"""A value of the operand, and lists of them: the `COUNT` of each partial, one after the other."""


@dataclass(frozen=True)
class Spans:
    """Which partials make up each window, window after window, in the order of time; only such as hold a value.

    Attributes:
        members: Window of each; ascending.
        partials: Index of each among the partials.
        until_us: Time asked for, of each window.
    """

    members: Int64s
    partials: Int64s
    until_us: Int64s

    @cached_property
    def lengths(self) -> Int64s:
        """Return the number of partials of each window that has one."""
        counts = np.bincount(self.members, minlength=len(self.until_us))
        return counts[counts > 0].astype(np.int64)

    @cached_property
    def filled(self) -> Flags:
        """Tell which windows have a partial."""
        result = np.zeros(len(self.until_us), np.bool_)
        result[self.members] = True
        return result

    @cached_property
    def starts(self) -> Int64s:
        """Return where the partials of each window that has one begin."""
        return np.cumsum(self.lengths) - self.lengths

    def reduced(self, reduce: np.ufunc, values: Array) -> Array:
        """Reduce one value per partial to one per window that has a partial, in the order of time."""
        taken = values[self.partials]
        return reduce.reduceat(taken, self.starts) if len(taken) else taken

    def edge(self, values: Array, *, last: bool) -> Array:
        """Return the value of the first, or last, partial of each window that has one."""
        where = self.starts + self.lengths - 1 if last else self.starts
        return values[self.partials[where]]


class Algebra(Protocol):
    """How one function is kept in tiles and merged."""

    @property
    def weight(self) -> int:
        """Return about how many times as large as some numbers a partial is."""
        ...

    def make(self, groups: Groups) -> Partials:
        """Return a partial of each group of values."""
        ...

    def merge(self, partials: Partials, spans: Spans) -> pa.Array:
        """Return the function's value in each window; null where it has none."""
        ...


def algebra_of(feature: Aggregation, dtype: str, operand: Operand) -> Algebra:
    """Return the algebra of an aggregation with a tile.

    Args:
        feature: The aggregation.
        dtype: Type of its result.
        operand: What it runs over.

    Returns:
        For partials of this operand only, whose texts are ranked as there.
    """
    if feature.function in SKETCHES:
        return _Sketched(feature, operand)
    if feature.k is not None:
        return _Newest(feature.k, operand)
    make, merge = _NUMBERS[feature.function]
    return _Number(make, merge, dtype, operand)


def joined(parts: Sequence[Partials]) -> Partials:
    """Return the partials of several makings as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


Make = Callable[[Groups], Partials]
Merge = Callable[[Partials, Spans], tuple[Array, Flags]]
"""Returns the results of the windows that have one, in order, and which windows these are."""


@dataclass(frozen=True)
class _Number:
    """An algebra whose result is one number, or the rank of a text."""

    make_partials: Make
    merge_partials: Merge
    dtype: str
    operand: Operand
    weight: int = 1

    def make(self, groups: Groups) -> Partials:
        with np.errstate(all="ignore"):  # infinities may meet; NaN becomes null in the end
            return {COUNT: groups.counts, **self.make_partials(groups)}

    def merge(self, partials: Partials, spans: Spans) -> pa.Array:
        with np.errstate(all="ignore"):
            found, present = self.merge_partials(partials, spans)
        values = np.zeros(len(present), np.float64 if self.dtype == "float64" else np.int64)
        values[present] = found
        return arrow_results(values, present, self.dtype, self.operand)


def _spread(values: Array, filled: Flags) -> Array:
    result = np.zeros(len(filled), values.dtype)
    result[filled] = values
    return result


def _sums(groups: Groups, values: Array) -> Array:
    return _spread(np.add.reduceat(values, groups.starts) if len(values) else values, groups.filled)


def _no_more(groups: Groups) -> Partials:
    return {}


def _merge_count(partials: Partials, spans: Spans) -> tuple[Array, Flags]:
    every = np.ones(len(spans.until_us), np.bool_)
    return _spread(spans.reduced(np.add, partials[COUNT]), spans.filled), every


def _make_sum(groups: Groups) -> Partials:
    if groups.numbers.dtype == np.float64:
        return {"sum": _sums(groups, groups.numbers)}
    high, low = halves(groups.numbers, groups.starts) if len(groups.starts) else (groups.numbers, groups.numbers)
    return {"high": _spread(high, groups.filled), "low": _spread(low, groups.filled)}


def _merge_sum(partials: Partials, spans: Spans) -> tuple[Array, Flags]:
    if "sum" in partials:
        return spans.reduced(np.add, partials["sum"]), spans.filled
    sums, fits = whole(spans.reduced(np.add, partials["high"]), spans.reduced(np.add, partials["low"]))
    present = spans.filled.copy()
    present[np.flatnonzero(present)[~fits]] = False
    return sums, present


def _make_mean(groups: Groups) -> Partials:
    return {"sum": _sums(groups, groups.numbers.astype(np.float64))}


def _merge_mean(partials: Partials, spans: Spans) -> tuple[Array, Flags]:
    return spans.reduced(np.add, partials["sum"]) / spans.reduced(np.add, partials[COUNT]), spans.filled


def _make_squares(groups: Groups) -> Partials:
    """Keep the sum, and the squares of the distances from the tile's own mean."""
    values = groups.numbers.astype(np.float64)
    sums, counts = _sums(groups, values)[groups.filled], groups.counts[groups.filled]
    squares = _sums(groups, (values - np.repeat(sums / counts, counts)) ** 2)
    return {"sum": _spread(sums, groups.filled), "squares": squares}


def _merge_var(partials: Partials, spans: Spans) -> tuple[Array, Flags]:
    """Add the squares within the tiles and those between their means, so that a large mean costs no digits.

    It is the update of Chan, Golub and LeVeque for any number of parts at once.
    """
    counts, sums = partials[COUNT][spans.partials], partials["sum"][spans.partials]
    number = spans.reduced(np.add, partials[COUNT])
    means = np.repeat(spans.reduced(np.add, partials["sum"]) / number, spans.lengths)
    squares = partials["squares"][spans.partials] + counts * (sums / counts - means) ** 2
    total = np.add.reduceat(squares, spans.starts) if len(squares) else squares
    present = spans.filled.copy()
    present[np.flatnonzero(present)[number < 2]] = False
    return total[number > 1] / (number[number > 1] - 1), present


def _merge_std(partials: Partials, spans: Spans) -> tuple[Array, Flags]:
    variances, present = _merge_var(partials, spans)
    return np.sqrt(variances), present


def _extreme(reduce: np.ufunc) -> tuple[Make, Merge]:
    def make(groups: Groups) -> Partials:
        values = groups.numbers
        return {VALUE: _spread(reduce.reduceat(values, groups.starts) if len(values) else values, groups.filled)}

    def merge(partials: Partials, spans: Spans) -> tuple[Array, Flags]:
        return spans.reduced(reduce, partials[VALUE]), spans.filled

    return make, merge


def _edge(last: bool) -> tuple[Make, Merge]:
    def make(groups: Groups) -> Partials:
        where = groups.starts + (groups.counts[groups.filled] - 1 if last else 0)
        return {VALUE: _spread(groups.numbers[where], groups.filled)}

    def merge(partials: Partials, spans: Spans) -> tuple[Array, Flags]:
        return spans.edge(partials[VALUE], last=last), spans.filled

    return make, merge


def _make_age(groups: Groups) -> Partials:
    newest = groups.event_us[groups.starts + groups.counts[groups.filled] - 1]
    return {"newest_us": _spread(newest, groups.filled)}


def _merge_age(partials: Partials, spans: Spans) -> tuple[Array, Flags]:
    return (spans.until_us[spans.filled] - spans.edge(partials["newest_us"], last=True)) / 1e6, spans.filled


_NUMBERS: Final[dict[str, tuple[Make, Merge]]] = {
    "count": (_no_more, _merge_count), "sum": (_make_sum, _merge_sum), "mean": (_make_mean, _merge_mean),
    "var": (_make_squares, _merge_var), "std": (_make_squares, _merge_std), "min": _extreme(np.minimum),
    "max": _extreme(np.maximum), "first": _edge(last=False), "last": _edge(last=True),
    "time_since_last": (_make_age, _merge_age),
}  # fmt: skip


class _Newest:
    """`last_k`: the newest k values of a tile, in the order of time."""

    def __init__(self, k: int, operand: Operand) -> None:
        self._k, self.weight = k, 1 + k // 4
        self._json = JsonValues(operand)

    def make(self, groups: Groups) -> Partials:
        kept = np.minimum(groups.counts, self._k)
        first = np.cumsum(groups.counts) - kept
        return {COUNT: kept, VALUES: groups.numbers[np.repeat(first, kept) + positions_inside(kept)]}

    def merge(self, partials: Partials, spans: Spans) -> pa.Array:
        windows = len(spans.until_us)
        counts = partials[COUNT][spans.partials]
        totals = np.bincount(spans.members, counts, windows).astype(np.int64)
        # how many values of its window come after each partial's, of which k are wanted in all
        later = totals[spans.members] - (np.cumsum(counts) - (np.cumsum(totals) - totals)[spans.members])
        taken = np.clip(self._k - later, 0, counts)
        ends = np.cumsum(partials[COUNT])[spans.partials]
        values = partials[VALUES][np.repeat(ends - taken, taken) + positions_inside(taken)]
        lengths = np.minimum(totals, self._k)
        newest_first = np.repeat(np.cumsum(lengths) - 1, lengths) - positions_inside(lengths)
        return json_lists(self._json.of(values[newest_first]), lengths)


class _Sketched:
    """A sketch of the library, kept as its bytes."""

    def __init__(self, feature: Aggregation, operand: Operand) -> None:
        self._sketch, self.weight = SKETCHES[feature.function](feature, operand), 100

    def make(self, groups: Groups) -> Partials:
        return {COUNT: groups.counts, "sketch": sketch_partials(self._sketch, groups)}

    def merge(self, partials: Partials, spans: Spans) -> pa.Array:
        merged = merged_sketches(self._sketch, partials["sketch"], spans.partials, spans.starts)
        return self._sketch.values(merged, spans.filled)
