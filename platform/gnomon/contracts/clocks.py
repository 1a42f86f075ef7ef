"""Time as a port: everything that waits, expires or schedules is given a `Clock`.

`SystemClock` is used in production; `HandClock` is turned by hand by tests and by the demo, which lives through weeks
in a minute. A hand clock kept in a file is shared by all processes of a machine.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """Tells the time; never moves backwards by more than the system's own corrections."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        return time.time_ns() // 1000


class HandClock:
    """A clock that stands still until it is set.

    Args:
        path: File that holds the time, shared by every process that is given the same path; it is created when absent.
        start: Where a new clock begins.
    """

    def __init__(self, path: Path, start: datetime | None = None) -> None:
        self._path = path
        if not path.exists():
            self.set(start or datetime.now(UTC))

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC, as last set by any process."""
        return int(self._path.read_bytes())

    def set(self, moment: datetime) -> None:
        """Turn the clock to `moment` (aware), atomically for all readers."""
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fresh.write_text(str(to_us(moment)))
        fresh.replace(self._path)


def to_us(moment: datetime) -> int:
    """Return microseconds since the epoch of an aware datetime.

    Args:
        moment: Aware, in any time zone.

    Returns:
        Exact, as a datetime counts microseconds; negative before 1970.

    Raises:
        ValueError: The datetime has no time zone, so that it names no moment.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; write it with one, such as {moment.isoformat()}Z")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(moment_us: int) -> datetime:
    """Return the aware UTC datetime of microseconds since the epoch, exact."""
    seconds, rest = divmod(moment_us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
