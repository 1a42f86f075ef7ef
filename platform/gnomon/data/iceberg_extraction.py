"""Reads the rows that an Iceberg table gained since a snapshot into Parquet files, by pyiceberg (extra `iceberg`).

Called by `extraction`. As for Delta tables, the data files that are in the table now and were not at that snapshot hold
all rows that are new. The catalog is found by pyiceberg's own configuration, so that its secrets stay out of
definitions.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.contracts.sources import DataSource
from gnomon.errors import InvalidInput, NotFound


def iceberg_schema(source: DataSource) -> pa.Schema:
    """Return the columns of an Iceberg table; raises as `extract_iceberg`."""
    return _open(source).schema().as_arrow()


def extract_iceberg(
    source: DataSource, folder: Path, cursor: Mapping[str, Any] | None
) -> tuple[list[Path], dict[str, Any] | None]:  # fmt: skip
    """Read new rows into files.

    Args:
        source: Of format `iceberg`.
        folder: Where the files go.
        cursor: Snapshot and id of the table at the last extraction; None reads the whole table.

    Returns:
        The files, and snapshot and id of the table now; None for a table without a snapshot. Where the older snapshot
        is gone, or the table was replaced by another, everything is read.

    Raises:
        NotFound: The catalog has no such table.
        InvalidInput: pyiceberg is not installed, or does not know the catalog.
    """
    from pyiceberg.io.pyarrow import ArrowScan

    table = _open(source)
    snapshot = table.current_snapshot()
    if snapshot is None:
        return [], None
    identity = str(table.metadata.table_uuid)
    known: set[str] = set()
    if cursor is not None and cursor["table"] == identity and table.snapshot_by_id(cursor["snapshot"]) is not None:
        known = {task.file.file_path for task in table.scan(snapshot_id=cursor["snapshot"]).plan_files()}
    scan = table.scan(snapshot_id=snapshot.snapshot_id)
    tasks = sorted(
        (task for task in scan.plan_files() if task.file.file_path not in known), key=lambda task: task.file.file_path
    )
    files: list[Path] = []
    for task in tasks:
        reader = ArrowScan(table.metadata, table.io, scan.projection(), scan.row_filter, scan.case_sensitive)
        for batch in reader.to_record_batches([task]):
            if batch.num_rows:
                files.append(folder / f"rows-{len(files):06}.parquet")
                pq.write_table(pa.Table.from_batches([batch]), files[-1])
    return files, {"snapshot": snapshot.snapshot_id, "table": identity}


def _open(source: DataSource) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its dependencies, about each other
            from pyiceberg.catalog import load_catalog
            from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
    except ImportError as error:
        raise InvalidInput(
            f"source '{source.name}': Iceberg tables need pyiceberg, which is not installed",
            "pip install 'gnomon[iceberg]'",
        ) from error
    try:
        catalog = load_catalog(source.catalog)
    except ValueError as error:
        raise InvalidInput(
            f"source '{source.name}': pyiceberg knows no catalog '{source.catalog}': {error}",
            f"set PYICEBERG_CATALOG__{(source.catalog or '').upper()}__URI before `gnomon up`",
        ) from error
    try:
        return catalog.load_table(source.table or "")
    except (NoSuchTableError, NoSuchNamespaceError) as error:
        raise NotFound(f"source '{source.name}': catalog '{source.catalog}' has no table '{source.table}'") from error
