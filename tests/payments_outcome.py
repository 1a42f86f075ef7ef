"""What came of a life of the payments example, read from the stores of its home and in a form that compares."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.columns import INGESTED_AT
from gnomon.contracts.operations import Operation
from gnomon.governance.audit_trail import SqlAuditTrail
from gnomon.registry.sql_registry import SqlRegistry
from gnomon.storage.artifacts import ArtifactFolder
from gnomon.storage.delta_tables import DeltaTables
from gnomon.storage.sql import open_database
from gnomon.storage.sql_operations import SqlOperations
from gnomon.storage.sql_state import SqlStates

MODEL, DEPLOYMENT, MONITOR = "fraud", "fraud", "fraud_watch"
TABLES = ("payments", "fraud_reports", "payments__quarantine", "fraud_reports__quarantine", f"outcomes__{DEPLOYMENT}")


class Outcome:
    """Reads the stores of a home; nothing may run there.

    Args:
        home: Of the platform.
    """

    def __init__(self, home: Path) -> None:
        self._engine = open_database(f"sqlite:///{home / 'state' / 'gnomon.db'}")
        self._home, self._clock = home, SystemClock()
        self._artifacts, self._tables = ArtifactFolder(home / "artifacts"), DeltaTables(home / "tables")
        self._registry = SqlRegistry(self._engine, self._artifacts, self._clock)
        self._states = SqlStates(self._engine, self._clock)

    def facts(self) -> dict[str, Any]:
        """Return everything that must not depend on what was killed, by name."""
        return {
            **{f"table {name}": self._table(name) for name in TABLES},
            "predictions": self._predictions(),
            "operations": {op.id: (op.kind, op.target, op.state, op.result, op.error) for op in self.operations()},
            "versions": [self._version(number) for number in self._numbers()],
            "aliases": [(m.alias, m.before, m.after, m.reason) for m in self._registry.alias_history(MODEL)],
            "gates": dict(self._states.all("gates")),
            "schedule": dict(self._states.all("monitor_schedule")),
            "findings": dict(self._states.all("monitor")),
            "audit": Counter(
                (e.actor, e.action, e.target, json.dumps(e.details, sort_keys=True))
                for e in SqlAuditTrail(self._engine, self._clock).entries(limit=100_000)
            ),
        }

    def operations(self) -> list[Operation]:
        """Return all operations, newest first."""
        return SqlOperations(self._engine, self._clock).list(limit=100_000)

    def attempts(self) -> Counter[tuple[str, int]]:
        """Return how often a worker began (operation, lease), as the workers' logs tell."""
        lines = [json.loads(line) for line in (self._home / "logs" / "worker.jsonl").read_text().splitlines()]
        return Counter((e["operation"], e["lease"]) for e in lines if e["event"] == "operation started")

    def _numbers(self) -> list[int]:
        return [version.number for version in self._registry.versions(MODEL)]

    def _version(self, number: int) -> dict[str, Any]:
        version = self._registry.version(MODEL, number)
        folder = self._artifacts.get_folder(version.artifact)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        bytes_of = {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
        lineage = asdict(version.lineage)
        return {"number": number, "files": bytes_of, "metrics": version.metrics, "lineage": lineage,
                "artifact": version.artifact, "aliases": version.aliases, "created": version.created}  # fmt: skip

    def _table(self, name: str) -> tuple[int, int, str]:
        """Return a table's version, number of rows and a digest of all of them."""
        version = self._tables.version(name)
        if version < 0:
            return version, 0, ""
        rows = self._tables.read(name)
        if name.startswith("outcomes__"):  # stored by the machine's clock, all else by the platform's
            rows = rows.drop_columns([INGESTED_AT])
        lines = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows.to_pylist())
        return version, rows.num_rows, hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _predictions(self) -> list[str]:
        """Return all rows of the watched log, but for when they were stored and how long they took."""
        table = f"predictions__{DEPLOYMENT}"
        if self._tables.version(table) < 0:
            return []
        rows = self._tables.read(table).drop_columns([INGESTED_AT, "latency_us"])
        return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows.to_pylist())
