"""Structured logs: one JSON object a line in files, readable lines on a terminal; secrets never.

`configure` is called once by every process that the platform starts; `gnomon logs` reads the files.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

_SECRET_NAME = re.compile(r"pass(word)?|secret|token|api_?key|authorization|credential", re.IGNORECASE)
_SECRET_IN_URL = re.compile(r"(://[^:/@\s]*:)[^@/\s]+(@)")
_HIDDEN = "***"
_OPEN: dict[str, TextIO] = {}


def hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values of fields with secret-like names, and passwords inside URLs; a structlog processor.

    Args:
        event: Fields of a log line by name; changed in place.

    Returns:
        The same mapping, for the next processor.

    Example:
        >>> hide_secrets(None, "", {"event": "redis://:abc@host/0", "token": "xyz"})
        {'event': 'redis://:***@host/0', 'token': '***'}
    """
    for name, value in event.items():
        if _SECRET_NAME.search(name):
            event[name] = _HIDDEN
        elif isinstance(value, str) and "://" in value:
            event[name] = _SECRET_IN_URL.sub(rf"\1{_HIDDEN}\2", value)
    return event


def configure(component: str, level: str, folder: Path | None = None) -> None:
    """Send this process's logs to `<folder>/<component>.jsonl`, or to standard error without a folder.

    Args:
        component: Name of the part, on every line.
        level: Least level kept: debug, info, warning or error.
        folder: Folder of the log files; created when absent.
    """
    stream = sys.stderr if folder is None else _log_file(folder / f"{component}.jsonl")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Never with local variables: requests, and so tokens, are among them.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            hide_secrets,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(component=component)


def _log_file(path: Path) -> TextIO:
    """Open a log file for appending; the one that this process opened before is kept or closed."""
    opened = _OPEN.get("file")
    if opened is not None and opened.name == str(path) and not opened.closed:
        return opened
    close()
    path.parent.mkdir(parents=True, exist_ok=True)
    _OPEN["file"] = file = path.open("a", encoding="utf-8", buffering=1)
    return file


def close() -> None:
    """Close this process's log file; `configure` opens another."""
    file = _OPEN.pop("file", None)
    if file is not None:
        file.close()


def logger() -> Any:
    """Return the process's logger; call its `info`, `warning`, … with an event and fields."""
    return structlog.get_logger()


def read_logs(folder: Path, *, component: str | None = None, lines: int = 100) -> list[dict[str, Any]]:
    """Return the newest log lines of all components, oldest first; a torn last line is skipped.

    Args:
        folder: Folder of the log files, one `<component>.jsonl` each.
        component: Only this part.
        lines: How many at most, of all components together.

    Returns:
        One mapping of fields per line.
    """
    pattern = f"{component or '*'}.jsonl"
    entries = [entry for path in sorted(folder.glob(pattern)) for entry in _parsed(path, lines)]
    return sorted(entries, key=lambda entry: str(entry.get("timestamp", "")))[-lines:]


def _parsed(path: Path, lines: int) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict):
            yield entry
