"""Every type of Feast through our stores. Views here have five types; all others travel as text or by their row."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureView, Field
from feast.feature_logging import LOG_TIMESTAMP_FIELD, FeatureServiceLoggingSource, LoggingConfig
from feast.feature_service import FeatureService
from feast.types import (
    Array,
    Bool,
    Bytes,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Json,
    Map,
    Set,
    String,
    Struct,
    UnixTimestamp,
    Uuid,
)
from scenarios.worlds import DRIVER, Both, World, hours, plain, require_same

_MOMENT = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)
ONLINE: dict[str, tuple[Any, Any]] = {
    "int32": (Int32, -(2**31)),
    "int64": (Int64, 2**62 + 1),
    "float32": (Float32, 0.1),
    "float64": (Float64, 1e-300),
    "bool": (Bool, False),
    "string": (String, "né, \U0001f600"),
    "empty string": (String, ""),
    "bytes": (Bytes, b"\x00\xff"),
    "timestamp": (UnixTimestamp, _MOMENT),
    "json": (Json, json.dumps({"a": [1, None]})),
    "map": (Map, {"a": "1", "b": ""}),
    "struct": (Struct({"name": String, "age": String}), {"name": "x", "age": "7"}),
    "uuid": (Uuid, str(uuid.UUID(int=7))),
    "list of int64": (Array(Int64), [1, 2**62 + 1]),
    "list of float64": (Array(Float64), [0.5, -1.0]),
    "list of bool": (Array(Bool), [True, False]),
    "list of string": (Array(String), ["a", ""]),
    "list of bytes": (Array(Bytes), [b"\x00", b""]),
    "list of timestamp": (Array(UnixTimestamp), [_MOMENT]),
    "list of list": (Array(Array(Int64)), [[1, 2], [3]]),
    "set of int64": (Set(Int64), {1, 2}),
    "decimal": (Decimal, "1.10"),
}


@pytest.mark.parametrize("name", ONLINE)
def test_a_type_online(name: str, both: Both) -> None:
    """A value, a null, and no row."""
    dtype, value = ONLINE[name]

    def ask(world: World) -> Any:
        at = [hours(-1), hours(-1)]
        source = world.source("rows", pd.DataFrame({"driver_id": [0], "event_timestamp": [hours(-99)]}))
        schema = [Field(name="value", dtype=dtype), Field(name="other", dtype=Int64)]
        world.store.apply([DRIVER, FeatureView(name="view", entities=[DRIVER], schema=schema, source=source)])
        rows = {"driver_id": [1, 2], "value": [value, None], "other": [1, 2], "event_timestamp": at}
        world.store.write_to_online_store("view", pd.DataFrame(rows).astype({"value": object}))
        return world.online(["view:value", "view:other"], {"driver_id": 1}, {"driver_id": 2}, {"driver_id": 3})

    found = require_same(both(ask))
    assert found["value"][0] is not None
    assert found["value"][1:] == [None, None]


_UTC = pa.timestamp("us", tz="UTC")
OFFLINE: dict[str, tuple[pa.DataType, Any]] = {
    "int8": (pa.int8(), -7),
    "int32": (pa.int32(), 2**31 - 1),
    "int64": (pa.int64(), 2**53 + 1),
    "uint32": (pa.uint32(), 2**32 - 1),
    "float": (pa.float32(), 0.25),
    "double": (pa.float64(), 0.1),
    "bool": (pa.bool_(), True),
    "string": (pa.string(), "né"),
    "binary": (pa.binary(), b"\x00\xff"),
    "timestamp": (_UTC, _MOMENT),
    "time without a zone": (pa.timestamp("us"), _MOMENT.replace(tzinfo=None)),
    "date": (pa.date32(), date(2024, 2, 29)),
    "list of int64": (pa.list_(pa.int64()), [1, 2**62]),
    "list of string": (pa.list_(pa.string()), ["a", ""]),
    "list of double": (pa.list_(pa.float64()), [0.5]),
    "list of bool": (pa.list_(pa.bool_()), [True]),
    "empty list": (pa.list_(pa.int64()), []),
    "struct": (pa.struct([("a", pa.string()), ("b", pa.int64())]), {"a": "x", "b": 1}),
    "map": (pa.map_(pa.string(), pa.string()), [("a", "1")]),
}


@pytest.mark.parametrize("name", OFFLINE)
def test_a_type_offline(name: str, both: Both) -> None:
    """A value, a null, and no row; ours keeps the Arrow type of the source."""
    kind, value = OFFLINE[name]
    feast_type = {"date": UnixTimestamp, "map": Map, "struct": Struct({"a": String, "b": Int64})}.get(name, String)

    def ask(world: World) -> Any:
        rows = pa.table({
            "driver_id": pa.array([1, 2]), "value": pa.array([value, None], kind),
            "event_timestamp": pa.array([hours(-2)] * 2, _UTC),
        })  # fmt: skip
        schema = [Field(name="value", dtype=feast_type)]
        view = FeatureView(name="view", entities=[DRIVER], schema=schema, source=world.source("rows", rows))
        world.store.apply([DRIVER, view])
        asked = pd.DataFrame({"driver_id": [3, 1, 2], "event_timestamp": [hours(-1)] * 3})
        found = world.store.get_historical_features(entity_df=asked, features=["view:value"]).to_arrow()
        if world.ours:
            assert found.schema.field("value").type == kind
            assert found["driver_id"].to_pylist() == [3, 1, 2]
        return dict(sorted(zip(found["driver_id"].to_pylist(), found["value"].to_pylist(), strict=True)))

    answers = both(ask)
    require_same(answers)
    assert plain(answers[1]) == {1: plain(value), 2: None, 3: None}


def test_types_are_inferred_from_the_rows(both: Both) -> None:
    """A view without a schema has the columns of its source, with Feast's types."""

    def ask(world: World) -> Any:
        rows = pa.table({
            "driver_id": pa.array([1], pa.int64()), "i": pa.array([1], pa.int32()), "f": pa.array([0.5], pa.float32()),
            "s": pa.array(["x"]), "b": pa.array([True]), "l": pa.array([[1]], pa.list_(pa.int64())),
            "event_timestamp": pa.array([hours(-2)], _UTC),
        })  # fmt: skip
        world.store.apply([DRIVER, FeatureView(name="view", entities=[DRIVER], source=world.source("rows", rows))])
        view = world.store.get_feature_view("view")
        return {field.name: str(field.dtype) for field in [*view.features, *view.entity_columns]}

    assert len(require_same(both(ask))) == 6


@pytest.mark.feast_store("file")
def test_served_features_are_logged(both: Both) -> None:
    """In two batches, and read again by time."""

    def ask(world: World) -> Any:
        rows = pd.DataFrame({"driver_id": [1], "rate": [0.5], "event_timestamp": [hours(-2)]})
        schema = [Field(name="rate", dtype=Float64)]
        view = FeatureView(name="view", entities=[DRIVER], schema=schema, source=world.source("rows", rows))
        service = FeatureService(
            name="service", features=[view], logging_config=LoggingConfig(destination=world.logs("logs"))
        )  # fmt: skip
        world.store.apply([DRIVER, view, service])
        schema_of_logs = FeatureServiceLoggingSource(service, world.store.project).get_schema(world.store.registry)
        for batch in range(2):
            logged = [
                {
                    "driver_id": n, "view__rate": n / 4, "view__rate__timestamp": hours(-2), "view__rate__status": 2,
                    LOG_TIMESTAMP_FIELD: hours(-1 + batch / 4), "__log_date": hours(0).date(),
                    "__request_id": f"{batch}.{n}",
                }
                for n in range(3)
            ]  # fmt: skip
            world.store.write_logged_features(pa.Table.from_pylist(logged, schema_of_logs), service)
        job = world.store._get_provider().retrieve_feature_service_logs(
            feature_service=service, start_date=hours(-1), end_date=hours(-0.5), config=world.store.config,
            registry=world.store.registry,
        )  # fmt: skip
        found = job.to_df()[["driver_id", "view__rate", "view__rate__status", "__request_id"]]
        return found.sort_values("__request_id").to_dict("list")

    ours = require_same(both(ask))
    assert ours["__request_id"] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert ours["view__rate"] == [0.0, 0.25, 0.5] * 2
