"""The tiles of some entities, and the states of knowledge in which each was: what partials are made for.

Made by `tiled_windows` from ordered events, and from partials that the stream consumer holds. A tile of an entity whose
events are all visible from the first on has one state. Otherwise a state begins whenever a version of an event becomes
known or is replaced; all requests that look within one state see the same events.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gnomon.features.event_columns import Int64s
from gnomon.features.event_order import NEVER_US, OrderedEvents, first_after, ranges_of
from gnomon.features.held_tiles import HeldTiles
from gnomon.features.window_edges import WindowEdges

NOT_HELD = -1


@dataclass(frozen=True)
class TileGroups:
    """Tiles that hold events, by (entity, tile); arrays of one length but for `starts` and `changes_us`.

    Attributes:
        tiles: Number of the tile; ascending within an entity.
        starts: First group of each entity, and the number of groups at the end; shape (entities + 1,).
        first: Position of the group's first event …
        end: … and the one after its last.
        held: Index of the partial that is held in place of its events; `NOT_HELD` where the events are at hand.
        changes_us: Moments at which the visible events of a group change, ascending within a group.
        low: Where those of each group begin …
        high: … and end.
    """

    tiles: Int64s
    starts: Int64s
    first: Int64s
    end: Int64s
    held: Int64s
    changes_us: Int64s
    low: Int64s
    high: Int64s

    @classmethod
    def of(
        cls, ordered: OrderedEvents, edges: WindowEdges, *, settled: bool, held: HeldTiles | None = None
    ) -> TileGroups:  # fmt: skip
        """Group ordered events.

        Args:
            ordered: The events.
            edges: Any with the tile; its window and lag are not read.
            settled: All requests see all events of the tiles that have ended by then.
            held: Partials that stand in place of the events of their tiles.

        Returns:
            One group for each entity and tile with an event or a partial.
        """
        tiles = edges.tile_of(ordered.event_us)
        fresh = np.ones(len(tiles), np.bool_)
        fresh[1:] = tiles[1:] != tiles[:-1]
        begins = ordered.starts[:-1]
        fresh[begins[begins < len(tiles)]] = True
        first = np.flatnonzero(fresh)
        end = np.append(first[1:], len(tiles)).astype(np.int64)[: len(first)]
        starts = np.searchsorted(first, ordered.starts)
        nothing = np.zeros(len(first), np.int64)
        changes_us, low, high = (nothing, nothing, nothing) if settled else _changes(ordered, first, end)
        none_held = np.full(len(first), NOT_HELD, np.int64)
        found = cls(tiles[first], starts, first, end, none_held, changes_us, low, high)
        return found if held is None else found._beside(held)

    def ranges(self, codes: Int64s) -> tuple[Int64s, Int64s]:
        """Return the first group of each entity and the one after the last; empty for code −1."""
        return ranges_of(self.starts, codes)

    @cached_property
    def _states_before(self) -> Int64s:
        """Return the number of states of all groups before each: one more than it has changes."""
        counts = self.high - self.low + 1
        result: Int64s = np.cumsum(counts) - counts
        return result

    def states(self, groups: Int64s, at_us: Int64s) -> Int64s:
        """Tell in which state requests see groups.

        Args:
            groups: Group of each pair of request and group.
            at_us: The time at which its request looks.

        Returns:
            A number that is equal for pairs of one group and state, and for no others.
        """
        low = self.low[groups]
        seen = first_after(self.changes_us, low, self.high[groups], at_us)
        return self._states_before[groups] + (seen - low)

    def _beside(self, held: HeldTiles) -> TileGroups:
        """Return these groups and the tiles that are held, which come in place of groups of the same tile."""
        entities, own = len(self.starts) - 1, len(self.tiles)
        codes = np.concatenate([held.codes, np.repeat(np.arange(entities), np.diff(self.starts))])
        tiles = np.concatenate([held.tiles, self.tiles])
        order = np.lexsort((tiles, codes))  # stable: what is held comes first
        fresh = np.ones(len(order), np.bool_)
        fresh[1:] = (codes[order][1:] != codes[order][:-1]) | (tiles[order][1:] != tiles[order][:-1])
        order = order[fresh]
        more = np.zeros(len(held.tiles), np.int64)
        index = np.concatenate([np.arange(len(held.tiles)), np.full(own, NOT_HELD)])[order]
        ours = (self.first, self.end, self.low, self.high)
        first, end, low, high = (np.concatenate([more, of_group])[order] for of_group in ours)
        starts = np.searchsorted(codes[order], np.arange(entities + 1))
        return TileGroups(tiles[order], starts, first, end, index, self.changes_us, low, high)


def _changes(ordered: OrderedEvents, first: Int64s, end: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    group = np.repeat(np.arange(len(first)), end - first)
    replaced = np.flatnonzero(ordered.superseded_us < NEVER_US)
    moments = np.concatenate([ordered.known_us, ordered.superseded_us[replaced]])
    of = np.concatenate([group, group[replaced]])
    order = np.lexsort((moments, of))
    edges = np.searchsorted(of[order], np.arange(len(first) + 1))
    return moments[order], edges[:-1], edges[1:]
