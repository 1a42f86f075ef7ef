"""LogFile: a text file for log lines whose writing never fails and whose size is bounded. Used by `logs`.

A full disk must not end a loop by way of the line that would report it: what cannot be written is counted and dropped.
A file that has grown to its limit is renamed to `<name>.1`, what was `.1` to `.2`, and so on; the oldest is lost.
Several processes may write one file, as the workers of operations do: whoever finds it full renames it, and the others
follow to the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 10_000_000
"""Size at which a file is renamed; a part's logs take at most four times as much."""
KEPT: Final = 3
"""Renamed files that are kept beside the one that is written."""


class LogFile:
    """Appends lines to a file. The logger serialises the threads of a process.

    Args:
        path: The file; its folder is created when absent.
        max_bytes: A file that this line would make larger is renamed first.

    Attributes:
        dropped: Writes that failed since the last one that worked.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.dropped = 0
        self._max_bytes = max_bytes
        self._file = path.open("ab", buffering=0)

    def write(self, text: str) -> int:
        """Append text at once; return its length in characters, whether it could be written or not."""
        line = text.encode("utf-8", "replace")
        # Where it cannot be renamed or opened anew the file grows on: a line is worth more than the limit.
        with contextlib.suppress(OSError):
            self._make_room(len(line))
        try:
            self._file.write(line)
        except OSError:
            self.dropped += 1
        else:
            self.dropped = 0
        return len(text)

    def flush(self) -> None:
        """Do nothing: every write is passed on at once."""

    @property
    def closed(self) -> bool:
        """Tell whether the file was closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _make_room(self, added_bytes: int) -> None:
        """Follow a file that was renamed or removed meanwhile, and rename one that is full."""
        if self._file.closed:
            return
        if not self._is_current():
            self._reopen()
        size_bytes = os.fstat(self._file.fileno()).st_size
        if size_bytes == 0 or size_bytes + added_bytes <= self._max_bytes:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process is renaming it; this line still goes to the old one
        try:
            if self._is_current():
                _shift(self.path)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._reopen()

    def _is_current(self) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file.fileno()))

    def _reopen(self) -> None:
        fresh = self.path.open("ab", buffering=0)
        self._file.close()
        self._file = fresh


def generations(path: Path) -> Iterator[Path]:
    """Yield a log file and those that it was renamed to, newest first, whether they exist or not."""
    yield path
    for number in range(1, KEPT + 1):
        yield path.with_name(f"{path.name}.{number}")


def _shift(path: Path) -> None:
    newest_first = list(generations(path))
    for newer, older in zip(newest_first[-2::-1], newest_first[:0:-1], strict=True):
        with contextlib.suppress(FileNotFoundError):
            newer.replace(older)
