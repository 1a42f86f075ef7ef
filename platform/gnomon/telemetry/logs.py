"""Structured logs: one JSON object a line in files, readable lines on a terminal; secrets never.

`configure` is called once by every process that the platform starts; `gnomon logs` reads the files, those that were
renamed because they were full as well.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import structlog

from gnomon.errors import unknown_name
from gnomon.telemetry.log_files import LogFile, generations

# Anchored at the end, so that `tokens_per_s` is kept; `pass` is a word of its own, so that `bypass` is.
_SECRET_NAME = re.compile(
    r"(^|[_.-])pass$"
    r"|(password|passwd|passphrase|secret|token|(api|secret|access|private)[_-]?key|authorization|credential)s?$",
    re.IGNORECASE,
)
# Up to the last @ before a slash: a password may hold one.
_SECRET_IN_URL = re.compile(r"(://[^:/@\s]*:)[^/\s]+(@)")
_BEARER = re.compile(r"\b(Bearer\s+)[\w.~+/=-]+", re.IGNORECASE)
_HIDDEN = "***"
_OPEN: dict[str, LogFile] = {}


def hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace values of fields with secret-like names, and passwords in URLs and bearer tokens in any text.

    A structlog processor. Mappings, lists and tuples are searched to any depth: a rendered exception is a list of them.

    Args:
        event: Fields of a log line by name; changed in place.

    Returns:
        The same mapping, for the next processor.

    Example:
        >>> hide_secrets(None, "", {"event": "redis://:abc@host/0", "token": "xyz"})
        {'event': 'redis://:***@host/0', 'token': '***'}
    """
    event.update(_without_secrets(event))
    return event


def _without_secrets(value: Any) -> Any:
    """Return a copy without secrets; what is no text and holds none is returned as it is."""
    if isinstance(value, str):
        return _BEARER.sub(rf"\1{_HIDDEN}", _SECRET_IN_URL.sub(rf"\1{_HIDDEN}\2", value))
    if isinstance(value, Mapping):
        return {
            name: _HIDDEN if _SECRET_NAME.search(str(name)) else _without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(inner) for inner in value]
    return value


def _as_text(value: Any) -> str:
    """Return what JSON cannot hold, such as an error, as text; `hide_secrets` has not seen that text."""
    text: str = _without_secrets(str(value))
    return text


def configure(component: str, level: str, folder: Path | None = None) -> None:
    """Send this process's logs to `<folder>/<component>.jsonl`, or to standard error without a folder.

    Args:
        component: Name of the part, on every line.
        level: Least level kept: debug, info, warning or error.
        folder: Folder of the log files; created when absent.
    """
    stream: Any = sys.stderr if folder is None else _log_file(folder / f"{component}.jsonl")

    # Not a context variable: those are per thread, and lines of other threads would lack it.
    def name_component(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("component", component)
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_component,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Never with local variables: requests, and so tokens, are among them.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            hide_secrets,
            structlog.processors.JSONRenderer(default=_as_text),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


def _log_file(path: Path) -> LogFile:
    """Open a log file for appending; the one that this process opened before is kept or closed."""
    opened = _OPEN.get("file")
    if opened is not None and opened.path == path and not opened.closed:
        return opened
    close()
    _OPEN["file"] = file = LogFile(path)
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
        folder: Folder of the log files, `<component>.jsonl` and its older generations.
        component: Only this part.
        lines: How many at most, of all components together.

    Returns:
        One mapping of fields per line.

    Raises:
        NotFound: No component of that name has written a line.
    """
    written = {path.name.partition(".jsonl")[0] for path in folder.glob("*.jsonl*")}  # renamed just now or not
    if component is not None and component not in written:
        raise unknown_name("component", component, written)
    parts = sorted(written) if component is None else [component]
    entries = [entry for part in parts for entry in _parsed(_newest(folder / f"{part}.jsonl", lines))]
    return sorted(entries, key=lambda entry: str(entry.get("timestamp", "")))[-lines:]


def _newest(path: Path, lines: int) -> list[str]:
    """Return the newest lines of a file and its older generations, oldest first.

    Read from the newest on: a file that is renamed meanwhile is met twice, which its inode tells, and never missed.
    """
    found: list[str] = []
    seen: set[int] = set()
    for file in generations(path):
        try:
            with file.open(encoding="utf-8", errors="replace") as opened:
                inode = os.fstat(opened.fileno()).st_ino
                if inode not in seen:
                    seen.add(inode)
                    found = [*opened.read().splitlines(), *found]
        except FileNotFoundError:
            continue
        if len(found) >= lines:
            break
    return found[-lines:]


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict):
            yield entry
