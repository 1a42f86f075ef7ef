"""Orders events by entity and time, and finds out from when until when each version of an event was the valid one.

Called by `newest_rows` and `windows`, which search in this order, and by the distributed join before it splits events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.features.event_columns import Array, Flags, Int64s, column, entity_codes, tie_ranks, times_us

SUPERSEDED = "_superseded_us"
"""Column of int64 microseconds that `superseded_us` can be kept in, where versions of one event travel apart."""

TIE = "_tie"
"""Column of int64 that can take the place of event id and digest in the order of rows that agree in all times."""

NEVER_US = int(np.iinfo(np.int64).max)
"""Superseded at no time."""


@dataclass(frozen=True)
class OrderedEvents:
    """Events by (entity, event time, known time, ingested, event id, digest), all arrays in that order.

    Attributes:
        rows: Row in the table of events, at each position.
        starts: First position of each entity's events, and the number of events at the end; shape (entities + 1,).
        event_us: Event time.
        known_us: From this time on the version is visible …
        superseded_us: … and before this one.
        always_visible: Every event is visible at every time from its event time on.
    """

    rows: Int64s
    starts: Int64s
    event_us: Int64s
    known_us: Int64s
    superseded_us: Int64s
    always_visible: bool

    def visible(self, positions: Int64s, at_us: Int64s) -> Flags:
        """Tell for each position whether its event is visible at the time of the same index."""
        result: Flags = (self.known_us[positions] <= at_us) & (at_us < self.superseded_us[positions])
        return result

    def ranges(self, codes: Int64s) -> tuple[Int64s, Int64s]:
        """Return the first position of each entity's events and the one after the last; empty for code −1."""
        return ranges_of(self.starts, codes)


def ranges_of(starts: Int64s, codes: Int64s) -> tuple[Int64s, Int64s]:
    """Return where each entity's part begins and ends, given where all parts begin; empty for code −1."""
    if len(starts) < 2:
        return np.zeros_like(codes), np.zeros_like(codes)
    safe = np.maximum(codes, 0)
    first = starts[safe]
    return first, np.where(codes < 0, first, starts[safe + 1])


def superseded_us(events: pa.Table) -> Int64s:
    """Return when each row was replaced by a later version of its event, in row order; `NEVER_US` where it was not.

    Versions are ordered by known time, then by ingestion, then by digest. A version that was replaced at the moment it
    became known was never visible. Rows with a null event id are events of their own.
    """
    if SUPERSEDED in events.column_names:
        return times_us(events, SUPERSEDED)
    result = np.full(events.num_rows, NEVER_US, np.int64)
    rows = _rows_with_versions(pl.Series(column(events, EVENT_ID)))
    if not len(rows):
        return result
    known = times_us(events, KNOWN_TIME)
    names = tie_ranks(events, EVENT_ID, rows)
    ties = (tie_ranks(events, DIGEST, rows), times_us(events, INGESTED_AT)[rows], known[rows])
    order = np.lexsort((*ties, names))
    same = names[order][1:] == names[order][:-1]
    result[rows[order[:-1][same]]] = known[rows[order[1:][same]]]
    return result


def digests_decide(events: pa.Table) -> bool:
    """Tell whether the digest decides on the order of two rows: versions that became known and were stored at once.

    Rows with a null event id count as such.
    """
    ids = column(events, EVENT_ID)
    if ids.null_count:
        return True
    rows = _rows_with_versions(pl.Series(ids))
    keys = [times_us(events, INGESTED_AT)[rows], times_us(events, KNOWN_TIME)[rows], tie_ranks(events, EVENT_ID, rows)]
    ordered = np.stack(keys)[:, np.lexsort(keys)]
    return bool((ordered[:, 1:] == ordered[:, :-1]).all(axis=0).any())


def _rows_with_versions(ids: pl.Series) -> Int64s:
    """Return the rows whose id occurs more than once; equal hashes of unequal ids may add rows, which harms nothing."""
    hashes = ids.hash().to_numpy()
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return np.zeros(0, np.int64)
    found = repeated[np.minimum(np.searchsorted(repeated, hashes), len(repeated) - 1)] == hashes
    return np.flatnonzero(found & ids.is_not_null().to_numpy())


def order_events(events: pa.Table, requests: pa.Table, keys: Sequence[str]) -> tuple[OrderedEvents, Int64s]:
    """Order the events of the requested entities; other events are left out.

    Args:
        events: Rows with the key columns and the system columns.
        requests: Rows with the key columns; their order is free.
        keys: Key columns that together name an entity.

    Returns:
        The events, and each request's entity code.

    Raises:
        InvalidInput: A key or time column is absent, of another type, or a time is null.
    """
    asked, found, entities = entity_codes(requests, events, keys)
    superseded = superseded_us(events)
    event, known = times_us(events, EVENT_TIME), times_us(events, KNOWN_TIME)
    rows = np.flatnonzero(found >= 0)
    codes, event = found[rows], event[rows]
    order = _by_entity_and_time(codes, event)
    # what ties are broken by changes neither of these two
    rows, codes, event = rows[order], codes[order], event[order]
    rows = _break_ties(events, rows, codes, event, known)
    known, superseded = known[rows], superseded[rows]
    starts = np.searchsorted(codes, np.arange(entities + 1))
    plain = bool((known <= event).all() and (superseded == NEVER_US).all())
    return OrderedEvents(rows, starts, event, known, superseded, plain), asked


def first_after(times: Int64s, low: Int64s, high: Int64s, bound_us: Int64s) -> Int64s:
    """Return, per request, the first position in `[low, high)` whose time is after the bound; `high` where none is.

    Args:
        times: Ascending within every range that is searched.
        low: First position of each range.
        high: Position after the last of each range.
        bound_us: The bound of each request.

    Returns:
        Positions of the same length as the bounds.
    """
    low, high = low.copy(), high.copy()
    if not len(times):
        return low
    for _ in range(int((high - low).max(initial=0)).bit_length()):
        middle = (low + high) >> 1
        open_ = low < high
        right = open_ & (times[np.minimum(middle, len(times) - 1)] <= bound_us)
        low = np.where(right, middle + 1, low)
        high = np.where(open_ & ~right, middle, high)
    return low


def _by_entity_and_time(codes: Int64s, event: Int64s) -> Int64s:
    """Return the order by (code, time); one packed number sorts several times faster than two columns."""
    if not len(codes):
        return np.zeros(0, np.int64)
    least, span = int(event.min()), int(event.max()) - int(event.min()) + 1
    if (int(codes.max()) + 1) * span < NEVER_US:
        return np.argsort(codes * span + (event - least))
    return np.lexsort((event, codes))


def _break_ties(events: pa.Table, rows: Int64s, codes: Int64s, event: Int64s, known: Int64s) -> Int64s:
    """Order rows that agree in entity and event time by what came later; the last one wins.

    `codes` and `event` are in the order of `rows`, `known` is in that of the events.
    """
    if len(rows) < 2:
        return rows
    same: Array = (codes[1:] == codes[:-1]) & (event[1:] == event[:-1])
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if not len(tied):
        return rows
    group = np.cumsum(np.append(True, ~same))[tied]
    among = rows[tied]
    if TIE in events.column_names:
        last = [times_us(events, TIE)[among]]
    else:
        last = [tie_ranks(events, DIGEST, among), tie_ranks(events, EVENT_ID, among)]
    rows = rows.copy()
    rows[tied] = among[np.lexsort((*last, times_us(events, INGESTED_AT)[among], known[among], group))]
    return rows
