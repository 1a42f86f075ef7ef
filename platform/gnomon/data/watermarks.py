"""Watermarks and ranges of database columns: where the last read ended, and how a column is cut into ranges.

Called by `sql_extraction`. A watermark is a number, a time or a text that sorts as a time does; it is kept as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from gnomon.contracts.clocks import from_us
from gnomon.contracts.sources import DataSource
from gnomon.errors import InvalidInput


def as_cursor(value: Any) -> dict[str, str]:
    """Return the JSON of a watermark; `of_cursor` reads it back."""
    if isinstance(value, datetime):
        return {"kind": "time", "value": value.isoformat()}
    if isinstance(value, date):
        return {"kind": "date", "value": value.isoformat()}
    kinds = {int: "int", float: "float", Decimal: "decimal"}
    return {"kind": kinds.get(type(value), "text"), "value": str(value)}


def of_cursor(cursor: Mapping[str, Any]) -> Any:
    """Return the watermark that `as_cursor` wrote."""
    readers: dict[str, Any] = {
        "time": datetime.fromisoformat, "date": date.fromisoformat, "int": int, "float": float, "decimal": Decimal,
    }  # fmt: skip
    return readers.get(cursor["kind"], str)(cursor["value"])


def read_from(source: DataSource, watermark: Any) -> Any:
    """Return the least watermark to read again: the last one, or as much before it as rows may be late.

    Args:
        source: Its `late` counts.
        watermark: The greatest seen.

    Returns:
        Of the watermark's type; a text is cut to whole seconds, which sorts before every finer one.

    Raises:
        InvalidInput: Rows may be late by a duration, and the watermark is no time.
    """
    if source.late is None:
        return watermark
    if isinstance(watermark, datetime):
        return watermark - source.late
    if isinstance(watermark, date):
        return watermark - timedelta(days=-(-source.late // timedelta(days=1)))
    if isinstance(watermark, str) and _is_day(watermark):
        return read_from(source, date.fromisoformat(watermark)).isoformat()
    if isinstance(watermark, str):
        try:
            time = datetime.fromisoformat(watermark) - source.late
        except ValueError:
            pass
        else:
            return time.replace(tzinfo=None).isoformat("T" if "T" in watermark else " ", timespec="seconds")
    raise InvalidInput(
        f"source '{source.name}': late is a duration, and watermark {source.watermark} holds {watermark!r}, no time",
        "leave late out, or name a column with times as the watermark",
    )


def believed(source: DataSource, watermark: Any, now_us: int) -> Any:
    """Return a watermark, or the present where it lies beyond that: else one wrong clock would hide all later rows."""
    now = from_us(now_us)
    zone = ZoneInfo(source.timezone) if source.timezone else UTC
    if isinstance(watermark, datetime):
        return min(watermark, now if watermark.tzinfo else now.astimezone(zone).replace(tzinfo=None))
    if isinstance(watermark, date):
        return min(watermark, now.astimezone(zone).date())
    if isinstance(watermark, str) and _is_day(watermark):
        return believed(source, date.fromisoformat(watermark), now_us).isoformat()
    if isinstance(watermark, str):  # SQLite has its times as text
        try:
            time = datetime.fromisoformat(watermark)
        except ValueError:
            return watermark
        least = believed(source, time, now_us)
        return watermark if least == time else least.isoformat("T" if "T" in watermark else " ", timespec="seconds")
    return watermark


def _is_day(text: str) -> bool:
    try:
        return len(text) == len("2026-03-15") and bool(date.fromisoformat(text))
    except ValueError:
        return False


def range_bounds(least: Any, greatest: Any, parts: int) -> list[Any]:
    """Cut the range between two values into parts of about equal length.

    Args:
        least: A number or a time.
        greatest: Of the same type, not less.
        parts: At least 1.

    Returns:
        Ascending values above `least`, fewer than `parts`; a part begins with a bound and ends before the next.

    Raises:
        TypeError: The values are neither numbers nor times.
    """
    if isinstance(least, bool) or not isinstance(least, int | float | Decimal | date):
        raise TypeError(f"{type(least).__name__} has no ranges")
    if isinstance(least, int) and isinstance(greatest, int):
        bounds: list[Any] = [least + (greatest - least + 1) * i // parts for i in range(1, parts)]
    elif isinstance(least, int | float | Decimal):
        low, span = float(least), float(greatest) - float(least)
        bounds = [low + span * i / parts for i in range(1, parts)]
    else:
        bounds = [least + (greatest - least) * i / parts for i in range(1, parts)]
    return sorted({bound for bound in bounds if bound > least})
