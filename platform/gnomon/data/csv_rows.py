"""Reads a part of a CSV file (RFC 4180, UTF-8): every cell as bytes, to be read by type in `casting`.

Called by `source_readers` and, for the first rows, by `source_schema`. An empty cell without quotes is null. A record
with too many or too few cells becomes a reject, and the others are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as arrow_csv

from gnomon.data.raw_rows import RawRows, Reject
from gnomon.data.text_layout import record_lines
from gnomon.errors import CorruptData


def read_csv(data: bytes, header: Sequence[str], first_line: int, path: str) -> RawRows:
    """Split CSV text into columns.

    Args:
        data: Whole records, without the header.
        header: Names of the columns, in order.
        first_line: Line of the first byte of `data` in its file.
        path: Named in errors.

    Returns:
        Columns of bytes, and the records that fit no columns as rejects.

    Raises:
        CorruptData: The text cannot be split into records at all.
    """
    table, bad = _table(data, header, path)
    rows = table.num_rows + len(bad)
    lines = record_lines(data, first_line)
    if len(lines) != rows:  # lines end in lone carriage returns, or a quote stands inside an unquoted cell
        lines = np.arange(first_line, first_line + rows)
    bad_positions = np.array([row.number - 1 for row in bad], dtype=np.int64)
    rejects = tuple(
        Reject(
            int(lines[row.number - 1]),
            "cells",
            f"the row has {row.actual_columns} cells, the header has {row.expected_columns}",
            json.dumps(row.text, ensure_ascii=False),
        )
        for row in bad
    )

    def raw(positions: npt.NDArray[np.int64]) -> list[str]:
        cells = [[_text(cell) for cell in column.take(positions).to_pylist()] for column in table.columns]
        return [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in zip(*cells, strict=True)]

    columns = {name: table.column(i) for i, name in enumerate(header)}
    return RawRows(columns, table.num_rows, np.delete(lines, bad_positions), rejects, raw)


def _table(data: bytes, header: Sequence[str], path: str) -> tuple[pa.Table, list[Any]]:
    """Return the records as columns of bytes, and those with too many or too few cells."""
    bad: list[Any] = []
    if _is_utf8(data):
        return _parsed(data, header, bad, path), bad
    # Arrow cannot hand over a bad record that is no UTF-8. With each byte as a character of its own it can, and no
    # delimiter moves, for those are ASCII.
    table = _parsed(data.decode("latin-1").encode(), header, bad, path)
    columns = [pa.array([_narrowed(cell) for cell in column.to_pylist()], pa.binary()) for column in table.columns]
    return pa.table(dict(zip(header, columns, strict=True))), [
        SimpleNamespace(
            number=row.number, actual_columns=row.actual_columns, expected_columns=row.expected_columns,
            text=row.text.encode("latin-1").decode(errors="replace"),
        ) for row in bad
    ]  # fmt: skip


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _narrowed(cell: bytes | None) -> bytes | None:
    return None if cell is None else cell.decode().encode("latin-1")


def _parsed(data: bytes, header: Sequence[str], bad: list[Any], path: str) -> pa.Table:
    def keep_aside(row: Any) -> str:
        bad.append(row)
        return "skip"

    if not data.strip():
        return pa.table({name: pa.array([], type=pa.binary()) for name in header})
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            # one thread: only then does Arrow tell which record is the bad one; parts are read side by side
            read_options=arrow_csv.ReadOptions(
                column_names=list(header), use_threads=False, block_size=len(data) + 1
            ),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=keep_aside),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.binary()), strings_can_be_null=True, null_values=[""],
                quoted_strings_can_be_null=False, check_utf8=False,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        raise CorruptData(f"file '{path}' cannot be read as CSV: {error}", "check its quotes and line ends") from error


def _text(cell: bytes | None) -> str | None:
    return None if cell is None else cell.decode(errors="replace")
