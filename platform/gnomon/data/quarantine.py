"""Looking at the rows that broke a rule of their source. Called by the gateway."""

from __future__ import annotations

from typing import Any

from gnomon.contracts.columns import INGESTED_AT
from gnomon.contracts.offline_store import OfflineStore
from gnomon.data.ingestion import quarantine_table
from gnomon.data.validation import REJECT_FIELDS


def newest_rejects(offline: OfflineStore, source: str, limit: int) -> tuple[int, list[dict[str, Any]]]:
    """Return rows in quarantine, those that came in last first, then by file and line.

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
    names = [name for name, _ in REJECT_FIELDS]
    rows = offline.read(table, columns=[INGESTED_AT, *names])
    rows = rows.rename_columns(["ingested_at", *names])
    newest = rows.sort_by([("ingested_at", "descending"), ("file", "ascending"), ("line", "ascending")])
    return rows.num_rows, newest.slice(0, limit).to_pylist()
