"""Finds values that are right for another time than the logged one: clocks that differ, zones that were taken for UTC.

Called by `skew_classes` for what nothing else explains. A row that was served before its own time (a negative age)
says its offset by itself. Otherwise a small set of offsets is tried on a sample: those that the served ages point to,
and all whole quarters of an hour up to 14 hours; one counts if it gives all open values of at least half of the sample.
Fewer than `LEAST_ROWS` predictions show no offset: some other time has almost any value of one of them. Nor do those
for which nothing was served: so it was at any time before an entity's first row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from gnomon.features.event_columns import Flags, Int64s
from gnomon.monitoring.skew_cells import OPEN, OpenCells, SkewRows, Values
from gnomon.monitoring.skew_log import ABSENT_US
from gnomon.monitoring.skew_values import same

if TYPE_CHECKING:
    from gnomon.monitoring.skew_classes import Explanations

FARTHEST_US: Final = 14 * 3_600_000_000
"""No zone is farther from UTC."""

LEAST_ROWS: Final = 5
"""Open predictions of one stretch of the log and one view that an offset is looked for in."""

_QUARTER_US: Final = 900_000_000
_SAMPLE_ROWS = 100
_MOST_OFFSETS = 3
_HALF = 0.5
_MOMENTS = 10_000


def explain_by_clock(cells: OpenCells, by: Explanations) -> None:
    """Mark as `clock` what another time explains.

    Args:
        cells: Closed as far as anything explains them.
        by: The view's replays.
    """
    _of_the_future(cells, by)
    for _ in range(_MOST_OFFSETS):
        rows = cells.rows()
        rows = rows[cells.case.age_us[rows] != ABSENT_US]
        if len(rows) < LEAST_ROWS:
            return
        offset_us = _common_offset(cells, rows, by)
        if offset_us is None:
            return
        part = cells.case.take(rows)
        shift = np.full(len(rows), offset_us, np.int64)
        everywhere = np.ones(len(rows), np.bool_)
        for values in _values_at(part, by, shift):
            cells.mark("clock", rows, values, everywhere)


def _of_the_future(cells: OpenCells, by: Explanations) -> None:
    rows = cells.rows()
    part = cells.case.take(rows)
    ahead = part.age_us < ABSENT_US
    if not ahead.any():
        return
    row_us = part.time_us - part.age_us
    for at_us in (row_us, np.full(len(rows), by.now_us, np.int64)):
        found = by.replay.online(part.keys, row_us, at_us, row_us, part.names, there=True)
        holds = ahead & found.found & (found.event_us == row_us)
        cells.mark("clock", rows, found.values, holds)


def _common_offset(cells: OpenCells, rows: Int64s, by: Explanations) -> int | None:
    """Return the offset that explains most of a sample of the open rows; None where none explains half of it."""
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE_ROWS)).astype(np.int64)]
    part = cells.case.take(sample)
    offsets = _candidates(part, by)
    repeated = np.repeat(np.arange(len(sample)), len(offsets))
    every = part.take(repeated)
    shift = np.tile(offsets, len(sample))
    open_ = {n: cells.codes[n][sample][repeated] == OPEN for n in part.names}
    best = np.zeros(len(repeated), np.bool_)
    for values in _values_at(every, by, shift):
        right: Flags = np.ones(len(repeated), np.bool_)
        for name, value in values.items():
            right &= same(every.served[name], value) | ~open_[name]
        best |= right
    shares = best.reshape(len(sample), len(offsets)).mean(axis=0)
    # of equally good ones the nearest to zero
    winner = int(np.lexsort((np.abs(offsets), -shares))[0])
    return int(offsets[winner]) if shares[winner] >= _HALF else None


def _candidates(part: SkewRows, by: Explanations) -> Int64s:
    """Return offsets to try: quarters of an hour, those of negative ages, and those that fit known materializations."""
    quarters = np.arange(-FARTHEST_US, FARTHEST_US + 1, _QUARTER_US)
    likely = np.zeros(0, np.int64)
    if by.replay.has_windows and len(by.materialized_us):
        row_us = part.time_us - part.age_us
        apart = (by.materialized_us[-_MOMENTS:][None, :] - row_us[:, None]).ravel()
        near, counts = np.unique(apart[np.abs(apart) <= FARTHEST_US], return_counts=True)
        likely = near[np.argsort(-counts, kind="stable")[:_MOST_OFFSETS]]
    ahead = part.age_us[part.age_us < ABSENT_US]
    offsets: Int64s = np.unique(np.concatenate([quarters, likely, -ahead[:_MOST_OFFSETS]]))
    wanted: Int64s = offsets[offsets != 0]
    return wanted


def _values_at(part: SkewRows, by: Explanations, shift_us: Int64s) -> Iterator[Values]:
    """Yield the values of the shifted times: of a training set, and as materialized at the shifted moment."""
    time_us = part.time_us + shift_us
    yield by.replay.offline(part.keys, time_us, time_us, part.names).values
    if by.replay.has_windows:
        moment_us = time_us - np.maximum(part.age_us, 0)
        yield by.replay.online(part.keys, moment_us, moment_us, time_us, part.names, there=True).values
