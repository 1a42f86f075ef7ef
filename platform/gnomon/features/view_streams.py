"""ViewStream: keeps one view's online values up to date with its source's table. Stepped by `control_plane.streaming`.

A step looks for rows that were added to the table, and for held events that cross the edge of a window, and computes
all values of the entities concerned anew, with the function that `materialize` uses. So late, corrected and repeated
events need no rules of their own here, and what is written equals what `materialize` would write at that moment.

The position (version of the table, moment) is stored after the write: a step that was not finished is done again, which
changes nothing, because a row counts online only if it is of a later moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import Clock, SystemClock
from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, INGESTED_AT
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.online_store import OnlineStore
from gnomon.contracts.platform_state import StateStore
from gnomon.features.event_columns import column, entity_codes, times_us
from gnomon.features.materialization import entity_rows, materialize
from gnomon.features.online_versions import check_not_dropping, is_online, note_shown, went_online
from gnomon.features.stream_cache import EventCache
from gnomon.features.stream_positions import STREAM, StreamPosition
from gnomon.features.stream_tail import TableTail
from gnomon.features.view_events import event_columns, read_view_events
from gnomon.features.view_plans import has_windows, view_keys

_LATEST_US = 253_402_300_799_000_000  # the end of the year 9999, after which no event can be stored
_STORE_EVERY_US = {True: 1_000_000, False: 5_000_000}  # with progress, without
_TRIM_EVERY_US = 30_000_000
_WRITE_ROWS = 100_000
_NO_IDS = pa.array([], pa.string())


class ViewStream:
    """Follows the table of a view's source. One thread at a time; one process at a time for a view.

    Args:
        app: An app whose schemas are resolved.
        view_name: The view.
        offline: Holds the source's table.
        online: Where the values go.
        states: Keeps the position.
        clock: The platform's time, of which the values are.
        limit_bytes: Bound on the events held in memory.
        position: Name under which the position is kept, for a version that is not the applied one; the applied one's is
            kept under the view's own name, and the version is shown once it is online.
    """

    def __init__(
        self, app: App, view_name: str, offline: OfflineStore, online: OnlineStore, states: StateStore, clock: Clock,
        limit_bytes: int, position: str = "",
    ) -> None:  # fmt: skip
        self._name = position or view_name
        self._app, self._view = app, app.get(FeatureView, view_name)
        self._layout, self._keys = view_layout(app, view_name), view_keys(app, self._view)
        self._offline, self._online, self._states, self._clock = offline, online, states, clock
        self._limit_bytes = limit_bytes
        self._machine = SystemClock()
        self._position: StreamPosition | None = None
        self._stored_us = self._trimmed_us = 0
        self._oldest_us: int | None = None
        self._watermark_us: int | None = None

    def step(self) -> int:
        """Bring the online values to the table's newest version and to now.

        Returns:
            How many entities' values were computed.

        Raises:
            Unavailable: The online store does not answer; the next step repeats what this one could not do.
            CorruptData: A file of the table cannot be read.
        """
        version = self._offline.version(self._view.source)
        if version < 0:
            return 0
        if self._position is None or version < self._position.version:
            self._begin()
        assert self._position is not None
        # After the version was read: whoever materializes from an older version has an earlier moment and loses.
        as_of_us = max(self._clock.now_us(), self._position.as_of_us + 1)
        self._keep_from_expiring(as_of_us)
        try:
            entities = self._changed(version, as_of_us)
        except Exception:
            self._position = None  # taken in by half: the next step begins again with what is stored
            raise
        if entities.num_rows:
            events, tiles = self._cache.events_of(entities), self._cache.tiles_of(entities)
            self._write(entity_rows(self._app, self._view, events, as_of_us, tiles))
        self._advance(version, as_of_us, entities.num_rows)
        return int(entities.num_rows)

    def failed(self, error: Exception) -> None:
        """Write down that a step failed, for those who look at the status."""
        stored = self._states.get(STREAM, self._name)
        position = self._position or (None if stored is None else StreamPosition.from_json(stored))
        position = position or StreamPosition("", self._view.source, -1, 0, 0)
        self._store(replace(position, error=str(error)))

    def _begin(self) -> None:
        """Go on from the stored position; without one, or without all rows online, write the whole view first."""
        stored = self._states.get(STREAM, self._name)
        position = None if stored is None else StreamPosition.from_json(stored)
        source, newest = self._view.source, self._offline.version(self._view.source)
        if (
            position is None
            or (position.layout, position.source) != (self._layout.version, source)
            or (position.version > newest)
            or not is_online(self._states, self._view.name, self._layout.version)
        ):
            check_not_dropping(self._states, self._view.name, self._layout.version)
            done = materialize(self._app, self._view.name, self._offline, self._online, self._clock.now_us())
            position = StreamPosition(self._layout.version, source, done.source_version, done.as_of_us, done.as_of_us)
            went_online(self._states, self._app, self._view.name, done.as_of_us)
        if self._name == self._view.name:
            note_shown(self._states, self._app, self._view.name)
        events = self._read_events(position.version, position.as_of_us)
        self._cache = EventCache(self._app, self._view, events, self._limit_bytes)
        self._cache.trim(position.as_of_us)
        columns = event_columns(self._app, self._view, None, self._offline.schema(source, version=position.version))
        self._tail = TableTail(self._offline, source, columns, position.version)
        self._pending, self._oldest_us = _NO_IDS, None
        self._watermark_us = position.watermark_us
        if self._watermark_us is None and events.num_rows:
            self._watermark_us = int(times_us(events, EVENT_TIME).max())
        self._position = replace(position, entities=0)

    def _keep_from_expiring(self, as_of_us: int) -> None:
        """Write the whole view when half of its `max_age` has passed: what a window gives is of the time of its write,
        and would expire online though no event has changed it."""
        assert self._position is not None
        max_age_us = self._layout.max_age_us
        if max_age_us is None or not has_windows(self._view):
            return
        if as_of_us - self._position.whole_us >= max_age_us // 2:
            materialize(self._app, self._view.name, self._offline, self._online, as_of_us)
            self._position = replace(self._position, whole_us=as_of_us)

    def _read_events(self, version: int, as_of_us: int) -> pa.Table:
        return read_view_events(
            self._app, self._view, self._offline, version, earliest_us=as_of_us, latest_us=_LATEST_US,
            every_row=True,
        )  # fmt: skip

    def _changed(self, version: int, as_of_us: int) -> pa.Table:
        """Return the entities whose values may have changed since the position, and hold all of their events."""
        assert self._position is not None
        if version > self._tail.version:
            self._take_in(self._tail.read(version))
        crossed = self._cache.crossings(self._position.as_of_us, as_of_us)
        ids = pc.unique(pa.concat_arrays([self._pending, crossed.cast(pa.string())]))
        while True:  # what is loaded can bring in other versions, and with them other entities that were evicted
            entities = self._cache.affected(ids, self._position.as_of_us, as_of_us)
            missing = self._cache.missing(entities)
            if not missing.num_rows:
                return entities
            ids = pc.unique(pa.concat_arrays([ids, self._load(entities=missing)]))
            self._pending = ids  # a failure from here on must not forget them: they are no longer known as evicted

    def _take_in(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        elsewhere = self._cache.elsewhere(rows)
        self._cache.add(rows)
        self._pending = pc.unique(pa.concat_arrays([self._pending, column(rows, EVENT_ID).cast(pa.string())]))
        if len(elsewhere):
            self._load(ids=elsewhere)
        if unfolded := self._cache.unfold(pc.unique(column(rows, EVENT_ID))):
            self._load(tiles=unfolded)
        oldest_us = int(times_us(rows, INGESTED_AT).min())
        self._oldest_us = oldest_us if self._oldest_us is None else min(self._oldest_us, oldest_us)
        newest_us = int(times_us(rows, EVENT_TIME).max())
        self._watermark_us = newest_us if self._watermark_us is None else max(self._watermark_us, newest_us)

    def _load(
        self, entities: pa.Table | None = None, ids: pa.Array = _NO_IDS, tiles: Mapping[int, pa.Table] | None = None
    ) -> pa.Array:  # fmt: skip
        """Hold all versions of the events with these ids, of these entities, and in these tiles; return all ids."""
        assert self._position is not None
        events = self._read_events(self._tail.version, self._position.as_of_us)
        all_ids = column(events, EVENT_ID)
        wanted = np.asarray(pc.is_in(all_ids, value_set=ids))
        if entities is not None:
            wanted |= entity_codes(entities, events, self._keys)[1] >= 0
        if tiles is not None:
            wanted |= self._cache.of_tiles(events, tiles)
        wanted = np.asarray(pc.is_in(all_ids, value_set=pc.unique(all_ids.filter(pa.array(wanted)))))
        found = events.filter(pa.array(wanted))
        self._cache.add(found)
        result: pa.Array = pc.unique(column(found, EVENT_ID)).cast(pa.string())
        return result

    def _write(self, rows: pa.Table) -> None:
        for start in range(0, rows.num_rows, _WRITE_ROWS):
            self._online.write(self._layout, rows.slice(start, _WRITE_ROWS))

    def _advance(self, version: int, as_of_us: int, entities: int) -> None:
        assert self._position is not None
        lag_s, progress = self._position.lag_s, entities > 0 or version > self._position.version
        if self._oldest_us is not None:
            lag_s = max(0.0, (self._clock.now_us() - self._oldest_us) / 1e6)
        self._pending, self._oldest_us = _NO_IDS, None
        self._position = replace(
            self._position, version=version, as_of_us=as_of_us, watermark_us=self._watermark_us, lag_s=lag_s,
            entities=self._position.entities + entities, cached_rows=self._cache.rows,
            cached_bytes=self._cache.size_bytes,
        )  # fmt: skip
        machine_us = self._machine.now_us()
        if machine_us - self._trimmed_us >= _TRIM_EVERY_US or self._cache.size_bytes > self._limit_bytes:
            self._cache.trim(as_of_us)
            self._trimmed_us = machine_us
        if machine_us - self._stored_us >= _STORE_EVERY_US[progress]:
            self._store(self._position)

    def _store(self, position: StreamPosition) -> None:
        self._stored_us = self._machine.now_us()
        self._states.put(STREAM, self._name, replace(position, wall_us=self._stored_us).as_json())
