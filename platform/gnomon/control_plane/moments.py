"""Moments as operations are given them: a duration before now, a date, a time, or `now`."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any, Final

from gnomon.contracts.clocks import from_us, to_us
from gnomon.contracts.durations import duration_us, parse_duration
from gnomon.errors import InvalidInput

FORMS: Final = "give a duration such as '7d', a date such as '2026-03-01', or a time with its zone"


def moment_us(name: str, value: Any, now_us: int) -> int:
    """Read a moment.

    Args:
        name: The argument's, for the message.
        value: `now`, a duration before now, a date (its beginning in UTC) or a time with its zone, as text.
        now_us: Now, microseconds since the epoch.

    Returns:
        Microseconds since the epoch.

    Raises:
        InvalidInput: It is none of these, or before the year 1 or after 9999.
    """
    if value == "now":
        return now_us
    try:
        moment = now_us - duration_us(parse_duration(value))
    except ValueError:
        moment = _time_us(name, value)
    try:
        from_us(moment)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{name}: {str(value)[:60]!r} is outside the years 1 to 9999", "give a moment in these years"
        ) from error
    return moment


def _time_us(name: str, value: Any) -> int:
    try:
        if len(value) <= len("2026-03-01"):
            return to_us(datetime.combine(date.fromisoformat(value), time(), UTC))
        return to_us(datetime.fromisoformat(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput(f"{name}: {str(value)[:60]!r} is no moment", FORMS) from error
