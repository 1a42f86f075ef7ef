"""Deals the files of a table out to readers, and its rows out to partitions by the hash of some columns.

Called by the distributed join, by the layouts of a table by entity and by those who read them. A part is a Parquet file
and some of its row groups; what one task reads is a list of parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from gnomon.features.event_columns import Int64s

Part = tuple[str, list[int]]
"""Path of a Parquet file, and the row groups of it that are meant."""


def deal_parts(paths: Sequence[str], read_rows: int) -> list[list[Part]]:
    """Deal row groups out to readers.

    Args:
        paths: Parquet files.
        read_rows: Rows that a reader should hold at once.

    Returns:
        For each reader about `read_rows` rows, or one row group where that has more.
    """
    readers: list[list[Part]] = []
    room = 0
    for path in paths:
        footer = pq.read_metadata(path)
        for index in range(footer.num_row_groups):
            rows = footer.row_group(index).num_rows
            if rows > room:
                readers.append([])
                room = max(read_rows, rows)
            if not readers[-1] or readers[-1][-1][0] != path:
                readers[-1].append((path, []))
            readers[-1][-1][1].append(index)
            room -= rows
    return readers


def read_parts(parts: Sequence[Part], schema: pa.Schema, columns: Sequence[str]) -> pa.Table:
    """Read rows in the order of the parts.

    Args:
        parts: What to read.
        schema: Of the table, so that files from before a column was added hold it as null.
        columns: Which columns.

    Returns:
        The rows.
    """
    import pyarrow.dataset as ds  # imports pandas, which a join within one process does without

    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet, disk = ds.ParquetFileFormat(default_fragment_scan_options=checked), LocalFileSystem()
    fragments = [parquet.make_fragment(path, disk, row_groups=groups) for path, groups in parts]
    return ds.FileSystemDataset(fragments, schema, parquet, disk).to_table(columns=list(columns))


def partition_of(table: pa.Table, columns: Sequence[str], partitions: int) -> Int64s:
    """Return each row's partition by the hash of some columns; equal values go together on every machine."""
    frame = pl.DataFrame({name: _hashable(table.column(name)) for name in columns})
    if not len(frame):
        return np.zeros(0, np.int64)
    result: Int64s = (frame.hash_rows(seed=0) % partitions).to_numpy().astype(np.int64)
    return result


def split_rows(table: pa.Table, where: Int64s, partitions: int) -> list[pa.Table]:
    """Return the rows of each partition, in their order."""
    order = np.argsort(where, kind="stable")
    edges = np.searchsorted(where[order], np.arange(partitions + 1))
    return [table.take(pa.array(order[edges[i] : edges[i + 1]])) for i in range(partitions)]


def _hashable(values: pa.ChunkedArray) -> pl.Series:
    wide = pa.int64() if pa.types.is_integer(values.type) else pa.string()
    return pl.Series(values.cast(wide))
