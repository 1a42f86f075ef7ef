"""When an event changes a view's values: once known, at the edges of windows, at its expiry. Used by `stream_cache`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gnomon.contracts.durations import duration_us
from gnomon.contracts.features import Aggregation, Column, FeatureView
from gnomon.features.event_columns import Flags, Int64s
from gnomon.features.event_order import NEVER_US
from gnomon.features.view_plans import has_windows
from gnomon.features.window_edges import WindowEdges


class ValueMoments:
    """The moments of one view.

    Args:
        view: The view.
    """

    def __init__(self, view: FeatureView) -> None:
        self._edges = sorted({WindowEdges.of(f) for f in view.features if isinstance(f, Aggregation)}, key=repr)
        self._offsets_us = {0, *(edges.lag_us for edges in self._edges)}
        if view.max_age is not None and has_windows(view) and any(isinstance(f, Column) for f in view.features):
            self._offsets_us.add(duration_us(view.max_age))

    def between(self, event_us: Int64s, known_us: Int64s, after_us: int, until_us: int) -> Flags:
        """Tell which events become known, enter or leave a window or expire in `(after_us, until_us]`."""
        result: Flags = (known_us > after_us) & (known_us <= until_us)
        for moment_us in self._of(event_us):
            result |= (moment_us > after_us) & (moment_us <= until_us)
        return result

    def next_us(self, event_us: Int64s, known_us: Int64s, superseded_us: Int64s, after_us: int) -> Int64s:
        """Return the first moment after another at which each event changes values; `NEVER_US` where there is none."""
        result = np.full(len(event_us), NEVER_US, np.int64)
        for moment_us in (known_us, superseded_us, *self._of(event_us)):
            result = np.minimum(result, np.where(moment_us > after_us, moment_us, NEVER_US))
        return result

    def _of(self, event_us: Int64s) -> Iterator[Int64s]:
        for offset_us in self._offsets_us:
            yield event_us + offset_us
        for edges in self._edges:
            yield edges.leaves_us(event_us)
