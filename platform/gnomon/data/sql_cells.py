"""Turns rows that a database driver returned into Arrow columns: each as the driver has it, or else as text.

Called by `sql_extraction` for a chunk of rows at a time. What a cell is worth is decided later, in `casting`, like that
of any file's: a column whose values are of several types becomes text, which is read by the declared type.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

_PLAIN = (bool, int, float, str, bytes, Decimal, date)


def arrow_chunk(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Return rows as a table.

    Args:
        names: Of the columns.
        rows: Each with as many values.

    Returns:
        As many rows, in the same order; a column of nulls alone has Arrow's null type.
    """
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.table([_column(values) for values in columns], names=list(names))


def _column(values: Sequence[Any]) -> pa.Array:
    cells = [_plain(value) for value in values]
    kinds = {type(cell) for cell in cells if cell is not None}
    if len(kinds) <= 1:
        try:
            return _stored(pa.array(cells, from_pandas=False))
        except (pa.ArrowException, OverflowError, ValueError):
            pass  # such as whole numbers beyond 64 bits: as text, for `casting` to judge
    return pa.array([_text(cell) for cell in cells], pa.string())


def _stored(array: pa.Array) -> pa.Array:
    """Return the array in a type that Parquet keeps."""
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us", tz="UTC" if array.type.tz else None))
    return array


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, _PLAIN):
        return value
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    return json.dumps(value, default=str) if isinstance(value, dict | list) else str(value)


def _text(cell: Any) -> str | None:
    if cell is None:
        return None
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    return cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
