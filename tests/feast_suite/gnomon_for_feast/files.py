"""Feast's file sources on our tables: a file is brought in when it is first asked for. Called by the offline store."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from feast import FileSource, RepoConfig
from feast.data_source import DataSource

from gnomon_for_feast.sources import GnomonSource

_FOLDER = "gnomon_tables"


def as_ours(source: DataSource | None, config: RepoConfig) -> GnomonSource:
    """Return a source whose rows are in our tables.

    The table of a file is named for its path and the time of its last change. What is pushed to it later is in the
    table only; the file stays as it is.

    Args:
        source: A source of ours, or a Parquet file.
        config: Of the repository; relative paths start from its folder.

    Raises:
        TypeError: It is another kind of source.
    """
    if isinstance(source, GnomonSource):
        return source
    if not isinstance(source, FileSource):
        raise TypeError(f"source '{source.name if source else None}' is a {type(source).__name__}: give a GnomonSource")
    path = Path(FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=source.path))
    root = config.offline_store.root or str(Path(config.repo_path) / _FOLDER)
    found = GnomonSource(
        name=f"{path}@{path.stat().st_mtime_ns}", root=root, timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column, field_mapping=source.field_mapping,
    )  # fmt: skip
    if not found.tables.exists(found.name):
        created = found.created_timestamp_column and found.raw(found.created_timestamp_column)
        found.tables.append(found.name, pq.read_table(path), found.raw(found.timestamp_field), created)
    return found
