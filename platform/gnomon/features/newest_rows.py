"""Finds the newest visible event of an entity at a time: what a `Column` feature is. Called by `view_rows`."""

from __future__ import annotations

import numpy as np

from gnomon.features.event_columns import Int64s
from gnomon.features.event_order import OrderedEvents, first_after

_FIRST_STRIDE = 8


def newest_visible(
    ordered: OrderedEvents, codes: Int64s, until_us: Int64s, at_us: Int64s, chunk_pairs: int
) -> Int64s:  # fmt: skip
    """Return the position of the newest event up to `until_us` that is visible at `at_us`, −1 where none is.

    Args:
        ordered: The events.
        codes: Entity of each request; −1 matches nothing.
        until_us: Greatest event time of each request, inclusive.
        at_us: Time at which each request looks: only what was known then counts.
        chunk_pairs: Bound on the (request, event) pairs held in memory at once.

    Returns:
        One position per request; of equal event times the later-known, then later-ingested event.
    """
    first, end = ordered.ranges(codes)
    last = first_after(ordered.event_us, first, end, until_us) - 1
    result = np.where(last >= first, last, -1)
    if ordered.always_visible and bool((at_us >= until_us).all()):
        return result
    open_ = np.flatnonzero(result >= 0)
    open_ = open_[~ordered.visible(result[open_], at_us[open_])]
    if not len(open_):
        return result
    bound = first_after(_least_known_from(ordered), first[open_], end[open_], at_us[open_]) - 1
    result[open_] = -1
    last[open_] = np.minimum(last[open_], bound)
    _walk_back(ordered, result, open_, first, last, at_us, chunk_pairs)
    return result


def _least_known_from(ordered: OrderedEvents) -> Int64s:
    """Return, at each position, the least known time from there to the end of its entity's events.

    It ascends within an entity, so that a search in it jumps over the events that are all known too late.
    """
    number = len(ordered.known_us)
    entity = np.repeat(np.arange(len(ordered.starts) - 1), np.diff(ordered.starts))
    by_known = np.argsort(ordered.known_us, kind="stable")
    rank = np.empty(number, np.int64)
    rank[by_known] = np.arange(number)
    # an entity's ranks are lifted above those of all entities before it: the running minimum starts anew by itself
    least = np.minimum.accumulate((entity * number + rank)[::-1])[::-1]
    result: Int64s = ordered.known_us[by_known[least - entity * number]]
    return result


def _walk_back(
    ordered: OrderedEvents, result: Int64s, open_: Int64s, first: Int64s, last: Int64s, at_us: Int64s, chunk_pairs: int
) -> None:  # fmt: skip
    """Look at earlier and earlier events, in strides that double, until each open request has found a visible one."""
    stride = _FIRST_STRIDE
    while len(open_):
        stride = min(stride, max(chunk_pairs, 1))
        step = max(1, chunk_pairs // stride)
        for begin in range(0, len(open_), step):
            part = open_[begin : begin + step]
            positions = last[part][:, None] - np.arange(stride)
            inside = positions >= first[part][:, None]
            hit = inside & ordered.visible(np.maximum(positions, 0), at_us[part][:, None])
            found = hit.any(axis=1)
            result[part[found]] = positions[found, hit[found].argmax(axis=1)]
        last[open_] -= stride
        open_ = open_[(result[open_] < 0) & (last[open_] >= first[open_])]
        stride *= 2
