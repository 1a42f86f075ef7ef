"""Reads Parquet files: footers when files are scanned, row groups when a part is ingested.

Called by `source_files`, `source_schema` and `source_readers`. A file that cannot be read raises CorruptData with its
name, whether it ends early or holds damaged pages: a Parquet file is read whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.data.object_files import ObjectFile
from gnomon.data.stored_files import SourceFile
from gnomon.data.text_layout import refuse_repeats
from gnomon.errors import CorruptData, GnomonError


def cut_row_groups(file: SourceFile, part_rows: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Cut a Parquet file into parts of whole row groups.

    Args:
        file: The file.
        part_rows: Most rows of a part, unless one row group has more.

    Yields:
        tuple[int, int, int, int, int]: First row group, row group after the last, number of the first row, bytes,
            rows; at least one part.

    Raises:
        CorruptData: The footer cannot be read.
        InvalidInput: Two columns have one name.
    """
    footer = _opened(file).metadata
    begin, first_row, rows, size_bytes, seen = 0, 1, 0, 0, 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        if rows and rows + group.num_rows > part_rows:
            yield begin, number, first_row, size_bytes, rows
            begin, first_row, rows, size_bytes = number, seen + 1, 0, 0
        rows += group.num_rows
        seen += group.num_rows
        size_bytes += max(0, sum(group.column(i).total_compressed_size for i in range(group.num_columns)))
    yield begin, footer.num_row_groups, first_row, size_bytes, rows


def read_parquet_schema(file: SourceFile) -> pa.Schema:
    """Return the Arrow schema of a Parquet file; raises as `cut_row_groups`."""
    return _opened(file).schema_arrow


def read_row_groups(file: SourceFile, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
    """Read row groups.

    Args:
        file: The file.
        start: First row group.
        stop: Row group after the last.
        columns: Names to read; those that the file lacks are left out.

    Returns:
        The rows, in order.

    Raises:
        CorruptData: A page or the footer is damaged.
    """
    opened = _opened(file)
    present = [name for name in columns if name in opened.schema_arrow.names]
    try:
        table = opened.read_row_groups(list(range(start, stop)), columns=present)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _corrupt(file, error) from error
    return table


def _opened(file: SourceFile) -> Any:
    remote = isinstance(file, ObjectFile)
    place = file.native if isinstance(file, ObjectFile) else file
    try:
        # of an object, neighbouring columns are fetched together and side by side
        opened = pq.ParquetFile(place, page_checksum_verification=True, pre_buffer=remote)
        names = tuple(opened.schema_arrow.names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _corrupt(file, error) from error
    refuse_repeats(names, file)
    return opened


def _corrupt(file: SourceFile, error: BaseException) -> GnomonError:
    if isinstance(file, ObjectFile) and (told := file.failure(error)) is not None:
        return told
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return CorruptData(
        f"file '{file}' cannot be read as Parquet: {reason}", "it may be cut off or damaged: write it again"
    )
