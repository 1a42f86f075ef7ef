"""Sending events: rows as JSON lines over a connection, again while the platform has no room. Used by `client`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Protocol

from gnomon.connection import Connection, Json
from gnomon.errors import InvalidInput, Overloaded

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class RowTable(Protocol):
    """A table that gives its rows as dicts, such as a `pyarrow.Table`."""

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows."""
        ...


Rows = Iterable[Mapping[str, Any]] | RowTable | bytes
"""Rows as mappings, as an Arrow table, or as JSON lines."""


class EventSender:
    """The part of `client.Client` that sends events."""

    _connection: Connection

    def push(self, source: str, rows: Rows, *, batch_id: str | None = None, wait_s: float = 30.0) -> Json:
        """Add events to a source; they are durable when this returns, and soon in the views that are kept fresh.

        Args:
            source: Name of the source.
            rows: Rows as mappings, an Arrow table, or the bytes of JSON lines; up to 8 MiB as JSON.
            batch_id: Names these rows: sent again under the same name they add nothing, and the answer is the same.
            wait_s: While too many rows wait in the platform, send these again for so long.

        Returns:
            `accepted`, `duplicates`, `quarantined` (numbers of rows), `rejects` (the first 100: `line`, `rule`,
            `reason`), `repeated`, `version` of the table, and `undeclared`: members of the first 100 rows that are no
            columns of the source and were not read.

        Raises:
            Overloaded: There was no room for so long; nothing was kept.
        """
        return push_rows(self._connection, source, rows, batch_id, wait_s)


def push_rows(connection: Connection, source: str, rows: Rows, batch_id: str | None, wait_s: float) -> Json:
    """Send rows, and return when they are durable.

    Args:
        connection: To the gateway.
        source: Name of the source.
        rows: At least one.
        batch_id: Names them; a fresh name when left out.
        wait_s: While the platform has no room, send them again for so long.

    Returns:
        The report.

    Raises:
        Overloaded: There was no room for so long; nothing was kept.
        InvalidInput: A value cannot be written as JSON.
    """
    content = rows if isinstance(rows, bytes) else _as_lines(rows)
    pause_s, until_s = _FIRST_PAUSE_S, time.monotonic() + wait_s
    options = {
        "content": content, "headers": {"Content-Type": "application/x-ndjson"},
        "params": {"batch_id": batch_id or secrets.token_hex(16)},
    }  # fmt: skip
    while True:
        try:
            return connection.call("POST", f"/api/v1/sources/{source}/events", **options)
        except Overloaded:
            if time.monotonic() + pause_s > until_s:
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _as_lines(rows: Iterable[Mapping[str, Any]] | RowTable) -> bytes:
    listed: Iterable[Mapping[str, Any]] = rows.to_pylist() if hasattr(rows, "to_pylist") else rows
    try:
        return "\n".join(json.dumps(dict(row), default=_as_text, allow_nan=False) for row in listed).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"the rows cannot be written as JSON: {error}", "null stands for what is not known"
        ) from error


def _as_text(value: Any) -> str:
    if isinstance(value, date):  # datetimes too
        return value.isoformat()
    raise TypeError(f"{value!r} is a {type(value).__name__}")
