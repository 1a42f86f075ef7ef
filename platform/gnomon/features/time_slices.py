"""Splits a join by time where one entity, or a few, have more events than a worker should hold at once.

Called by the distributed join for a partition above its size: an entity cannot be split between workers, but its
requests can be answered one stretch of time after the other, each with the events that matter to it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME
from gnomon.contracts.features import Aggregation, FeatureView
from gnomon.features.event_columns import Flags, Int64s, entity_codes, times_us
from gnomon.features.event_order import superseded_us
from gnomon.features.view_plans import view_keys
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.features.window_edges import WindowEdges

_LONG_AGO_US = int(np.iinfo(np.int64).min)


def time_slices(
    app: App, view: FeatureView, events: pa.Table, requests: pa.Table, most_rows: int, as_of_us: int | None
) -> Iterator[tuple[Int64s, pa.Table]]:  # fmt: skip
    """Split requests by their times into slices of about `most_rows` rows, together with the events of each.

    A slice holds more where one window, or one moment, does. All rows are looked at for each slice, but only by their
    times, so that what a slice takes beside its own rows is some 30 bytes for each row of the whole.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        events: Rows of its source, each with the time at which it was superseded.
        requests: Key columns, and `REQUEST_TIME`.
        most_rows: Requests and events that a slice should hold at most.
        as_of_us: Look with the knowledge of this moment instead of each request's own.

    Yields:
        tuple[Int64s, pa.Table]: Positions of requests, each in one slice, and events that give them the values that all
            events would.
    """
    if not requests.num_rows or events.num_rows + requests.num_rows <= most_rows:
        yield np.arange(requests.num_rows), events
        return
    until_us = times_us(requests, REQUEST_TIME)
    past = _Past.of(app, view, events, requests)
    number = -(-2 * (events.num_rows + requests.num_rows) // most_rows)
    moments = np.concatenate([until_us, past.event_us])
    edges = np.unique(np.quantile(moments, np.arange(1, number) / number, method="higher"))
    slices = np.searchsorted(edges, until_us, side="left")
    for part in np.unique(slices):
        mine = np.flatnonzero(slices == part)
        first, last = int(until_us[mine].min()), int(until_us[mine].max())
        looks = (first, last) if as_of_us is None else (as_of_us, as_of_us)
        yield mine, events.filter(pa.array(past.relevant(first, last, looks)))


class _Past:
    """The times of all events of a view, and which of the events matter to a stretch of time."""

    def __init__(
        self, event_us: Int64s, known_us: Int64s, superseded: Int64s, codes: Int64s, entities: int, reach_us: int
    ) -> None:  # fmt: skip
        self.event_us = event_us
        self._known_us = known_us
        self._superseded_us = superseded
        self._codes = codes
        self._entities = entities
        self._reach_us = reach_us

    @classmethod
    def of(cls, app: App, view: FeatureView, events: pa.Table, requests: pa.Table) -> _Past:
        _, codes, entities = entity_codes(requests, events, view_keys(app, view))
        reach_us = max((WindowEdges.of(f).reach_us for f in view.features if isinstance(f, Aggregation)), default=0)
        event_us, known_us = times_us(events, EVENT_TIME), times_us(events, KNOWN_TIME)
        return cls(event_us, known_us, superseded_us(events), codes, entities, reach_us)

    def relevant(self, first_us: int, last_us: int, looks_us: tuple[int, int]) -> Flags:
        """Tell which events matter to requests in `[first_us, last_us]` that look at times within `looks_us`."""
        asked = self._codes >= 0
        before = self.event_us <= first_us - self._reach_us
        inside = asked & ~before & (self.event_us <= last_us)
        older = np.flatnonzero(asked & before)
        inside[older[self._newest(older, looks_us) | self._first_known(older)]] = True
        return inside

    def _newest(self, older: Int64s, looks_us: tuple[int, int]) -> Flags:
        """Tell which older events may be the newest visible one of their entity: all from one on that always is."""
        codes, event_us = self._codes[older], self.event_us[older]
        visible = (self._known_us[older] <= looks_us[1]) & (self._superseded_us[older] > looks_us[0])
        always = (self._known_us[older] <= looks_us[0]) & (self._superseded_us[older] > looks_us[1])
        newest = np.full(self._entities, _LONG_AGO_US, np.int64)
        np.maximum.at(newest, codes[always], event_us[always])
        result: Flags = visible & (event_us >= newest[codes])
        return result

    def _first_known(self, older: Int64s) -> Flags:
        """Tell the older event of each entity that became known first: whoever was seen once stays known."""
        codes, known_us = self._codes[older], self._known_us[older]
        first = np.full(self._entities, np.iinfo(np.int64).max, np.int64)
        np.minimum.at(first, codes, known_us)
        candidates = np.flatnonzero(known_us == first[codes])
        chosen = np.full(self._entities, -1, np.int64)
        chosen[codes[candidates]] = candidates
        result = np.zeros(len(older), np.bool_)
        result[chosen[chosen >= 0]] = True
        return result
