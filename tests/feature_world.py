"""Files to features in one place: a source of JSON lines, its Delta tables, and views on a real online server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import HandClock, to_us
from gnomon.contracts.online_store import OnlineRows
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.features.materialization import Materialized, materialize
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.storage.delta_tables import DeltaTables

NOW = datetime(2026, 7, 1, tzinfo=UTC)
_FIELDS: dict[str, Any] = {"customer": "int64", "amount": "int64", "note": "string"}
_SCHEMA = {"id": "string", "at": "timestamp", "known": "timestamp", **_FIELDS}


def hour(number: float) -> datetime:
    """Return a moment, counted in hours from the beginning of 2026."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)


def row(event_id: str, customer: int | None, at: float, known: float | None = None, **values: Any) -> dict[str, Any]:
    """Return a row of the source `payments`; times are hours, and a row is known at once when not told otherwise."""
    times = {"at": hour(at).isoformat(), "known": hour(at if known is None else known).isoformat()}
    return {"id": event_id, "customer": customer, **times, **values}


class FeatureWorld:
    """The source `payments` (customer, amount, note) and views over it.

    Args:
        folder: Holds files and tables.
        url: Server of the online store.
        views: Fields of each `FeatureView` by its name, but for entity and source.
        more: Further definitions.
    """

    def __init__(self, folder: Path, url: str, views: Mapping[str, Mapping[str, Any]], *more: Any) -> None:
        self._files = folder / "files"
        self._files.mkdir()
        self.offline = DeltaTables(folder / "tables")
        self.online = RedisOnlineStore(url, uuid.uuid4().hex, 10.0)
        self._clock = HandClock(folder / "clock", NOW)
        self.source = gn.DataSource(
            "payments", path="*.jsonl", id="id", event_time="at", known_time="known", fields=_FIELDS
        )
        customer = gn.Entity("customer", key="customer")
        made = [gn.FeatureView(name, entity=customer, source=self.source, **view) for name, view in views.items()]
        self.app = App.of("world", [self.source, customer, *made, *more]).with_schemas({"payments": _SCHEMA})

    def ingest(self, *rows: Mapping[str, Any]) -> IngestReport:
        """Write the rows to a file of their own and ingest the source."""
        file = self._files / f"{len(list(self._files.iterdir())):03}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        options: dict[str, Any] = {"local_rows": 10**9, "report": lambda line: None, "schema": _SCHEMA}
        return ingest(self.source, str(self._files), self.offline, self._clock, **options)

    def materialize(self, view: str, at: float) -> Materialized:
        """Bring a view online as known at an hour."""
        return materialize(self.app, view, self.offline, self.online, to_us(hour(at)))

    def read(self, lookups: Sequence[str], customers: Sequence[int], at: float) -> OnlineRows:
        """Read features online at an hour."""
        keys = [{"customer": customer} for customer in customers]
        return self.online.read(read_plan(self.app, lookups), keys, to_us(hour(at)))

    def join(self, lookups: Sequence[str], *requests: tuple[int | None, float]) -> list[list[Any]]:
        """Look features up offline for (customer, hour) pairs; one list per lookup."""
        asked = pa.table({
            "customer": pa.array([customer for customer, _ in requests], pa.int64()),
            REQUEST_TIME: pa.array([to_us(hour(at)) for _, at in requests], pa.int64()),
        })  # fmt: skip
        found = point_in_time_join(self.app, self.offline, asked, lookups, local_rows=10**9)
        return [found.column(lookup).to_pylist() for lookup in lookups]
