"""Brings what is new in a table of a lake or a database into Parquet files, which are then ingested like any others.

Called by `ingestion` for sources that are no files. The files are what the ingestion works on from then on: a data
contract reads them a second time, and an ingestion that was killed and goes on finds them complete and reads neither
more nor less, even when the source has changed meanwhile. The cursor says where the next ingestion begins.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from gnomon.contracts.sources import DataSource
from gnomon.data.source_files import FilePart, Limits, scan_file
from gnomon.storage.durable_files import disk_errors, make_folder, sync_file, write_once

Cursor = Mapping[str, Any]
"""Where an extraction ended, as a small JSON object of the source's format."""

_MANIFEST = "extract.json"


@dataclass(frozen=True)
class Extract:
    """What an extraction brought.

    Attributes:
        files: Parquet files, in the order in which they are ingested; none where nothing is new.
        cursor: Where the next one begins; None where there is no such place, and everything is read each time.
    """

    files: tuple[Path, ...]
    cursor: Cursor | None

    def parts(self, source: DataSource, limits: Limits) -> list[FilePart]:
        """Cut the files into parts, labelled with the place that they come from."""
        cut = (part for file in self.files for part in scan_file(file, "parquet", limits))
        return [replace(part, label=source.place()) for part in cut]


def extract(source: DataSource, root: str, folder: Path, cursor: Cursor | None, now_us: int) -> Extract:
    """Bring a source's new rows into a folder, or return what an earlier attempt has brought there completely.

    Args:
        source: Of a format that is extracted.
        root: Folder that a relative path starts from.
        folder: Of this ingestion alone; emptied first where an attempt was cut off.
        cursor: Where the extraction before ended; None reads everything.
        now_us: The present; a watermark beyond it is not believed.

    Returns:
        The files and the next cursor.

    Raises:
        InvalidInput: The source cannot be read as it is defined.
        NotFound: The table is not there.
        Unavailable: The database does not answer.
        OutOfSpace: The disk is full.
    """
    manifest = folder / _MANIFEST
    if manifest.is_file():
        body = json.loads(manifest.read_text())
        return Extract(tuple(folder / name for name in body["files"]), body["cursor"])
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
    with disk_errors(folder):
        done = _read(source, root, folder, cursor, now_us)
        for file in done.files:
            sync_file(file)
    body = {"files": [file.name for file in done.files], "cursor": done.cursor}
    write_once(manifest, json.dumps(body).encode())
    return done


def extracted_schema(source: DataSource, root: str) -> pa.Schema:
    """Find out the columns of a source of a format that is extracted.

    Args:
        source: Of such a format.
        root: Folder that a relative path starts from.

    Returns:
        Its columns with their types; those of a database are read from its first rows, and null where all of them are.

    Raises:
        InvalidInput: The source cannot be read as it is defined.
        NotFound: The table is not there.
        Unavailable: The database does not answer.
    """
    if source.format == "sql":
        from gnomon.data.sql_extraction import sql_schema

        return sql_schema(source)
    if source.format == "delta":
        from gnomon.data.delta_extraction import delta_schema

        return delta_schema(source, root)
    from gnomon.data.iceberg_extraction import iceberg_schema

    return iceberg_schema(source)


def _read(source: DataSource, root: str, folder: Path, cursor: Cursor | None, now_us: int) -> Extract:
    if source.format == "sql":
        from gnomon.data.sql_extraction import extract_sql

        files, after = extract_sql(source, folder, cursor, now_us)
    elif source.format == "delta":
        from gnomon.data.delta_extraction import extract_delta

        files, after = extract_delta(source, root, folder, cursor)
    else:
        from gnomon.data.iceberg_extraction import extract_iceberg

        files, after = extract_iceberg(source, folder, cursor)
    return Extract(tuple(files), after)
