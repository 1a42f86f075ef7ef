"""Reads the rows that a Delta table gained since a version into Parquet files.

Called by `extraction`. A file that is in the table now and was not at that version holds all rows that are new, and
perhaps old ones that were rewritten, which the ingestion knows and drops. Rows that were removed from the Delta table
stay in Gnomon's: its tables only grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError

from gnomon.contracts.sources import DataSource
from gnomon.errors import CorruptData, InvalidInput, NotFound

CHUNK_ROWS = 500_000


def delta_schema(source: DataSource, root: str) -> pa.Schema:
    """Return the columns of a Delta table; raises as `extract_delta`."""
    return pa.schema(_open(source, root).schema().to_arrow())


def extract_delta(
    source: DataSource, root: str, folder: Path, cursor: Mapping[str, Any] | None
) -> tuple[list[Path], dict[str, Any]]:  # fmt: skip
    """Read new rows into files.

    Args:
        source: Of format `delta`.
        root: Folder that a relative path starts from.
        folder: Where the files go.
        cursor: Version and id of the table at the last extraction; None reads the whole table.

    Returns:
        The files, and version and id of the table now. Where the older version can no longer be read, or the table was
        replaced by another, everything is read.

    Raises:
        NotFound: There is no Delta table at the path.
        InvalidInput: The table uses a feature of Delta that cannot be read.
        CorruptData: A data file of it cannot be read.
    """
    table = _open(source, root)
    version, identity = table.version(), str(table.metadata().id)
    known = _paths_at(source, root, cursor) if cursor is not None and cursor["table"] == identity else frozenset()
    try:
        dataset = table.to_pyarrow_dataset()
        fragments = sorted(dataset.get_fragments(), key=lambda fragment: fragment.path)
    except (DeltaProtocolError, DeltaError) as error:
        raise InvalidInput(
            f"source '{source.name}': the Delta table at '{source.path}' cannot be read: {error}",
            "rewrite it without deletion vectors and column mapping",
        ) from error
    files: list[Path] = []
    for fragment in fragments:
        if fragment.path not in known:
            files += _written(source, fragment, dataset.schema, folder, len(files))
    return files, {"version": version, "table": identity}


def _open(source: DataSource, root: str, version: int | None = None) -> DeltaTable:
    place = Path(root, source.path).expanduser().absolute()
    try:
        return DeltaTable(str(place), version=version)
    except TableNotFoundError as error:
        raise NotFound(
            f"source '{source.name}': there is no Delta table at '{place}'",
            "relative paths start from the folder of the app file", {"path": str(place)},
        ) from error  # fmt: skip


def _paths_at(source: DataSource, root: str, cursor: Mapping[str, Any]) -> frozenset[str]:
    """Return the data files of an older version; none where its log was cleaned up or the table was restored."""
    try:
        dataset = _open(source, root, int(cursor["version"])).to_pyarrow_dataset()
        return frozenset(fragment.path for fragment in dataset.get_fragments())
    except (DeltaError, NotFound):
        return frozenset()


def _written(source: DataSource, fragment: Any, schema: pa.Schema, folder: Path, first: int) -> list[Path]:
    files: list[Path] = []
    try:
        for batch in fragment.to_batches(schema=schema, batch_size=CHUNK_ROWS):
            if batch.num_rows:
                files.append(folder / f"rows-{first + len(files):06}.parquet")
                pq.write_table(pa.Table.from_batches([batch]), files[-1])
    except (pa.ArrowException, OSError) as error:
        raise CorruptData(
            f"source '{source.name}': a file of the Delta table at '{source.path}' cannot be read: {error}",
            "repair the table, or restore the file",
        ) from error
    return files
