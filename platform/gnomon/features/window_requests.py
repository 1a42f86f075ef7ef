"""Who asks for windows, and when. Made by `view_rows`; read by `windows` and `tiled_windows`."""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.features.event_columns import Int64s


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

    def take(self, order: Int64s) -> WindowRequests:
        """Return some of the requests, in the given order."""
        return WindowRequests(self.codes[order], self.until_us[order], self.at_us[order])
