"""Names an entity's hash in the online store, injective, so that two entities never share one; and the fields in it.

Used by `features.compiled_reads` and `features.store_operations`. A key reads `g:<project>:<columns>:<values>`, with
the key columns percent-encoded and joined by commas; views with the same key columns share one hash. Values are
`i<decimal>` or `s<length in bytes>:<utf-8>`, joined by commas: the integer 1 and the text "1" differ, and so do
("a", "b") and ("a,b",).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from gnomon.contracts.layouts import ViewLayout
from gnomon.errors import InvalidInput

_PROJECT = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def check_project(project: str) -> str:
    """Check that a name can be the first part of every key of a project.

    Args:
        project: 1 to 128 letters, digits, `_`, `.` and `-`.

    Returns:
        The same name.

    Raises:
        InvalidInput: It is empty, too long, or has characters that would let two projects share keys.
    """
    if not _PROJECT.fullmatch(project):
        raise InvalidInput(f"'{project}' cannot name a project online", "use letters, digits, '_', '.' and '-'")
    return project


def row_field(layout: ViewLayout) -> bytes:
    """Return the field that holds the row of one version of a view; versions lie side by side in the entity's hash."""
    return row_prefix(layout) + layout.version.encode()


def row_prefix(layout: ViewLayout) -> bytes:
    """Return what the fields of all versions of a view begin with; no other field has an `@` in it."""
    return f"{layout.view}@".encode()


def deletion_field(layout: ViewLayout) -> bytes:
    """Return the field that holds an entity's newest deletion in a view; it is that of all versions."""
    return f"{layout.view}-".encode()


class EntityKeys:
    """Encodes the keys of one group: views whose key columns are the same.

    Args:
        project: Checked by `check_project`.
        keys: Key columns with their types, in order.

    Attributes:
        prefix: What every key of the group begins with.
    """

    def __init__(self, project: str, keys: Sequence[tuple[str, str]]) -> None:
        self._columns = tuple(keys)
        group = ",".join(quote(name, safe="") for name, _ in keys)
        self.prefix = f"g:{project}:{group}:".encode()

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Return one key per row, in order.

        Args:
            rows: Each with every key column; other entries are not read.

        Returns:
            Keys that differ between projects, groups and entities.

        Raises:
            InvalidInput: A key column is missing, null or of another type.
        """
        try:
            columns = [[row[name] for row in rows] for name, _ in self._columns]
        except KeyError:
            columns = [[row.get(name, _MISSING) for row in rows] for name, _ in self._columns]
        return self.encode_columns(columns)

    def encode_columns(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return one key per row of the key columns' values, given column by column."""
        parts = [
            _integers(values, name) if dtype == "int64" else [_text(v, name) for v in values]
            for (name, dtype), values in zip(self._columns, columns, strict=True)
        ]
        prefix = self.prefix
        if len(parts) == 1:
            return [prefix + part for part in parts[0]]
        return [prefix + b",".join(row) for row in zip(*parts, strict=True)]


_MISSING = object()


def _integers(values: Sequence[Any], name: str) -> list[bytes]:
    if set(map(type, values)) == {int} and min(values) >= -(1 << 63) and max(values) < 1 << 63:
        return [b"i%d" % value for value in values]  # the same in short for what nearly always happens
    return [_integer(value, name) for value in values]


def _integer(value: Any, name: str) -> bytes:
    if type(value) is not int:
        if not isinstance(value, np.integer):
            raise _wrong(value, name, "int64")
        value = int(value)
    if not -(1 << 63) <= value < 1 << 63:
        raise InvalidInput(f"key '{name}' is {value}, which does not fit int64")
    return b"i%d" % value


def _text(value: Any, name: str) -> bytes:
    if not isinstance(value, str):
        raise _wrong(value, name, "string")
    try:
        text = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"key '{name}' is {value!r}, which is not valid text", "send Unicode text") from error
    return b"s%d:%b" % (len(text), text)


def _wrong(value: Any, name: str, dtype: str) -> InvalidInput:
    if value is _MISSING:
        return InvalidInput(f"key '{name}' is missing", f"give '{name}' as {dtype}")
    return InvalidInput(f"key '{name}' is {value!r}, a {type(value).__name__}", f"it has to be {dtype}")
