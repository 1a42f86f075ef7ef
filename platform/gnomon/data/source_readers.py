"""Reads one part of a source's files as raw rows, whatever its format.

Called by `ingestion` in this process and by `ray_ingestion` in its tasks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gnomon.contracts.columns import Dtype
from gnomon.data.csv_rows import read_csv
from gnomon.data.json_rows import read_json_array, read_json_lines
from gnomon.data.parquet_rows import read_row_groups
from gnomon.data.raw_rows import RawRows
from gnomon.data.source_files import FilePart
from gnomon.data.stored_files import SourceFile, file_at, held_still


def read_part(part: FilePart, schema: Mapping[str, Dtype]) -> RawRows:
    """Read the rows of a part.

    Args:
        part: From `source_files.scan_parts`.
        schema: Columns of the source; the file's other columns are left out of the rows.

    Returns:
        Its rows in order. Columns that a CSV or Parquet file lacks are absent, members that a JSON object lacks null.

    Raises:
        InvalidInput: The file changed since it was scanned.
        CorruptData: It cannot be read; the message names it.
    """
    file = file_at(part.path)
    with held_still(file, part.stamp):
        return _rows(file, part, schema)


def _rows(file: SourceFile, part: FilePart, schema: Mapping[str, Dtype]) -> RawRows:
    if part.format == "parquet":
        return _parquet_rows(file, part, schema)
    with file.open("rb") as stream:
        stream.seek(part.start)
        data = stream.read(part.stop - part.start)
    if part.format == "csv":
        return read_csv(data, part.header, part.first_line, part.path)
    if part.format == "jsonl":
        return read_json_lines(data, schema, part.first_line)
    return read_json_array(data, schema, part.path)


def _parquet_rows(file: SourceFile, part: FilePart, schema: Mapping[str, Dtype]) -> RawRows:
    table = read_row_groups(file, part.start, part.stop, list(schema))
    lines = np.arange(part.first_line, part.first_line + table.num_rows, dtype=np.int64)
    columns: dict[str, pa.ChunkedArray] = {name: table.column(name) for name in table.column_names}

    def raw(positions: npt.NDArray[np.int64]) -> list[str]:
        return [json.dumps(row, default=str, ensure_ascii=False) for row in table.take(positions).to_pylist()]

    return RawRows(columns, table.num_rows, lines, (), raw)
