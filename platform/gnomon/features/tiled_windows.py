"""Aggregations over windows that begin with a whole tile, merged from the partials of their tiles.

Called by `windows`. A request costs a step for each tile of its window and for each event of the tile that is still
open, not one for each event: a partial of a tile that has ended is made once for all requests that see it in the same
state of knowledge. Requests are taken by entity and time, some at a time, so that what is held is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gnomon.contracts.features import Aggregation
from gnomon.features.event_columns import Int64s
from gnomon.features.event_order import OrderedEvents, first_after
from gnomon.features.held_tiles import HeldTiles
from gnomon.features.tile_groups import NOT_HELD, TileGroups
from gnomon.features.tile_partials import COUNT, Algebra, Partials, Spans, algebra_of, joined
from gnomon.features.window_edges import WindowEdges
from gnomon.features.window_groups import Groups
from gnomon.features.window_lists import list_column
from gnomon.features.window_operands import Operand, operand_key
from gnomon.features.window_requests import WindowRequests


def aggregate_tiled(
    ordered: OrderedEvents, asked: WindowRequests, features: Sequence[Aggregation],
    operands: Mapping[str, Operand], dtypes: Mapping[str, str], chunk_pairs: int,
    held: Mapping[int, HeldTiles],
) -> dict[str, pa.Array]:  # fmt: skip
    """Compute aggregations with tiles for every request.

    Args:
        ordered: The events.
        asked: The requests.
        features: What to compute.
        operands: What each runs over, by `operand_key`.
        dtypes: Type of each feature's result, by its name.
        chunk_pairs: Bound on the pairs of request and tile, and on the events of the partials that are made, at once.
        held: Partials in place of events, by the length of their tiles.

    Returns:
        One array per feature, in request order.
    """
    if not features:
        return {}
    order = np.lexsort((asked.until_us, asked.codes))
    back = pa.array(np.argsort(order, kind="stable"))
    by_edges: dict[WindowEdges, list[Aggregation]] = {}
    for feature in features:
        by_edges.setdefault(WindowEdges.of(feature), []).append(feature)
    settled = ordered.always_visible and bool((asked.at_us >= asked.until_us).all())
    groups: dict[int, TileGroups] = {}
    results: dict[str, pa.Array] = {}
    for edges, members in by_edges.items():
        tile_us = edges.tile_us
        if tile_us not in groups:
            groups[tile_us] = TileGroups.of(ordered, edges, settled=settled, held=held.get(tile_us))
        parts = [_Part.of(f, operands[operand_key(f)], dtypes[f.name], held.get(tile_us)) for f in members]
        merge = _Merge(ordered, parts)
        most_cells = max(1, chunk_pairs // max(part.algebra.weight for part in parts))
        for chunk in tile_chunks(ordered, groups[tile_us], asked.take(order), edges, chunk_pairs, most_cells):
            merge.add(chunk, chunk_pairs)
        results |= {f.name: column.take(back) for f, column in merge.columns()}
    return results


@dataclass(frozen=True)
class TileChunk:
    """Some consecutive requests, and the cells that their windows are made up of.

    A cell is a group of events in one state of knowledge, or the part of the open tile that one request sees.

    Attributes:
        until_us: The time asked, of each request.
        first: Position of each cell's first event …
        end: … and the one after its last.
        at_us: A time at which the cell is seen as it is.
        held: Index of the partial that is held for the cell, which has no events then; `NOT_HELD` for others.
        members: Request of each pair of request and cell; ascending.
        cells: Cell of each pair; in the order of time within a request.
    """

    until_us: Int64s
    first: Int64s
    end: Int64s
    at_us: Int64s
    held: Int64s
    members: Int64s
    cells: Int64s

    def pieces(self, most_events: int) -> Iterator[slice]:
        """Yield slices of cells, at least one, of about as many events; a cell may hold more alone."""
        if not len(self.first):
            yield slice(0, 0)
        before = np.concatenate(([0], np.cumsum(self.end - self.first)))
        begin, cells = 0, len(self.first)
        while begin < cells:
            stop = max(begin + 1, int(np.searchsorted(before, before[begin] + most_events, side="right")) - 1)
            yield slice(begin, stop)
            begin = stop


def tile_chunks(
    ordered: OrderedEvents, tiles: TileGroups, asked: WindowRequests, edges: WindowEdges, chunk_pairs: int,
    most_cells: int,
) -> Iterator[TileChunk]:  # fmt: skip
    """Yield the requests, some at a time, with the cells of their windows.

    Args:
        ordered: The events.
        tiles: Their groups.
        asked: The requests, by entity and time.
        edges: Of the windows.
        chunk_pairs: Bound on the pairs of request and cell; one request may exceed it alone.
        most_cells: As many cells, about; a cell that several requests see counts once.

    Yields:
        TileChunk: At least one, in the order of the requests.
    """
    first, end = tiles.ranges(asked.codes)
    until_us = edges.until_us(asked.until_us)
    open_tile = until_us // edges.tile_us
    low = first_after(tiles.tiles, first, end, edges.after_us(asked.until_us) // edges.tile_us - 1)
    high = first_after(tiles.tiles, low, end, open_tile - 1)
    pairs = np.concatenate(([0], np.cumsum(high - low + 1)))
    # requests are in order, so that each shares the tiles before its own newest ones with the one before it
    cells = np.cumsum(np.maximum(high - np.maximum(low, np.concatenate((low[:1], high[:-1]))), 0) + 1)
    begin, stop = 0, -1
    while stop < len(until_us):  # once where nobody asks, so that the columns have their types
        stop = int(np.searchsorted(pairs, pairs[begin] + chunk_pairs, side="right")) - 1
        if begin < len(cells):
            room = cells[begin] + most_cells - (high[begin] - low[begin])
            stop = min(stop, int(np.searchsorted(cells, room, side="right")))
        stop = max(begin + 1, stop)
        part = slice(begin, stop)
        open_first, open_end = _open_events(ordered, tiles, high[part], end[part], open_tile[part], until_us[part])
        yield _chunk(tiles, asked.until_us[part], asked.at_us[part], low[part], high[part], open_first, open_end)
        begin = stop


def _open_events(
    ordered: OrderedEvents, tiles: TileGroups, group: Int64s, end: Int64s, open_tile: Int64s, until_us: Int64s
) -> tuple[Int64s, Int64s]:  # fmt: skip
    """Return the positions of the events that each request sees of the tile in which its window ends."""
    nothing = np.zeros(len(group), np.int64)
    if not len(tiles.tiles):
        return nothing, nothing
    safe = np.minimum(group, len(tiles.tiles) - 1)
    there = (group < end) & (tiles.tiles[safe] == open_tile)
    first = np.where(there, tiles.first[safe], 0)
    return first, first_after(ordered.event_us, first, np.where(there, tiles.end[safe], 0), until_us)


def _chunk(
    tiles: TileGroups, until_us: Int64s, at_us: Int64s, low: Int64s, high: Int64s, open_first: Int64s,
    open_end: Int64s,
) -> TileChunk:  # fmt: skip
    requests = np.arange(len(until_us))
    members = np.repeat(requests, high - low)
    groups = np.arange(len(members)) - np.repeat(np.cumsum(high - low) - high, high - low)
    cells, example = _numbered(tiles.states(groups, at_us[members]))
    opened = np.flatnonzero(open_end > open_first)
    order = np.argsort(np.concatenate([members, opened]), kind="stable")  # two runs in order: one merge
    return TileChunk(
        until_us,
        np.concatenate([tiles.first[groups[example]], open_first[opened]]),
        np.concatenate([tiles.end[groups[example]], open_end[opened]]),
        np.concatenate([at_us[members[example]], at_us[opened]]),
        np.concatenate([tiles.held[groups[example]], np.full(len(opened), NOT_HELD)]),
        np.concatenate([members, opened])[order],
        np.concatenate([cells, len(example) + np.arange(len(opened))])[order],
    )


def _numbered(states: Int64s) -> tuple[Int64s, Int64s]:
    """Number the different states from 0 on; return each pair's number, and a pair of each number."""
    if not len(states):
        return states, states
    offsets = states - states.min()
    example = np.full(int(offsets.max()) + 1, -1, np.int64)
    example[offsets] = np.arange(len(states))
    found = np.flatnonzero(example >= 0)
    numbers = np.empty(len(example), np.int64)
    numbers[found] = np.arange(len(found))
    return numbers[offsets], example[found]


@dataclass(frozen=True)
class _Part:
    feature: Aggregation
    operand: Operand
    algebra: Algebra
    held: Partials | None

    @classmethod
    def of(cls, feature: Aggregation, operand: Operand, dtype: str, held: HeldTiles | None) -> _Part:
        partials = None if held is None else held.partials(feature, operand)
        return cls(feature, operand, algebra_of(feature, dtype, operand), partials)

    def merged(self, chunk: TileChunk, made: list[Partials]) -> pa.Array:
        partials = joined(made if self.held is None else [*made, self.held])
        held = chunk.held[chunk.cells]
        places = np.where(held >= 0, len(chunk.held) + held, chunk.cells)
        holds = partials[COUNT][places] > 0
        return self.algebra.merge(partials, Spans(chunk.members[holds], places[holds], chunk.until_us))


class _Merge:
    """Makes and merges the partials of aggregations of one window, chunk after chunk."""

    def __init__(self, ordered: OrderedEvents, parts: Sequence[_Part]) -> None:
        self._ordered, self._parts = ordered, parts
        self._found: list[list[pa.Array]] = [[] for _ in parts]

    def add(self, chunk: TileChunk, most_events: int) -> None:
        made = [list[Partials]() for _ in self._parts]
        for piece in chunk.pieces(most_events):
            by_operand: dict[int, Groups] = {}
            members, positions = self._visible(chunk, piece)
            nowhere = np.zeros(piece.stop - piece.start, np.int64)
            for part, partials in zip(self._parts, made, strict=True):
                if id(part.operand) not in by_operand:
                    groups = Groups.of(part.operand, members, positions, nowhere, self._ordered.event_us)
                    by_operand[id(part.operand)] = groups
                partials.append(part.algebra.make(by_operand[id(part.operand)]))
        for part, partials, found in zip(self._parts, made, self._found, strict=True):
            found.append(part.merged(chunk, partials))

    def columns(self) -> Iterator[tuple[Aggregation, pa.Array]]:
        """Yield the aggregations with their values, in the order of the chunks."""
        for part, found in zip(self._parts, self._found, strict=True):
            yield part.feature, list_column(part.feature, found) if part.feature.k else pa.concat_arrays(found)

    def _visible(self, chunk: TileChunk, piece: slice) -> tuple[Int64s, Int64s]:
        """Return the visible events of some cells: cell, counted from the first, and position."""
        first, counts = chunk.first[piece], chunk.end[piece] - chunk.first[piece]
        members = np.repeat(np.arange(len(first)), counts)
        positions = np.arange(len(members)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        seen = self._ordered.visible(positions, chunk.at_us[piece][members])
        return (members, positions) if seen.all() else (members[seen], positions[seen])
