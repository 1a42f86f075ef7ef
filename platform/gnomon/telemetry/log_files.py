"""LogFile: a text file for log lines whose writing never fails. Used by `logs`.

A full disk must not end a loop by way of the line that would report it: what cannot be written is counted and dropped.
"""

from __future__ import annotations

from pathlib import Path


class LogFile:
    """Appends lines to a file.

    Args:
        path: The file; its folder is created when absent.

    Attributes:
        dropped: Writes that failed since the last one that worked.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.dropped = 0
        self._file = path.open("ab", buffering=0)

    def write(self, text: str) -> int:
        """Append text at once; return its length in characters, whether it could be written or not."""
        try:
            self._file.write(text.encode("utf-8", "replace"))
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
