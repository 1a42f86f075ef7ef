"""Looking at the rows that broke a rule of their source. Called by the gateway."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.contracts.columns import INGESTED_AT
from gnomon.contracts.offline_store import OfflineStore
from gnomon.data.quarantine_tables import quarantine_table
from gnomon.data.validation import REJECT_FIELDS

_ALWAYS_US = 2**63 - 1


def newest_rejects(offline: OfflineStore, source: str, limit: int) -> tuple[int, list[dict[str, Any]]]:
    """Return rows in quarantine, those that came in last first, then by file and line.

    Files are read from the newest on, until none that is left can hold a newer row.

    Args:
        offline: Where the tables are.
        source: Name of the source.
        limit: How many at most.

    Returns:
        The number of all rows in quarantine; and of the newest `ingested_at`, `file` (or `the push`), `line`, `rule`,
        `reason` and `raw`, the row as it was read.
    """
    table = quarantine_table(source)
    if offline.version(table) < 0:
        return 0, []
    footers = {path: pq.read_metadata(path) for path in offline.files(table)}
    newest_us = {path: _newest_us(footer) for path, footer in footers.items()}
    names = [INGESTED_AT, *(name for name, _ in REJECT_FIELDS)]
    found: pa.Table | None = None
    for path in sorted(footers, key=lambda path: newest_us[path], reverse=True):
        if found is not None and found.num_rows >= limit and newest_us[path] < _oldest_us(found):
            break
        with pq.ParquetFile(path) as file:
            rows = file.read(columns=names).select(names).rename_columns(["ingested_at", *names[1:]])
        rows = rows if found is None else pa.concat_tables([found, rows], promote_options="permissive")
        order = [("ingested_at", "descending"), ("file", "ascending"), ("line", "ascending")]
        found = rows.sort_by(order).slice(0, limit)
    return sum(footer.num_rows for footer in footers.values()), [] if found is None else found.to_pylist()


def _newest_us(footer: pq.FileMetaData) -> int:
    """Return the greatest ingestion time by a file's footer; as if it were the newest where the footer does not say."""
    column = footer.schema.names.index(INGESTED_AT)
    known = [footer.row_group(number).column(column).statistics for number in range(footer.num_row_groups)]
    if any(statistics is None or not statistics.has_min_max for statistics in known):
        return _ALWAYS_US
    return max((int(statistics.max_raw) for statistics in known), default=-_ALWAYS_US)


def _oldest_us(rows: pa.Table) -> int:
    return int(rows["ingested_at"][-1].cast(pa.timestamp("us", "UTC")).value)
