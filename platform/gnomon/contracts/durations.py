"""Durations as people write them ("90s", "2h", "7d") and as columns count them (integer microseconds).

Used by every spec that has a window, a delay, an age or an interval. A bare number is refused: 7 what?
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_duration(value: Any) -> timedelta:
    """Read a duration such as `"7d"`, `"1.5h"` or a `timedelta`.

    Args:
        value: Text of a non-negative number and one of the units s, m, h, d, w; or a non-negative `timedelta`.

    Returns:
        The duration, exact to the microsecond.

    Raises:
        ValueError: The unit is missing or unknown, or the value is negative or too long.

    Example:
        >>> parse_duration("2h")
        datetime.timedelta(seconds=7200)
    """
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise ValueError(f"a duration cannot be negative, got {value}")
        return value
    match = _PATTERN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write a number and a unit of s, m, h, d or w, such as '7d'")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS_S[match[2]])
    except OverflowError:
        raise ValueError(f"{value!r} is longer than any time that can be reckoned with: use a shorter one") from None


def format_duration(value: timedelta) -> str:
    """Return the shortest text that `parse_duration` reads back as the same duration.

    Args:
        value: Not negative.

    Returns:
        A number and the largest unit of d, h and m that divides it evenly, or else seconds with up to six decimals.

    Example:
        >>> format_duration(timedelta(days=7)), format_duration(timedelta(hours=36))
        ('7d', '36h')
    """
    seconds = value.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS_S[unit] == 0:
            return f"{int(seconds // _UNITS_S[unit])}{unit}"
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


def duration_us(value: timedelta) -> int:
    """Return the duration in whole microseconds, the unit of every time column."""
    return value // timedelta(microseconds=1)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)]
