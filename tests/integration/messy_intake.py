"""Ingestion of files that others made to be difficult, with every row accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gnomon as gn
from gnomon.contracts.clocks import SystemClock
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.errors import GnomonError
from gnomon.storage.delta_tables import DeltaTables

TIME = "2026-01-01T00:00:00Z"
TIME_US = 1_767_225_600_000_000
Rows = list[dict[str, Any]]


class Intake:
    """Files of a folder, and the tables that they are ingested into."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "files"
        self.root.mkdir(exist_ok=True)
        self.offline = DeltaTables(folder / "tables")

    def take_in(self, source: gn.DataSource, schema: Mapping[str, Any] | None = None) -> IngestReport:
        """Ingest, and require that every row is accounted for."""
        options: dict[str, Any] = {"local_rows": 10**9, "report": lambda line: None, "schema": schema}
        report = ingest(source, str(self.root), self.offline, SystemClock(), **options)
        quarantined = sum(report.quarantined.values())
        assert report.rows_read == report.rows_added + report.duplicates + quarantined
        assert len(self.rows(source.name)) == report.rows_added
        rejects = self.rows(f"{source.name}__quarantine")
        assert len(rejects) == quarantined
        assert all(reject["reason"] and reject["raw"] for reject in rejects)
        return report

    def rows(self, table: str) -> Rows:
        """Return a table's rows, none where there is no table."""
        rows: Rows = self.offline.read(table).to_pylist() if table in self.offline.tables() else []
        return rows


def outcome(attempt: Callable[[], IngestReport]) -> IngestReport | GnomonError:
    """Return what an ingestion reported or the error that was raised on purpose; any other is a crash."""
    try:
        return attempt()
    except GnomonError as error:
        return error
