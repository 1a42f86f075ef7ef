"""Which windows can be merged from tiles, and how many of them. Called by `features.Aggregation`."""

from __future__ import annotations

from datetime import timedelta

from gnomon.contracts.durations import format_duration

MOST_TILES = 10_000
"""Most tiles that a window may span: each costs a step of a merge."""

SKETCHES = {"count_distinct": "approx_count_distinct", "quantile": "approx_quantile", "top_k": "approx_top_k"}
"""Functions that need every row of their window, and the sketch that stands for each in tiles."""

_LONGEST = timedelta(days=36_500)


def check_tile(function: str, window: timedelta, tile: timedelta | None) -> None:
    """Check that a window can be merged from tiles of a length, or that it needs none.

    Args:
        function: What is computed over the window.
        window: Its length, above zero.
        tile: Length of the tiles; None for a window that slides to the microsecond.

    Raises:
        ValueError: The function does not go with tiles, or not without; or the tile is too short or too long.
    """
    if tile is None:
        _check_slides(function)
        return
    tile_text, window_text = format_duration(tile), format_duration(window)
    if function in SKETCHES:
        raise ValueError(
            f"'{function}' needs every row of its window, which tiles do not keep: use '{SKETCHES[function]}', or "
            f"leave out tile='{tile_text}'"
        )
    if not tile or tile >= window or tile > _LONGEST:
        raise ValueError(
            f"a tile is above zero, shorter than its window, here '{window_text}', and at most "
            f"'{format_duration(_LONGEST)}' (got '{tile_text}')"
        )
    if window > tile * MOST_TILES:
        least = format_duration(window / MOST_TILES)
        raise ValueError(
            f"a window of '{window_text}' has more than {MOST_TILES} tiles of '{tile_text}': use tile='{least}' or a "
            "longer one"
        )


def _check_slides(function: str) -> None:
    for exact, sketch in SKETCHES.items():
        if function == sketch:
            raise ValueError(
                f"'{function}' is merged from tiles: give it a tile, such as tile='1d' in a window of '90d', or use "
                f"'{exact}', which looks at every row"
            )
