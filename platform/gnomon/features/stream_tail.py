"""Reads the rows that were added to a source's table between two versions of it. Used by `view_streams`."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.contracts.offline_store import OfflineStore
from gnomon.errors import CorruptData


class TableTail:
    """Follows a table from a version on.

    Args:
        offline: Where the table is.
        table: Its name.
        columns: What to read of each row.
        version: Rows of this version and before are known.
    """

    def __init__(self, offline: OfflineStore, table: str, columns: Sequence[str], version: int) -> None:
        self._offline = offline
        self._table = table
        self._columns = list(columns)
        self._version = version
        self._known = frozenset(offline.files(table, version=version))

    @property
    def version(self) -> int:
        """Return the version up to which rows were read."""
        return self._version

    def read(self, version: int) -> pa.Table:
        """Read what was added after the last read, up to a version, and go on from there.

        Args:
            version: Of the table; not before the last one.

        Returns:
            The columns asked for; null where a file lacks one.

        Raises:
            CorruptData: A file is damaged or gone; nothing counts as read.
        """
        schema = self._offline.schema(self._table, version=version)
        wanted = pa.schema([schema.field(name) for name in self._columns])
        files = frozenset(self._offline.files(self._table, version=version))
        added = [_read(path, wanted) for path in sorted(files - self._known)]
        self._version, self._known = version, files
        return pa.concat_tables([wanted.empty_table(), *added])


def _read(path: str, wanted: pa.Schema) -> pa.Table:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            held = [name for name in wanted.names if name in file.schema_arrow.names]
            rows = file.read(columns=held, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise CorruptData(
            f"data file {path} cannot be read: {error}", "restore it from a backup of the table"
        ) from error
    arrays = [
        rows.column(field.name).cast(field.type) if field.name in held else pa.nulls(rows.num_rows, field.type)
        for field in wanted
    ]
    return pa.Table.from_arrays(arrays, schema=wanted)
