"""Aggregations over the visible events in `(t − lag − window, t − lag]`, in chunks of bounded memory.

Called by `view_rows`; windows with tiles are left to `tiled_windows`. Aggregations of one window and lag share one pass
over the (request, event) pairs; those of one operand and filter in it share its values, and their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from gnomon.contracts.features import Aggregation
from gnomon.features.event_columns import Int64s
from gnomon.features.event_order import OrderedEvents, first_after
from gnomon.features.held_tiles import HeldTiles
from gnomon.features.tiled_windows import aggregate_tiled
from gnomon.features.window_edges import WindowEdges
from gnomon.features.window_groups import Groups
from gnomon.features.window_lists import ListColumn
from gnomon.features.window_operands import Operand, build_operand, operand_key
from gnomon.features.window_requests import WindowRequests
from gnomon.features.window_statistics import ResultColumn


@dataclass(frozen=True)
class Pairs:
    """The visible events of some consecutive requests.

    Attributes:
        first: Index of the first request of the chunk.
        end: Index after the last.
        requests: Request of each pair, counted from `first`; ascending.
        positions: Event of each pair; ascending within a request.
    """

    first: int
    end: int
    requests: Int64s
    positions: Int64s


def aggregate(
    ordered: OrderedEvents, asked: WindowRequests, features: Sequence[Aggregation],
    columns: Mapping[str, pa.Array], dtypes: Mapping[str, str], chunk_pairs: int,
    held: Mapping[int, HeldTiles] = MappingProxyType({}),
) -> dict[str, pa.Array]:  # fmt: skip
    """Compute aggregations for every request.

    Args:
        ordered: The events.
        asked: The requests.
        features: What to compute.
        columns: The source's columns that the features read, in the events' order.
        dtypes: Type of each feature's result, by its name.
        chunk_pairs: Bound on the (request, event) pairs held at once; one request's window may exceed it alone.
        held: Partials of tiles in place of their events, by the length of the tiles.

    Returns:
        One array per feature, in request order.

    Raises:
        InvalidInput: A column or expression has a type of which the statistic cannot be taken.
    """
    by_operand: dict[str, list[Aggregation]] = {}
    for feature in features:
        by_operand.setdefault(operand_key(feature), []).append(feature)
    operands = {
        key: build_operand(members[0], columns, len(ordered.rows), [t for h in held.values() for t in h.texts(members)])
        for key, members in by_operand.items()
    }
    sliding, tiled = ([f for f in features if (f.tile is None) is slides] for slides in (True, False))
    return {
        **_aggregate_sliding(ordered, asked, sliding, operands, dtypes, chunk_pairs),
        **aggregate_tiled(ordered, asked, tiled, operands, dtypes, chunk_pairs, held),
    }


def _aggregate_sliding(
    ordered: OrderedEvents, asked: WindowRequests, features: Sequence[Aggregation],
    operands: Mapping[str, Operand], dtypes: Mapping[str, str], chunk_pairs: int,
) -> dict[str, pa.Array]:  # fmt: skip
    rows = len(asked.codes)
    results = {f.name: ListColumn(f) if f.k is not None else ResultColumn(f, dtypes[f.name], rows) for f in features}
    by_window: dict[WindowEdges, dict[str, list[Aggregation]]] = {}
    for feature in features:
        by_window.setdefault(WindowEdges.of(feature), {}).setdefault(operand_key(feature), []).append(feature)
    for edges, groups in by_window.items():
        for pairs in window_pairs(ordered, asked, edges, chunk_pairs):
            until_us = asked.until_us[pairs.first : pairs.end]
            for key, members in groups.items():
                taken = Groups.of(operands[key], pairs.requests, pairs.positions, until_us, ordered.event_us)
                for feature in members:
                    results[feature.name].fill(pairs.first, taken)
    return {f.name: results[f.name].to_arrow(operands[operand_key(f)]) for f in features}


def window_pairs(
    ordered: OrderedEvents, asked: WindowRequests, edges: WindowEdges, chunk_pairs: int
) -> Iterator[Pairs]:  # fmt: skip
    """Yield the visible events of every request's window, some requests at a time, in request order.

    A lag moves the window, not the moment of knowledge.
    """
    first, end = ordered.ranges(asked.codes)
    until_us = edges.until_us(asked.until_us)
    low = first_after(ordered.event_us, first, end, edges.after_us(asked.until_us))
    counts = first_after(ordered.event_us, low, end, until_us) - low
    before = np.concatenate(([0], np.cumsum(counts)))
    all_visible = ordered.always_visible and bool((asked.at_us >= until_us).all())
    begin = 0
    while begin < len(counts):
        stop = max(begin + 1, int(np.searchsorted(before, before[begin] + chunk_pairs, side="right")) - 1)
        part = slice(begin, stop)
        requests = np.repeat(np.arange(stop - begin), counts[part])
        inside = np.arange(len(requests)) - (before[part] - before[begin])[requests]
        positions = low[part][requests] + inside
        if not all_visible:
            seen = ordered.visible(positions, asked.at_us[part][requests])
            requests, positions = requests[seen], positions[seen]
        yield Pairs(begin, stop, requests, positions)
        begin = stop
