"""EventCache: what a streamed view's values are computed from, in memory. Used by `view_streams`.

It holds the events that may still count: versions that are in a window, or will come into one, and are not replaced;
and of windows with tiles, in place of the events of tiles that have ended, their partials (`folded_tiles`). What is
dropped, folded or evicted leaves a hash of its event id behind (`distant_events`), so that a further version of that
event is noticed and the event looked up in the offline store; an evicted entity leaves the moment at which its values
change next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.features.distant_events import DistantEvents
from gnomon.features.event_columns import Array, Flags, Int64s, column, entity_codes, entity_table, times_us
from gnomon.features.event_order import NEVER_US, SUPERSEDED, superseded_us
from gnomon.features.folded_tiles import folded_tiles
from gnomon.features.held_tiles import HELD_SINCE
from gnomon.features.value_moments import ValueMoments
from gnomon.features.view_plans import longest_window_us, view_keys

_DUE = "_due_us"
_MOST_CHUNKS = 32
_KEPT_RATIO = 0.75
"""Part of the limit that an eviction leaves filled, so that the next one is not due at once."""


class EventCache:
    """Events of one view, of whole entities.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        rows: Events to begin with, with all versions of each.
        limit_bytes: Above it the entities without news for longest are evicted.
    """

    def __init__(self, app: App, view: FeatureView, rows: pa.Table, limit_bytes: int) -> None:
        self._keys = view_keys(app, view)
        self._rows = rows.combine_chunks()
        self._limit_bytes = limit_bytes
        self._reach_us = longest_window_us(view)
        self._moments = ValueMoments(view)
        self._folded = folded_tiles(app, view, rows)
        self._distant = DistantEvents()
        self._evicted = rows.select(list(self._keys)).slice(0, 0).append_column(_DUE, pa.array([], pa.int64()))
        self._size_bytes = 0
        self._keep(np.ones(rows.num_rows, np.bool_))

    @property
    def rows(self) -> int:
        """Return the number of events, and of tiles, held."""
        return int(self._rows.num_rows) + sum(int(tiles.table.num_rows) for tiles in self._folded.values())

    @property
    def size_bytes(self) -> int:
        """Return about how much memory the events and tiles take."""
        return self._size_bytes

    @property
    def ids_bytes(self) -> int:
        """Return how much memory the hashes of the ids of further events take, which the limit does not count."""
        return self._distant.size_bytes

    def add(self, rows: pa.Table) -> None:
        """Add events; one that is held already changes no value."""
        self._size_bytes += int(rows.nbytes)
        self._rows = pa.concat_tables([self._rows, rows], promote_options="default")
        if self._rows.column(0).num_chunks > _MOST_CHUNKS:  # every look at a column would join them anew
            self._rows = self._rows.combine_chunks()

    def elsewhere(self, rows: pa.Table) -> pa.Array:
        """Return the ids among those of new rows of which versions may be stored that are not held here."""
        return self._distant.among(pc.unique(column(rows, EVENT_ID)))

    def unfold(self, ids: pa.Array) -> dict[int, pa.Table]:
        """Drop the partials of the tiles that versions of these events lie in; their events have to be added then.

        Args:
            ids: Events of which all versions are held.

        Returns:
            Keys and tiles, by the length of the tiles; see `of_tiles`.
        """
        rows = self._rows.filter(pc.is_in(column(self._rows, EVENT_ID), value_set=ids))
        gone: dict[int, pa.Table] = {}
        for tile_us, tiles in self._folded.items():
            found = tiles.find(rows)
            if (found >= 0).any():
                gone[tile_us] = tiles.take_out(np.unique(found[found >= 0]))
        return gone

    def of_tiles(self, rows: pa.Table, wanted: Mapping[int, pa.Table]) -> Flags:
        """Tell which events lie in some tiles, given as by `unfold`."""
        result = np.zeros(rows.num_rows, np.bool_)
        for tile_us, tiles in wanted.items():
            result |= self._folded[tile_us].within(rows, tiles)
        return result

    def crossings(self, after_us: int, until_us: int) -> pa.Array:
        """Return the ids of events that become visible, enter or leave a window or expire in `(after_us, until_us]`."""
        event, known = times_us(self._rows, EVENT_TIME), times_us(self._rows, KNOWN_TIME)
        crosses = self._moments.between(event, known, after_us, until_us)
        return pc.unique(column(self._rows, EVENT_ID).filter(pa.array(crosses)))

    def affected(self, ids: pa.Array, after_us: int, until_us: int) -> pa.Table:
        """Return the entities whose values may change: of all versions of these events, those of which a tile leaves a
        window, and evicted ones that are due.

        Args:
            ids: Event ids.
            after_us: Values up to this moment are computed already.
            until_us: Changes up to this moment are looked for.

        Returns:
            Key columns, one row per entity.
        """
        rows = self._rows.filter(pc.is_in(column(self._rows, EVENT_ID), value_set=ids)).select(list(self._keys))
        due = self._evicted.filter(pc.less_equal(self._evicted.column(_DUE), until_us)).select(list(self._keys))
        crossing = [tiles.crossing(after_us, until_us) for tiles in self._folded.values()]
        return entity_table(pa.concat_tables([rows, due, *crossing]), self._keys)

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

    def tiles_of(self, entities: pa.Table) -> dict[int, pa.Table]:
        """Return the partials of entities that are held in place of events, by the length of their tiles."""
        return {tile_us: tiles.of(entities) for tile_us, tiles in self._folded.items()}

    def trim(self, as_of_us: int) -> None:
        """Drop what cannot count any more after a moment, fold tiles that have ended, then evict entities until the
        limit holds.

        Args:
            as_of_us: Values up to this moment are computed already.
        """
        superseded = superseded_us(self._rows)
        keep: Flags = superseded > as_of_us
        if self._reach_us is not None:
            event, known = times_us(self._rows, EVENT_TIME), times_us(self._rows, KNOWN_TIME)
            keep &= np.maximum(event + self._reach_us, known) > as_of_us
        if not keep.all():
            hashes = self._distant.hashes(column(self._rows, EVENT_ID))
            versions, counts = np.unique(hashes, return_counts=True)
            corrected = versions[counts > 1]
            self._distant.remember(hashes[~keep & np.isin(hashes, corrected)])
            self._keep(keep)
        self._distant.forget(as_of_us)
        if self._folded:
            self._fold(as_of_us)
        if self.size_bytes > self._limit_bytes:
            self._evict(as_of_us)

    def _fold(self, as_of_us: int) -> None:
        assert self._reach_us is not None, "a view with tiles to fold has windows only"
        superseded = superseded_us(self._rows)
        event, known = times_us(self._rows, EVENT_TIME), times_us(self._rows, KNOWN_TIME)
        unsettled = (known > as_of_us) | ((superseded > as_of_us) & (superseded < NEVER_US))
        # of evicted entities there may be single events here, for other versions of them: no whole tiles
        held = entity_codes(self._evicted, self._rows, self._keys)[1] < 0
        gone = held & self._valid()
        whole = self._rows.filter(pa.array(held))
        for tiles in self._folded.values():
            tiles.expire(as_of_us)
            gone[held] &= tiles.fold(whole, superseded[held], unsettled[held], as_of_us)
        gone &= ~unsettled
        if gone.any():
            hashes = self._distant.hashes(column(self._rows, EVENT_ID))
            self._distant.remember(hashes[gone], event[gone] + self._reach_us)
            self._keep(~gone)
        else:
            self._keep(np.ones(len(gone), np.bool_))

    def _evict(self, as_of_us: int) -> None:
        tables = [self._rows, *(tiles.table for tiles in self._folded.values())]
        entities = entity_table(pa.concat_tables([table.select(list(self._keys)) for table in tables]), self._keys)
        number = entities.num_rows
        if not number:
            return
        heard, due = np.full(number, -NEVER_US, np.int64), np.full(number, NEVER_US, np.int64)
        taken = np.zeros(number)
        for table, heard_us, next_us in self._news(as_of_us):
            codes = entity_codes(entities, table, self._keys)[1]
            known = codes >= 0
            np.maximum.at(heard, codes[known], heard_us[known])
            np.minimum.at(due, codes[known], next_us[known])
            taken += np.bincount(codes[known], minlength=number) * (table.nbytes / max(table.num_rows, 1))
        newest_first = np.argsort(-heard, kind="stable")
        gone = np.zeros(number, np.bool_)
        gone[newest_first[np.cumsum(taken[newest_first]) > _KEPT_RATIO * self._limit_bytes]] = True
        leaving = entities.filter(pa.array(gone))
        # rows without an entity stay: they may replace others
        out = entity_codes(leaving, self._rows, self._keys)[1] >= 0
        self._distant.remember(self._distant.hashes(column(self._rows, EVENT_ID))[out])
        for tiles in self._folded.values():
            tiles.table = tiles.of(leaving, others=True)
        self._keep(~out)
        evicted = leaving.append_column(_DUE, pa.array(due[gone]))
        self._evicted = pa.concat_tables([self._evicted, evicted], promote_options="default").combine_chunks()

    def _news(self, as_of_us: int) -> Iterable[tuple[pa.Table, Int64s, Int64s]]:
        """Yield events and tiles with when they were last heard of, and when they change values next."""
        event, known = times_us(self._rows, EVENT_TIME), times_us(self._rows, KNOWN_TIME)
        next_us = self._moments.next_us(event, known, superseded_us(self._rows), as_of_us)
        yield self._rows, times_us(self._rows, INGESTED_AT), next_us
        for tiles in self._folded.values():
            yield tiles.table, times_us(tiles.table, HELD_SINCE), tiles.next_us(as_of_us)

    def _valid(self) -> Array:
        valid = np.ones(self._rows.num_rows, np.bool_)
        for key in self._keys:
            valid &= np.asarray(pc.is_valid(column(self._rows, key)))
        return valid

    def _keep(self, keep: Flags) -> None:
        self._rows = self._rows.filter(pa.array(keep)).combine_chunks()
        self._size_bytes = int(self._rows.nbytes) + sum(int(t.table.nbytes) for t in self._folded.values())
