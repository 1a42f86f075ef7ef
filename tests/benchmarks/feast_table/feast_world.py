"""Feast's side of `feast_table`: a feature store over Redis with the file offline store, in Feast's environment.

Its registry is a local file; a row is as Feast wants it, with an event time and a created time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Int64, String
from feast_stores import feature_store
from feast_table.cases import NOW_H, View
from feast_table.race import ENTITIES, race, run_rounds

_ARROW = {"amount": pa.int64(), "note": pa.string()}
_TYPES = {"amount": Int64, "note": String}
_TIME = pa.timestamp("us", tz="UTC")


class FeastWorld:
    """A feature store for one case.

    Args:
        folder: Holds its registry and files.
        url: Server of the online store.
        began: The moment of hour 12, shortly before now.
    """

    def __init__(self, folder: Path, url: str, began: datetime) -> None:
        self._folder, self._url, self._began = folder, url, began
        self._views: dict[str, View] = {}
        self._rows: list[Mapping[str, Any]] = []
        self._store: FeatureStore
        self.configure("case")

    def configure(self, project: str, **online_options: Any) -> None:
        """Begin a project of its own, with options of the Redis online store."""
        self._opening = partial(
            feature_store, self._folder, self._url, f"{project}{self._folder.name}", **online_options
        )
        self._store = self._opening()

    def define(self, **views: View) -> None:
        """Apply views of the entity `customer`, each over a file of its own."""
        self._views = views
        customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
        self._write_files()
        self._store.apply([customer, *(self._feature_view(name, view, customer) for name, view in views.items())])

    def push(self, view: str, *rows: Mapping[str, Any]) -> None:
        """Write rows to the online store in one call."""
        self._store.write_to_online_store(view, self._table(self._views[view], rows).to_pandas(types_mapper=_nullable))

    def ingest(self, *rows: Mapping[str, Any]) -> None:
        """Add rows to the views' files."""
        self._rows.extend(rows)
        self._write_files()

    def materialize(self, view: str, at: float) -> None:
        """Bring online what is new up to an hour."""
        self._store.materialize_incremental(self._hour(at), [view])

    def read(self, view: str, feature: str, *customers: int) -> list[tuple[Any, str]]:
        """Read a feature online; a value and the name of its status each."""
        keys = [{"customer": customer} for customer in customers]
        answer = self._store.get_online_features(features=[f"{view}:{feature}"], entity_rows=keys)
        place = list(answer.proto.metadata.feature_names.val).index(feature)
        statuses = [FieldStatus.Name(status) for status in answer.proto.results[place].statuses]
        return list(zip(answer.to_dict()[feature], statuses, strict=True))

    def join(self, view: str, feature: str, *requests: tuple[int, float]) -> list[Any]:
        """Look a feature up offline for (customer, hour) pairs; as many values as rows come back, in their order."""
        columns = {
            "customer": [customer for customer, _ in requests],
            "event_timestamp": [self._hour(at) for _, at in requests],
            "i": range(len(requests)),
        }
        asked = pd.DataFrame(columns)
        job = self._store.get_historical_features(entity_df=asked, features=[f"{view}:{feature}"])
        values = job.to_arrow().sort_by("i")[feature].to_pylist()
        return [None if value != value else value for value in values]  # NaN, Feast's null of a number

    def race(self) -> list[Any]:
        """Have two processes write the same entities; return the value that each entity is left with."""
        self.define(last=View({"amount": "amount"}))
        race(write_raced, self._opening, self._began)
        return [value for value, _ in self.read("last", "amount", *ENTITIES)]

    def _hour(self, number: float) -> datetime:
        return self._began + timedelta(hours=number - NOW_H)

    def _feature_view(self, name: str, view: View, customer: Entity) -> FeatureView:
        source = FileSource(path=str(self._file(name)), timestamp_field="at", created_timestamp_column="known")
        return FeatureView(
            name=name, entities=[customer], source=source, online=True,
            ttl=None if view.max_age_h is None else timedelta(hours=view.max_age_h),
            schema=[Field(name=feature, dtype=_TYPES[column]) for feature, column in view.features.items()],
        )  # fmt: skip

    def _write_files(self) -> None:
        for name, view in self._views.items():
            pq.write_table(self._table(view, self._rows), self._file(name))

    def _file(self, view: str) -> Path:
        return self._folder / f"{view}.parquet"

    def _table(self, view: View, rows: Any) -> pa.Table:
        features = {
            feature: pa.array([row.get(column) for row in rows], _ARROW[column])
            for feature, column in view.features.items()
        }
        return pa.table({
            "customer": pa.array([row["customer"] for row in rows], pa.int64()), **features,
            "at": pa.array([self._hour(row["at"]) for row in rows], _TIME),
            "known": pa.array([self._hour(row.get("known", row["at"])) for row in rows], _TIME),
        })  # fmt: skip


def write_raced(opening: Callable[[], FeatureStore], began: datetime, number: int, barrier: Any) -> None:
    """Write as one of two writers, in a process of its own."""
    store = opening()
    store.list_feature_views()

    def write(rows: list[tuple[int, int]]) -> None:
        times = [began + timedelta(hours=hour - NOW_H) for _, hour in rows]
        frame = pd.DataFrame(rows, columns=["customer", "amount"])
        store.write_to_online_store("last", frame.assign(at=times, known=times))

    run_rounds(write, number, barrier)


def _nullable(kind: pa.DataType) -> Any:
    return pd.Int64Dtype() if kind == pa.int64() else None


def now() -> datetime:
    """Return what is hour 12 of a world that is made now."""
    return datetime.now(UTC)
