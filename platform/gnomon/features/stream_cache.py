"""EventCache: the events that a streamed view's values are computed from, in memory. Used by `view_streams`.

It holds what may still count: versions that are in a window, or will come into one, and are not replaced. What is
dropped or evicted leaves a hash of its event id behind, so that a further version of that event is noticed and the
event looked up in the offline store; an evicted entity leaves the moment at which its values change next.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.durations import duration_us
from gnomon.contracts.features import Aggregation, Column, FeatureView
from gnomon.features.event_columns import Array, Flags, Int64s, column, entity_codes, times_us
from gnomon.features.event_order import NEVER_US, SUPERSEDED, superseded_us
from gnomon.features.view_plans import has_windows, longest_window_us, window_reach_us

_DUE = "_due_us"
_MOST_CHUNKS = 32
_KEPT_RATIO = 0.75
"""Part of the limit that an eviction leaves filled, so that the next one is not due at once."""


class EventCache:
    """Events of one view, of whole entities.

    Args:
        view: The view.
        keys: Its key columns.
        rows: Events to begin with, with all versions of each.
        limit_bytes: Above it the entities without news for longest are evicted.
    """

    def __init__(self, view: FeatureView, keys: tuple[str, ...], rows: pa.Table, limit_bytes: int) -> None:
        self._keys = keys
        self._rows = rows.combine_chunks()
        self._size_bytes = int(self._rows.nbytes)
        self._limit_bytes = limit_bytes
        self._reach_us = longest_window_us(view)
        self._offsets_us = _offsets_us(view)
        self._elsewhere: Array = np.zeros(0, np.uint64)
        self._evicted = rows.select(list(keys)).slice(0, 0).append_column(_DUE, pa.array([], pa.int64()))

    @property
    def rows(self) -> int:
        """Return the number of events held."""
        return int(self._rows.num_rows)

    @property
    def size_bytes(self) -> int:
        """Return about how much memory the events take."""
        return self._size_bytes

    def add(self, rows: pa.Table) -> None:
        """Add events; one that is held already changes no value."""
        self._size_bytes += int(rows.nbytes)
        self._rows = pa.concat_tables([self._rows, rows], promote_options="default")
        if self._rows.column(0).num_chunks > _MOST_CHUNKS:  # every look at a column would join them anew
            self._rows = self._rows.combine_chunks()

    def elsewhere(self, rows: pa.Table) -> pa.Array:
        """Return the ids among those of new rows of which versions may be stored that are not held here."""
        ids = pc.unique(column(rows, EVENT_ID))
        return ids.filter(pa.array(np.isin(_hashes(ids), self._elsewhere)))

    def crossings(self, after_us: int, until_us: int) -> pa.Array:
        """Return the ids of events that become visible, enter or leave a window or expire in `(after_us, until_us]`."""
        event, known = times_us(self._rows, EVENT_TIME), times_us(self._rows, KNOWN_TIME)
        crosses: Flags = (known > after_us) & (known <= until_us)
        for offset_us in self._offsets_us:
            crosses |= (event > after_us - offset_us) & (event <= until_us - offset_us)
        return pc.unique(column(self._rows, EVENT_ID).filter(pa.array(crosses)))

    def affected(self, ids: pa.Array, until_us: int) -> pa.Table:
        """Return the entities whose values may change: of all versions of these events, and evicted ones that are due.

        Args:
            ids: Event ids.
            until_us: Evicted entities whose values change up to this moment are added.

        Returns:
            Key columns, one row per entity.
        """
        rows = self._rows.filter(pc.is_in(column(self._rows, EVENT_ID), value_set=ids)).select(list(self._keys))
        due = self._evicted.filter(pc.less_equal(self._evicted.column(_DUE), until_us)).select(list(self._keys))
        return _entities(pa.concat_tables([rows, due]), self._keys)

    def missing(self, entities: pa.Table) -> pa.Table:
        """Return those of the entities that were evicted; from now on they are held, once their events are added."""
        if not self._evicted.num_rows:
            return entities.slice(0, 0)
        gone = pa.array(entity_codes(entities, self._evicted, self._keys)[1] >= 0)
        found = self._evicted.filter(gone).select(list(self._keys))
        self._evicted = self._evicted.filter(pc.invert(gone))
        return found

    def events_of(self, entities: pa.Table) -> pa.Table:
        """Return the events of entities, each with the time at which another version, of any entity, replaced it."""
        mine = entity_codes(entities, self._rows, self._keys)[1] >= 0
        ids = column(self._rows, EVENT_ID)
        versions = mine | np.asarray(pc.is_in(ids, value_set=pc.unique(ids.filter(pa.array(mine)))))
        related = self._rows.filter(pa.array(versions))
        related = related.append_column(SUPERSEDED, pa.array(superseded_us(related)))
        return related.filter(pa.array(mine[versions]))

    def trim(self, as_of_us: int) -> None:
        """Drop what cannot count any more after a moment, then evict entities until the limit holds.

        Args:
            as_of_us: Values up to this moment are computed already.
        """
        superseded = superseded_us(self._rows)
        keep: Flags = superseded > as_of_us
        if self._reach_us is not None:
            event, known = times_us(self._rows, EVENT_TIME), times_us(self._rows, KNOWN_TIME)
            keep &= np.maximum(event + self._reach_us, known) > as_of_us
        if not keep.all():
            ids = column(self._rows, EVENT_ID)
            hashes = _hashes(ids)
            versions, counts = np.unique(hashes, return_counts=True)
            corrected = versions[counts > 1]
            self._remember(hashes[~keep & np.isin(hashes, corrected)])
            self._keep(keep)
        if self.size_bytes > self._limit_bytes:
            self._evict(as_of_us)

    def _evict(self, as_of_us: int) -> None:
        entities = _entities(self._rows.select(list(self._keys)), self._keys)
        codes = entity_codes(entities, self._rows, self._keys)[1]
        known, number = codes >= 0, entities.num_rows
        if not number:
            return
        heard, due = np.full(number, -NEVER_US, np.int64), np.full(number, NEVER_US, np.int64)
        np.maximum.at(heard, codes[known], times_us(self._rows, INGESTED_AT)[known])
        np.minimum.at(due, codes[known], self._next_us(as_of_us)[known])
        newest_first = np.argsort(-heard, kind="stable")
        held = np.cumsum(np.bincount(codes[known], minlength=number)[newest_first])
        most_rows = int(self.rows * _KEPT_RATIO * self._limit_bytes / self.size_bytes)
        gone = np.zeros(number, np.bool_)
        gone[newest_first[held > most_rows]] = True
        out = known & gone[np.maximum(codes, 0)]  # rows without an entity stay: they may replace others
        self._remember(_hashes(column(self._rows, EVENT_ID))[out])
        self._keep(~out)
        evicted = entities.append_column(_DUE, pa.array(due)).filter(pa.array(gone))
        self._evicted = pa.concat_tables([self._evicted, evicted], promote_options="default").combine_chunks()

    def _next_us(self, as_of_us: int) -> Int64s:
        """Return, for each event, the next moment at which it changes a value."""
        event, known = times_us(self._rows, EVENT_TIME), times_us(self._rows, KNOWN_TIME)
        result = np.where(known > as_of_us, known, NEVER_US)
        for offset_us in self._offsets_us:
            moment = event + offset_us
            result = np.minimum(result, np.where(moment > as_of_us, moment, NEVER_US))
        return np.minimum(result, superseded_after(self._rows, as_of_us))

    def _keep(self, keep: Flags) -> None:
        self._rows = self._rows.filter(pa.array(keep)).combine_chunks()
        self._size_bytes = int(self._rows.nbytes)

    def _remember(self, hashes: Array) -> None:
        self._elsewhere = np.union1d(self._elsewhere, hashes)


def superseded_after(rows: pa.Table, as_of_us: int) -> Int64s:
    """Return when each event is replaced, where that lies after a moment; else never."""
    superseded = superseded_us(rows)
    return np.where(superseded > as_of_us, superseded, NEVER_US)


def _offsets_us(view: FeatureView) -> tuple[int, ...]:
    """Return how long after its event time an event changes values: on arrival, at the edges of windows, at expiry."""
    offsets = {0}
    for feature in view.features:
        if isinstance(feature, Aggregation):
            window_us, lag_us = window_reach_us(feature)
            offsets |= {lag_us, lag_us + window_us}
        elif isinstance(feature, Column) and view.max_age is not None and has_windows(view):
            offsets.add(duration_us(view.max_age))
    return tuple(sorted(offsets))


def _entities(rows: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    valid = np.ones(rows.num_rows, np.bool_)
    for key in keys:
        valid &= np.asarray(pc.is_valid(rows.column(key)))
    return rows.filter(pa.array(valid)).group_by(list(keys), use_threads=False).aggregate([])


def _hashes(ids: pa.Array) -> Array:
    """Return 64-bit hashes; equal ones of unequal ids lead to a needless look only."""
    result: Array = pl.Series(values=ids, dtype=pl.String).hash().to_numpy()
    return result
