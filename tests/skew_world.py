"""A model that is served and logged for real, so that its log can be audited: tables, online store, request path.

Rows are appended to a real table with any times; predictions go through the replica's own request path, with a clock
and definitions that a test may set wrongly.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import HandClock, to_us
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.contracts.predictions import PredictionRecord
from gnomon.contracts.signatures import model_signature
from gnomon.features.materialization import materialize
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.request_features import RequestFeatures
from gnomon.monitoring.skew_audit import SkewQuestion, TrainedVersion, audit_skew
from gnomon.monitoring.skew_reports import SkewReport
from gnomon.serving.prediction_log import OfflinePredictionLog, predictions_table
from gnomon.serving.request_path import RequestPath, ServedVersion
from gnomon.storage.delta_tables import DeltaTables

SCHEMA: dict[str, Any] = {
    "id": "string", "at": "timestamp", "known": "timestamp", "customer": "int64", "amount": "float64",
    "number": "int64", "note": "string",
}  # fmt: skip
_ARROW = {"id": pa.string(), "customer": pa.int64(), "amount": pa.float64(), "number": pa.int64(), "note": pa.string()}
_TIME = pa.timestamp("us", tz="UTC")
_COUNTER = itertools.count()


def hour(number: float) -> int:
    """Return a moment in microseconds, counted in hours from the beginning of 2026."""
    return to_us(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number))


def triple(amount: np.ndarray[Any, Any], usual: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A request feature as a function."""
    return 3 * amount - usual


def resolve(reference: str) -> Any:
    """Import the only function of the tests' apps."""
    return {"triple": triple}[reference.rpartition(":")[2]]


class SumPredictor:
    """Predicts the sum of all numbers, nulls as nothing."""

    def predict(self, columns: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        """Predict every row."""
        numbers = [np.nan_to_num(c) for c in columns.values() if c.dtype == np.float64]
        return np.sum(numbers, axis=0)


@dataclass
class ListSink:
    """Keeps the records."""

    records: list[PredictionRecord] = field(default_factory=list)

    def put(self, record: PredictionRecord) -> None:
        """Take a record."""
        self.records.append(record)

    def flush(self) -> None:
        """Do nothing: what was put is here."""


def skew_app(views: Mapping[str, Mapping[str, Any]], *, extra: Sequence[Any] = (), **model: Any) -> App:
    """Return an app of the source `payments`, views over it, and the model `risk` that reads all of them."""
    source = gn.DataSource("payments", path="*.parquet", id="id", event_time="at", known_time="known")
    customer = gn.Entity("customer", key="customer")
    made = [gn.FeatureView(name, entity=customer, source=source, **view) for name, view in views.items()]
    label = gn.Label("note_is_bad", source=source, positive=gn.col("note").equals("bad"), delay="0d")
    fields = {"task": "regression", "features": [*made, *extra], **model}
    risk = gn.Model("risk", label=label, **{**fields, "task": "binary"})
    return App.of("world", [source, customer, *made, *extra, label, risk]).with_schemas({"payments": SCHEMA})


class SkewWorld:
    """Tables, an online store, a log; and a model version that was trained with one app.

    Args:
        folder: Holds the tables.
        url: Server of the online store.
        app: What the version was trained with.
    """

    def __init__(self, folder: Path, url: str, app: App) -> None:
        self.offline = DeltaTables(folder / "tables")
        self.online = RedisOnlineStore(url, uuid.uuid4().hex, 10.0)
        self.log = OfflinePredictionLog(self.offline)
        self.app = app
        self.revisions: list[App] = []
        self.materialized: dict[str, list[int]] = {}
        self._clock = HandClock(folder / "clock", datetime(2026, 1, 1, tzinfo=UTC))

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows: `customer`, `at`, and optionally `known`, `stored` (hours), `id` and values."""
        full = [{"id": f"e{next(_COUNTER)}", **row} for row in rows]
        times = {
            EVENT_TIME: [hour(r["at"]) for r in full],
            KNOWN_TIME: [hour(r.get("known", r["at"])) for r in full],
            INGESTED_AT: [hour(r.get("stored", r.get("known", r["at"]))) for r in full],
        }
        columns = {name: pa.array([r.get(name) for r in full], dtype) for name, dtype in _ARROW.items()}
        stamps = {name: pa.array(values, pa.int64()).cast(_TIME) for name, values in times.items()}
        texts = {EVENT_ID: columns["id"], DIGEST: pa.array([uuid.uuid4().hex for _ in full])}
        table = pa.table({**columns, "at": stamps[EVENT_TIME], "known": stamps[KNOWN_TIME], **stamps, **texts})
        self.offline.append("payments", table, uuid.uuid4().hex)

    def materialize(self, at: float, *views: str, app: App | None = None) -> None:
        """Bring views (all by default) online as known at an hour; by other definitions where some are given."""
        definitions = app or self.app
        for view in views or [view.name for view in definitions.all(FeatureView)]:
            materialize(definitions, view, self.offline, self.online, hour(at), local_rows=10**9)
            self.materialized.setdefault(view, []).append(hour(at))

    def predict(
        self, customers: Sequence[int], at: float, *, app: App | None = None, logged_later: float = 0.0,
        fields: Mapping[str, Sequence[Any]] | None = None,
    ) -> list[str]:  # fmt: skip
        """Ask for a prediction of each customer through the request path and log it; return the prediction ids.

        Args:
            customers: One prediction each.
            at: What the replica's clock says, in hours.
            app: The definitions that are read with, where they are not those of training.
            logged_later: Hours that the log's times are later than the replica's.
            fields: Request fields.
        """
        signature = model_signature(self.app, "risk")
        sink = ListSink()
        moment = hour(at)
        self._clock.set(datetime.fromtimestamp(moment / 1e6, UTC))
        computed = RequestFeatures(self.app, signature.request_features, resolve)
        path = RequestPath(
            ServedVersion("risk", "risk", 1), signature, read_plan(app or self.app, signature.lookups), self.online,
            computed if signature.request_features else None, SumPredictor(), sink, self._clock,
        )  # fmt: skip
        for start in range(0, len(customers), 1000):
            rows = [
                {"customer": int(c), **{n: v[start + i] for n, v in (fields or {}).items()}}
                for i, c in enumerate(customers[start : start + 1000])
            ]
            path.answer(json.dumps({"rows": rows}).encode())
        shift = hour(logged_later) - hour(0)
        records = [replace(r, time_us=r.time_us + shift) for r in sink.records]
        self.write(records)
        return [record.prediction_id for record in records]

    def write(self, records: Sequence[PredictionRecord]) -> None:
        """Log records as they are."""
        self.log.append("risk", records, uuid.uuid4().hex)

    def audit(self, *, now: float = 10_000.0, moments: bool = False, **more: Any) -> SkewReport:
        """Audit all that was logged.

        Args:
            now: The moment of the audit, in hours.
            moments: Whether the moments of materializations are known.
            **more: Further fields of the question.
        """
        known = {view: np.array(sorted(times), np.int64) for view, times in self.materialized.items()}
        question = SkewQuestion(
            "risk", {"risk": predictions_table("risk")}, hour(-10_000), hour(now), hour(now),
            known if moments else {}, 10**9, **more,
        )  # fmt: skip
        version = TrainedVersion(
            model_signature(self.app, "risk"), self.app, resolve, [(app, resolve) for app in self.revisions]
        )
        return audit_skew(question, self.offline, lambda number: version, lambda line: None)


def classes_of(report: SkewReport) -> dict[str, dict[str, int]]:
    """Return the counts by class of every feature that has a mismatch."""
    return {name: dict(skew.classes) for name, skew in report.features.items() if skew.mismatches}
