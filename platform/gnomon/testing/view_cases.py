"""A small app and tables of events and requests, from rows as plain dicts: what the tests of view rows are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME, Dtype
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import FeatureView
from gnomon.contracts.sources import DataSource

REQUEST_TIME = "_t"

S = 1_000_000
BIG = 2**53 + 1
SCHEMA: dict[str, Dtype] = {
    "k": "int64",
    "name": "string",
    "id": "string",
    "at": "timestamp",
    "x": "float64",
    "n": "int64",
    "b": "bool",
    "s": "string",
    "ts": "timestamp",
}
TYPES = {"x": pa.float64(), "n": pa.int64(), "b": pa.bool_(), "s": pa.string(), "k": pa.int64(), "name": pa.string()}


def events_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return events; times are int microseconds."""
    columns = {c: pa.array([r[c] for r in rows], t) for c, t in TYPES.items()}
    columns["ts"] = pa.array([r["ts"] for r in rows], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    for time in (EVENT_TIME, KNOWN_TIME, INGESTED_AT):
        columns[time] = pa.array([r[time] for r in rows], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    for text in (EVENT_ID, DIGEST):
        columns[text] = pa.array([r[text] for r in rows], pa.string())
    return pa.table(columns)


def requests_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return requests with both key columns and the time."""
    types = {"k": pa.int64(), "name": pa.string(), REQUEST_TIME: pa.int64()}
    return pa.table({c: pa.array([r[c] for r in rows], t) for c, t in types.items()})


def app_of(keys: tuple[str, ...], features: list[Any], **view: Any) -> tuple[App, FeatureView]:
    """Return an app with one view `v` over the columns of `SCHEMA`, and the view."""
    source = DataSource("src", path="x.parquet", id="id", event_time="at")
    made = FeatureView("v", entity=Entity("thing", key=keys), source=source, features=features, **view)
    return App.of("app", [source, made, Entity("thing", key=keys)]).with_schemas({"src": SCHEMA}), made
