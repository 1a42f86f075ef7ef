"""Tables as Parquet files: the same table gives the same bytes. Used by the work of training and of exports."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as Parquet, atomically for a worker that reads it: a torn file is never under the name."""
    fresh = path.with_suffix(".part")
    pq.write_table(table, fresh, compression="zstd", row_group_size=65_536)
    fresh.replace(path)
