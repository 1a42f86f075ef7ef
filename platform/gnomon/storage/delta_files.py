"""The Parquet files of a table: written durably, read together, and named when one is damaged.

Used by `storage.delta_tables`. Pages carry checksums, so that a flipped bit is an error instead of a wrong number.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq

from gnomon.contracts.columns import EVENT_TIME
from gnomon.contracts.offline_store import StagedFile
from gnomon.errors import CorruptData, InvalidInput
from gnomon.storage.delta_schemas import TIMESTAMP
from gnomon.storage.durable_files import publish, temporary

if TYPE_CHECKING:
    import pyarrow.dataset as ds

_YEARS_US = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""Microseconds since the epoch of the years 1 to 9999, all that Delta's statistics can name."""


def write_data_file(folder: Path, rows: pa.Table) -> StagedFile:
    """Write storable rows, at least one, to a new durable file in `folder`.

    Args:
        folder: Folder of the table.
        rows: As `delta_schemas.storable_rows` returns them.

    Returns:
        What a commit says about the file.

    Raises:
        InvalidInput: An event time lies outside the years 1 to 9999.
        OutOfSpace: The disk is full; nothing is left of the file.
    """
    bounds = pc.min_max(rows[EVENT_TIME])
    least, greatest = bounds["min"].value, bounds["max"].value
    if least < _YEARS_US[0] or greatest > _YEARS_US[1]:
        hint = "check the unit of the times: microseconds since the epoch are expected"
        raise InvalidInput(f"'{EVENT_TIME}' spans {least} to {greatest} µs, outside the years 1 to 9999", hint)
    final = folder / f"part-{uuid.uuid4().hex}.parquet"
    with temporary(final) as temp:
        pq.write_table(rows, temp, compression="zstd", write_statistics=True, write_page_checksum=True)
        size_bytes = temp.stat().st_size
        publish(temp, final)
    return StagedFile(final.name, rows.num_rows, size_bytes, least, greatest)


def read_data_files(
    paths: Sequence[str], schema: pa.Schema, columns: Sequence[str], after_us: int | None, until_us: int | None
) -> pa.Table:
    """Return the rows with event time in `(after_us, until_us]`; columns that a file lacks are null.

    Args:
        paths: Absolute paths of Parquet files.
        schema: Schema of the table.
        columns: Columns wanted, in this order.
        after_us: Exclusive lower edge, microseconds since the epoch; None for none.
        until_us: Inclusive upper edge.

    Returns:
        The rows, in no particular order.

    Raises:
        CorruptData: A file is damaged or gone; the message names it.
    """
    if not paths:
        return schema.empty_table().select(list(columns))
    try:
        return _dataset(paths, schema).to_table(columns=list(columns), filter=_event_filter(after_us, until_us))
    except (OSError, pa.ArrowException) as error:
        for path in paths:
            _require_sound(path, schema)
        raise CorruptData(f"one of {len(paths)} files of the table cannot be read: {error}") from error


def _dataset(paths: Sequence[str], schema: pa.Schema) -> ds.Dataset:
    import pyarrow.dataset as ds  # imports pandas: half a second that processes which only write do without

    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    layout = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    return ds.FileSystemDataset.from_paths(
        list(paths), schema=schema, format=layout, filesystem=pyarrow.fs.LocalFileSystem()
    )


def _event_filter(after_us: int | None, until_us: int | None) -> ds.Expression | None:
    event_time = pc.field(EVENT_TIME)
    after = None if after_us is None else event_time > pa.scalar(after_us, TIMESTAMP)
    until = None if until_us is None else event_time <= pa.scalar(until_us, TIMESTAMP)
    return after & until if after is not None and until is not None else after if after is not None else until


def _require_sound(path: str, schema: pa.Schema) -> None:
    try:
        _dataset([path], schema).to_table()
    except (OSError, pa.ArrowException) as error:
        hint = "restore the file from a backup of the table, or ingest its rows again into a new table"
        raise CorruptData(f"data file {path} is damaged: {error}", hint, {"path": path}) from error
