"""Where a window begins and ends: the one place that knows of lags and tiles.

Called by `windows` and `tiled_windows` to compute, and by `view_plans`, `time_slices` and the stream consumer, which
have to know how far back a window reaches and when an event leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from gnomon.contracts.durations import duration_us
from gnomon.contracts.features import Aggregation
from gnomon.features.event_columns import Int64s

Times = TypeVar("Times", int, Int64s)


@dataclass(frozen=True)
class WindowEdges:
    """The window `(⌊(t − lag − window) ÷ tile⌋ · tile, t − lag]` of any time t.

    A tile k holds the event times in `(k · tile, (k + 1) · tile]`, so that a window begins with a whole tile.

    Attributes:
        window_us: Its length …
        lag_us: … and how long before t it ends.
        tile_us: To a multiple of this its far edge is rounded down; 1 for a window that slides exactly.
    """

    window_us: int
    lag_us: int
    tile_us: int

    @classmethod
    def of(cls, feature: Aggregation) -> WindowEdges:
        """Return the edges of an aggregation's window."""
        lag_us = 0 if feature.lag is None else duration_us(feature.lag)
        return cls(duration_us(feature.window), lag_us, 1 if feature.tile is None else duration_us(feature.tile))

    @property
    def reach_us(self) -> int:
        """Return how long before t an event can be, at most, that still counts at t; exclusive."""
        return self.lag_us + self.window_us + self.tile_us - 1

    def after_us(self, t_us: Times) -> Times:
        """Return the far edge of the windows of some times, which is not in the window."""
        return (t_us - self.lag_us - self.window_us) // self.tile_us * self.tile_us

    def until_us(self, t_us: Times) -> Times:
        """Return the near edge, which is in the window."""
        return t_us - self.lag_us

    def tile_of(self, event_us: Times) -> Times:
        """Return the number of the tile that holds an event time."""
        return (event_us - 1) // self.tile_us

    def leaves_us(self, event_us: Times) -> Times:
        """Return the first time whose window an event has left."""
        return (self.tile_of(event_us) + 1) * self.tile_us + self.lag_us + self.window_us
