"""FoldedTiles: partials of tiles that have ended, which the stream consumer holds in place of their events.

Used by `stream_cache`. A tile is folded when all that was stored of it is known and settled; news of one of its events,
however late, unfolds it: its partial is dropped, and the tile is folded anew when its events are at hand again.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_TIME, INGESTED_AT
from gnomon.contracts.features import Aggregation, Derived, FeatureView
from gnomon.contracts.layouts import feature_dtype
from gnomon.features.event_columns import Flags, Int64s, column, entity_codes, entity_table, times_us
from gnomon.features.event_order import NEVER_US, order_events
from gnomon.features.held_tiles import HELD_SINCE, TILE, partial_columns
from gnomon.features.tile_groups import TileGroups
from gnomon.features.tile_partials import algebra_of
from gnomon.features.view_plans import view_keys
from gnomon.features.view_rows import ordered_columns
from gnomon.features.window_edges import WindowEdges
from gnomon.features.window_groups import Groups
from gnomon.features.window_operands import build_operand


class FoldedTiles:
    """The folded tiles of one length.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        tile_us: The length.
        raw_us: For how long events are needed as they are, by windows without tiles.
        empty: A table of events, of which the types are taken.

    Attributes:
        table: One row per entity and tile.
    """

    def __init__(self, app: App, view: FeatureView, tile_us: int, raw_us: int, empty: pa.Table) -> None:
        self._app, self._view, self._keys = app, view, view_keys(app, view)
        windows = [(f, WindowEdges.of(f)) for f in view.features if isinstance(f, Aggregation)]
        self._features = [f for f, edges in windows if edges.tile_us == tile_us]
        self._edges = [edges for _, edges in windows if edges.tile_us == tile_us]
        # what is late by less than a tile is taken in without looking anything up
        self._settle_us = max(raw_us, tile_us + max(edges.lag_us for edges in self._edges))
        self.table = self._partials(empty.slice(0, 0), np.zeros(0, np.int64))

    def find(self, rows: pa.Table) -> Int64s:
        """Return, of each event, the row of the table that holds its tile; −1 where it is not folded."""
        held, codes, _ = entity_codes(self.table, rows, self._keys)
        return _places(held, np.asarray(column(self.table, TILE)), codes, self._tiles(rows))

    def fold(self, rows: pa.Table, superseded: Int64s, unsettled: Flags, as_of_us: int) -> Flags:
        """Fold the tiles that have ended and are not folded yet.

        Args:
            rows: Events of whole entities.
            superseded: When each was replaced.
            unsettled: Whether it becomes known or is replaced at a time to come.
            as_of_us: The moment.

        Returns:
            Which events this length of tiles does not need any more: folded, or out of all windows.
        """
        found, tiles = self.find(rows) >= 0, self._tiles(rows)
        left = self._leaves_us(tiles) <= as_of_us
        entities = entity_table(rows, self._keys)
        codes = entity_codes(entities, rows, self._keys)[1]
        ended = (codes >= 0) & ~found & ~left & ((tiles + 1) * self._edges[0].tile_us + self._settle_us <= as_of_us)
        waiting = np.flatnonzero(ended & unsettled)
        folds = ended & (_places(codes[waiting], tiles[waiting], codes, tiles) < 0)
        if folds.any():
            made = self._partials(rows.filter(pa.array(folds)), superseded[folds])
            self.table = pa.concat_tables([self.table, made]).combine_chunks()
        return found | folds | left

    def take_out(self, places: Int64s) -> pa.Table:
        """Drop some rows of the table, and return their keys and tiles."""
        out = np.zeros(self.table.num_rows, np.bool_)
        out[places] = True
        gone = self.table.filter(pa.array(out)).select([*self._keys, TILE])
        self._keep(~out)
        return gone

    def within(self, rows: pa.Table, wanted: pa.Table) -> Flags:
        """Tell which events lie in some tiles, given as by `take_out`."""
        held, codes, _ = entity_codes(wanted, rows, self._keys)
        result: Flags = _places(held, np.asarray(column(wanted, TILE)), codes, self._tiles(rows)) >= 0
        return result

    def expire(self, as_of_us: int) -> None:
        """Drop what has left all windows."""
        self._keep(self._leaves_us(np.asarray(column(self.table, TILE))) > as_of_us)

    def of(self, entities: pa.Table, *, others: bool = False) -> pa.Table:
        """Return the rows of some entities, or of all others."""
        mine = entity_codes(entities, self.table, self._keys)[1] >= 0
        return self.table.filter(pa.array(~mine if others else mine))

    def crossing(self, after_us: int, until_us: int) -> pa.Table:
        """Return the keys of the tiles that leave a window in `(after_us, until_us]`."""
        crosses = np.zeros(self.table.num_rows, np.bool_)
        for moment_us in self._moments_us():
            crosses |= (moment_us > after_us) & (moment_us <= until_us)
        return self.table.filter(pa.array(crosses)).select(list(self._keys))

    def next_us(self, after_us: int) -> Int64s:
        """Return the first moment after another at which each tile leaves a window."""
        result = np.full(self.table.num_rows, NEVER_US, np.int64)
        for moment_us in self._moments_us():
            result = np.minimum(result, np.where(moment_us > after_us, moment_us, NEVER_US))
        return result

    def _moments_us(self) -> list[Int64s]:
        ends = (np.asarray(column(self.table, TILE)) + 1) * self._edges[0].tile_us
        return [edges.leaves_us(ends) for edges in self._edges]

    def _leaves_us(self, tiles: Int64s) -> Int64s:
        ends = (tiles + 1) * self._edges[0].tile_us
        return np.max([edges.leaves_us(ends) for edges in self._edges], axis=0)  # type: ignore[no-any-return]

    def _tiles(self, rows: pa.Table) -> Int64s:
        return self._edges[0].tile_of(times_us(rows, EVENT_TIME))

    def _keep(self, keep: Flags) -> None:
        if not keep.all():
            self.table = self.table.filter(pa.array(keep)).combine_chunks()

    def _partials(self, rows: pa.Table, superseded: Int64s) -> pa.Table:
        """Return the partials of events of settled tiles: of those versions that were never replaced."""
        entities = entity_table(rows, self._keys)
        ordered, _ = order_events(rows, entities, self._keys)
        groups = TileGroups.of(ordered, self._edges[0], settled=True)
        first = pa.array(ordered.rows[groups.first])
        heard_us = times_us(rows, INGESTED_AT)[ordered.rows]
        made = {key: column(rows, key).take(first) for key in self._keys} | {TILE: pa.array(groups.tiles)}
        made[HELD_SINCE] = pa.array(np.maximum.reduceat(heard_us, groups.first) if len(groups.first) else heard_us)
        stays = superseded[ordered.rows] == NEVER_US
        members = np.repeat(np.arange(len(groups.first)), groups.end - groups.first)[stays]
        columns = ordered_columns(self._app, self._view, self._features, rows, ordered)
        for feature in self._features:
            operand = build_operand(feature, columns, len(ordered.rows))
            nowhere = np.zeros(len(groups.first), np.int64)
            taken = Groups.of(operand, members, np.flatnonzero(stays), nowhere, ordered.event_us)
            dtype = feature_dtype(feature, dict(self._app.schemas[self._view.source]))
            made |= partial_columns(feature, algebra_of(feature, dtype, operand).make(taken), operand)
        return pa.table(made)


def folded_tiles(app: App, view: FeatureView, empty: pa.Table) -> dict[int, FoldedTiles]:
    """Return folders for each length of the tiles of a view, by the length; none where all events are needed anyway.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        empty: A table of events, of which the types are taken.

    Returns:
        Without tiles yet.
    """
    if not all(isinstance(f, Aggregation | Derived) for f in view.features):
        return {}
    windows = [WindowEdges.of(f) for f in view.features if isinstance(f, Aggregation)]
    raw_us = max((edges.reach_us for edges in windows if edges.tile_us == 1), default=0)
    lengths = sorted({edges.tile_us for edges in windows} - {1})
    return {tile_us: FoldedTiles(app, view, tile_us, raw_us, empty) for tile_us in lengths}


def _places(held: Int64s, held_tiles: Int64s, codes: Int64s, tiles: Int64s) -> Int64s:
    """Return, for each (code, tile), an index at which the same pair is held; −1 where it is not, and for code −1."""
    if not len(held):
        return np.full(len(codes), -1, np.int64)
    least, span = int(held_tiles.min()), int(held_tiles.max() - held_tiles.min()) + 1
    packed = held * span + (held_tiles - least)
    order = np.argsort(packed, kind="stable")
    wanted = codes * span + (tiles - least)
    place = order[np.minimum(np.searchsorted(packed[order], wanted), len(order) - 1)]
    fits = (codes >= 0) & (tiles >= least) & (tiles < least + span) & (packed[place] == wanted)
    return np.where(fits, place, -1)
