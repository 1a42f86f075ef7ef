"""Historical features: the same answers from our Delta tables and point-in-time join as from Feast's DuckDB store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feast import FeatureService, FeatureView, Field, RequestSource
from feast.driver_test_data import (
    create_customer_daily_profile_df,
    create_driver_hourly_stats_df,
    create_field_mapping_df,
    create_global_daily_stats_df,
    create_location_stats_df,
    create_orders_df,
)
from feast.entity import Entity
from feast.errors import RequestDataNotFoundInEntityDfException
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.types import Float32, Float64, Int32, Int64, String
from feast.value_type import ValueType
from scenarios.worlds import CUSTOMER, DRIVER, Both, World, hours, in_order, require_same, rows_of

LOCATION = Entity(name="location", join_keys=["location_id"], value_type=ValueType.INT64)
DRIVERS, CUSTOMERS, LOCATIONS = list(range(5001, 5020)), list(range(1001, 1020)), list(range(1, 50))
_START, _END = hours(-72), hours(0)
np.random.seed(0)  # the generators draw from it
_SIMPLE = ["driver_id", "conv_rate", "acc_rate", "avg_daily_trips", "event_timestamp", "created"]
DATA = {
    "driver": create_driver_hourly_stats_df(DRIVERS, _START, _END)[_SIMPLE],
    "customer": create_customer_daily_profile_df(CUSTOMERS, _START, _END),
    "location": create_location_stats_df(LOCATIONS, _START, _END),
    "everyone": create_global_daily_stats_df(_START, _END),
    "mapped": create_field_mapping_df(_START, _END),
    "orders": create_orders_df(CUSTOMERS, DRIVERS, _START, _END, 20, LOCATIONS),
}
"""Rows of Feast's own generators, as its suite has them."""
for _rows in (DATA["orders"], DATA["mapped"]):  # these have times of many zones in one column
    _rows["event_timestamp"] = pd.to_datetime(_rows["event_timestamp"], utc=True)


def _plus(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"plus": inputs["conv_rate"] + inputs["val_to_add"], "plus_100": inputs["conv_rate"] + 100})


def views(world: World, ttl: timedelta | None = timedelta(days=2)) -> dict[str, Any]:
    """Apply the views that Feast's suite has, and return them."""
    ttl = ttl or timedelta(0)
    sources = {
        name: world.source(name, rows, "created" if "created" in rows else "",
                           {"column_name": "feature_name"} if name == "mapped" else None)
        for name, rows in DATA.items()
    }  # fmt: skip
    driver = FeatureView(
        name="driver_stats", entities=[DRIVER], ttl=ttl, source=sources["driver"],
        schema=[Field(name="conv_rate", dtype=Float32), Field(name="avg_daily_trips", dtype=Int32)],
    )  # fmt: skip
    made = {
        "driver": driver,
        "customer": FeatureView(
            name="customer_profile", entities=[CUSTOMER], ttl=ttl, source=sources["customer"],
            schema=[Field(name="current_balance", dtype=Float32), Field(name="lifetime_trip_count", dtype=Int32)],
        ),
        "location": FeatureView(
            name="location_stats", entities=[LOCATION], ttl=ttl, source=sources["location"],
            schema=[Field(name="temperature", dtype=Int32)],
        ),
        "orders": FeatureView(
            name="order", entities=[DRIVER, CUSTOMER], ttl=ttl, source=sources["orders"],
            schema=[Field(name="order_is_success", dtype=Int32)],
        ),
        "everyone": FeatureView(
            name="global_stats", entities=[], ttl=ttl, source=sources["everyone"],
            schema=[Field(name="num_rides", dtype=Int32), Field(name="avg_ride_length", dtype=Float32)],
        ),
        "mapped": FeatureView(
            name="field_mapping", entities=[], ttl=ttl, source=sources["mapped"],
            schema=[Field(name="feature_name", dtype=Int32)],
        ),
        "on_demand": OnDemandFeatureView(
            name="added", udf=_plus, udf_string="_plus", mode="pandas",
            schema=[Field(name="plus", dtype=Float64), Field(name="plus_100", dtype=Float64)],
            sources=[driver, RequestSource(name="request", schema=[Field(name="val_to_add", dtype=Int32)])],
        ),
    }  # fmt: skip
    world.store.apply([DRIVER, CUSTOMER, LOCATION, *made.values()])
    return made


ALL = [
    "driver_stats:conv_rate", "driver_stats:avg_daily_trips", "customer_profile:current_balance",
    "customer_profile:lifetime_trip_count", "order:order_is_success", "global_stats:num_rides",
    "global_stats:avg_ride_length", "field_mapping:feature_name",
]  # fmt: skip


def entities(*more: str) -> pd.DataFrame:
    """Return the entity rows of Feast's suite."""
    return DATA["orders"][["order_id", "driver_id", "customer_id", "event_timestamp", *more]]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("ttl", [timedelta(days=2), None], ids=["ttl", "no_ttl"])
def test_many_views_of_many_entities(full: bool, ttl: timedelta | None, both: Both) -> None:
    """Composite keys, no keys, mapped fields; with and without the views' names."""

    def ask(world: World) -> pd.DataFrame:
        views(world, ttl)
        return world.historical(entities(), ALL, full_feature_names=full)

    assert len(require_same(both(ask))) == 20


@pytest.mark.parametrize("full", [True, False])
def test_on_demand_features_and_projections(full: bool, both: Both) -> None:
    def ask(world: World) -> pd.DataFrame:
        views(world)
        asked = entities().assign(val_to_add=range(20))
        return world.historical(asked, ["driver_stats:conv_rate", "added:plus"], full_feature_names=full)

    found = require_same(both(ask))
    assert not any("plus_100" in name for name in found[0])


def test_request_data_that_is_missing(both: Both) -> None:
    def ask(world: World) -> str:
        views(world)
        with pytest.raises(RequestDataNotFoundInEntityDfException) as caught:
            world.historical(entities(), ["added:plus"])
        return str(caught.value)

    require_same(both(ask))


def test_one_view_under_two_names_and_keys(both: Both) -> None:
    """A projection with another name and other key columns, as for origin and destination."""

    def ask(world: World) -> pd.DataFrame:
        location = views(world)["location"]
        service = FeatureService(name="places", features=[
            location.with_name(name).with_join_key_map({"location_id": f"{name}_id"})
            for name in ("origin", "destination")
        ])  # fmt: skip
        world.store.apply([service])
        return world.historical(
            entities("origin_id", "destination_id"), world.store.get_feature_service("places"), full_feature_names=True
        )

    assert {"origin__temperature", "destination__temperature"} <= set(require_same(both(ask))[0])


def _trips(world: World, rows: list[dict[str, Any]], ttl: timedelta | None = None) -> None:
    source = world.source("trips", pd.DataFrame(rows), "created")
    schema = [Field(name="trips", dtype=Int64)]
    world.store.apply([DRIVER, FeatureView(name="trips", entities=[DRIVER], schema=schema, source=source, ttl=ttl)])


def _row(driver: int, trips: int, at: float, created: float) -> dict[str, Any]:
    return {"driver_id": driver, "trips": trips, "event_timestamp": hours(at), "created": hours(created)}


def _asked(*times: float) -> pd.DataFrame:
    return pd.DataFrame({"driver_id": [1 + i % 2 for i in range(len(times))], "event_timestamp": map(hours, times)})


def test_backfilled_rows(both: Both) -> None:
    """Of one event time the later created row counts; of two, the later event, whenever it was created."""

    def ask(world: World) -> pd.DataFrame:
        rows = [_row(1, 20, 0, 24), _row(1, 10, 0, 0), _row(2, 30, 0, 24), _row(2, 40, 24, 0)]
        _trips(world, rows)
        return world.historical(_asked(48, 48), ["trips:trips"])

    assert [row["trips"] for row in require_same(both(ask))] == [20, 40]


def test_the_edges_of_the_ttl(both: Both) -> None:
    """Feast still has a value whose age is exactly the ttl; the plugin says so to our join."""

    def ask(world: World) -> pd.DataFrame:
        _trips(world, [_row(1, 10, -10, -10), _row(2, 20, -10, -10)], timedelta(hours=2))
        return world.historical(_asked(-8, -8 + 1 / 3600, -10, -10 - 1 / 3600), ["trips:trips"])

    found = require_same(both(ask))
    assert [(row["driver_id"], row["trips"]) for row in found] == [(2, None), (1, 10), (1, 10), (2, None)]


def test_rows_that_were_not_created_yet(both: Both) -> None:
    """Feast's `filter_by_created_timestamp` is our known time."""

    def ask(world: World) -> pd.DataFrame:
        _trips(world, [_row(1, 10, -10, -10), _row(1, 20, -9, -5), _row(2, 30, -9, -3)])
        return world.historical(
            _asked(-6, -6, -5, -2), ["trips:trips"], filter_by_created_timestamp=True
        )  # fmt: skip

    assert [row["trips"] for row in require_same(both(ask))] == [10, None, 20, 30]


def test_label_rows_without_a_match_and_repeated_ones_stay(both: Both) -> None:
    def ask(world: World) -> pd.DataFrame:
        _trips(world, [_row(1, 10, -10, -10)])
        asked = pd.concat([_asked(-5, -5), _asked(-5, -5), pd.DataFrame({
            "driver_id": [77], "event_timestamp": [hours(-5)],
        })], ignore_index=True)  # fmt: skip
        return world.historical(asked, ["trips:trips"])

    assert [row["trips"] for row in require_same(both(ask))] == [10, 10, None, None, None]


def test_numbers_beyond_2_to_53_beside_nulls(both: Both) -> None:
    def ask(world: World) -> list[Any]:
        _trips(world, [_row(1, 2**53 + 1, -10, -10)])
        job = world.store.get_historical_features(entity_df=_asked(-5, -5), features=["trips:trips"])
        return sorted(job.to_arrow()["trips"].to_pylist(), key=str)

    assert require_same(both(ask)) == [2**53 + 1, None]


def test_a_key_that_is_called_otherwise_in_the_source(both: Both) -> None:
    def ask(world: World) -> pd.DataFrame:
        rows = pd.DataFrame([_row(1, 20, -2, -1), _row(2, 40, -1, -2)]).rename(columns={"driver_id": "id"})
        source = world.source("trips", rows, "created", {"id": "driver_id"})
        schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int32)]
        world.store.apply([DRIVER, FeatureView(name="trips", entities=[DRIVER], schema=schema, source=source)])
        return world.historical(_asked(0, 0), ["trips:trips"])

    assert [row["trips"] for row in require_same(both(ask))] == [20, 40]


def test_text_keys(both: Both) -> None:
    def ask(world: World) -> pd.DataFrame:
        user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
        rows = pd.DataFrame({
            "user_id": ["a", "ü", "a,b"], "note": ["x", None, ""], "event_timestamp": [hours(-1)] * 3,
        })  # fmt: skip
        schema = [Field(name="note", dtype=String)]
        view = FeatureView(name="notes", entities=[user], schema=schema, source=world.source("notes", rows))
        world.store.apply([user, view])
        asked = pd.DataFrame({"user_id": ["ü", "a,b", "a", "b"], "event_timestamp": [hours(0)] * 4})
        return world.historical(asked, ["notes:note"])

    found = require_same(both(ask))
    assert {row["user_id"]: row["note"] for row in found} == {"a": "x", "a,b": "", "ü": None, "b": None}


def test_a_saved_data_set(both: Both) -> None:
    def ask(world: World) -> pd.DataFrame:
        views(world)
        job = world.store.get_historical_features(entity_df=entities(), features=ALL)
        world.store.create_saved_dataset(from_=job, name="saved", storage=world.saved("saved"), allow_overwrite=True)
        again = world.store.get_saved_dataset("saved").to_df()
        assert len(again) == 20
        return in_order(again[sorted(again.columns)])

    require_same(both(ask))


@pytest.mark.feast_store("file")
def test_entities_are_not_named(both: Both) -> None:
    """Each entity that has a row in the time gets its newest one, as of the end."""

    def ask(world: World) -> list[dict[str, Any]]:
        _trips(world, [_row(d, 10 * d + n, -30 + 10 * n, -30 + 10 * n) for d in (1, 2) for n in range(3)])
        return rows_of(world.historical(None, ["trips:trips"], start_date=hours(-72), end_date=hours(1)))

    found = require_same(both(ask))
    assert [(row["driver_id"], row["trips"]) for row in found] == [(1, 12), (2, 22)]
