"""Aggregations over the visible events in `(t − lag − window, t − lag]`, in chunks of bounded memory.

Called by `view_rows`. Aggregations of one window and lag share one pass over the (request, event) pairs; those of one
operand and filter in it share its values, and their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from gnomon.contracts.features import Aggregation
from gnomon.features.event_columns import Int64s
from gnomon.features.event_order import OrderedEvents, first_after
from gnomon.features.view_plans import window_reach_us
from gnomon.features.window_groups import Groups
from gnomon.features.window_lists import ListColumn
from gnomon.features.window_operands import Operand, build_operand, operand_key
from gnomon.features.window_statistics import ResultColumn


@dataclass(frozen=True)
class WindowRequests:
    """Who asks for windows, and when; arrays of one length.

    Attributes:
        codes: Entity of each request; −1 matches nothing.
        until_us: The time asked; a window without lag ends there, inclusive.
        at_us: Only what was visible then counts.
    """

    codes: Int64s
    until_us: Int64s
    at_us: Int64s


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
) -> dict[str, pa.Array]:  # fmt: skip
    """Compute aggregations for every request.

    Args:
        ordered: The events.
        asked: The requests.
        features: What to compute.
        columns: The source's columns that the features read, in the events' order.
        dtypes: Type of each feature's result, by its name.
        chunk_pairs: Bound on the (request, event) pairs held at once; one request's window may exceed it alone.

    Returns:
        One array per feature, in request order.

    Raises:
        InvalidInput: A column or expression has a type of which the statistic cannot be taken.
    """
    rows = len(asked.codes)
    results = {f.name: ListColumn(f) if f.k is not None else ResultColumn(f, dtypes[f.name], rows) for f in features}
    operands: dict[str, Operand] = {}
    by_window: dict[tuple[int, int], dict[str, list[Aggregation]]] = {}
    for feature in features:
        key = operand_key(feature)
        if key not in operands:
            operands[key] = build_operand(feature, columns, len(ordered.rows))
        by_window.setdefault(window_reach_us(feature), {}).setdefault(key, []).append(feature)
    for (window_us, lag_us), groups in by_window.items():
        for pairs in window_pairs(ordered, asked, window_us, lag_us, chunk_pairs):
            until_us = asked.until_us[pairs.first : pairs.end]
            for key, members in groups.items():
                taken = Groups.of(operands[key], pairs.requests, pairs.positions, until_us, ordered.event_us)
                for feature in members:
                    results[feature.name].fill(pairs.first, taken)
    return {f.name: results[f.name].to_arrow(operands[operand_key(f)]) for f in features}


def window_pairs(
    ordered: OrderedEvents, asked: WindowRequests, window_us: int, lag_us: int, chunk_pairs: int
) -> Iterator[Pairs]:  # fmt: skip
    """Yield the visible events of every request's window, some requests at a time, in request order.

    A lag moves the window, not the moment of knowledge.
    """
    first, end = ordered.ranges(asked.codes)
    until_us = asked.until_us - lag_us
    low = first_after(ordered.event_us, first, end, until_us - window_us)
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
