"""Online features: the same answers from our store as from Feast's SQLite store, but for what Feast gets wrong."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from feast import FeatureService, FeatureView, Field
from feast.data_source import PushMode, PushSource
from feast.types import Float32, Float64, Int64, String
from scenarios.scenario_historical import CUSTOMERS, DATA, DRIVERS, views
from scenarios.worlds import DRIVER, Both, World, hours, require_same, rows_of

_FEATURES = ["stats:rate", "stats:trips", "stats:note"]


def _rows(*rows: tuple[int, Any, Any, Any, float]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["driver_id", "rate", "trips", "note", "hour"])
    made["event_timestamp"] = [hours(hour) for hour in made.pop("hour")]
    return made.assign(created=made["event_timestamp"]).astype({"trips": "Int64"})


def _stats(world: World, rows: pd.DataFrame | None = None, name: str = "stats", ttl: timedelta | None = None) -> Any:
    empty = _rows((1, 0.5, 1, "x", -100))
    source = world.source(f"{name}_rows", empty if rows is None else rows, "created")
    return FeatureView(
        name=name, entities=[DRIVER], source=source, ttl=ttl or timedelta(days=7),
        schema=[Field(name="rate", dtype=Float64), Field(name="trips", dtype=Int64), Field(name="note", dtype=String)],
    )  # fmt: skip


def _keys(*drivers: int) -> list[dict[str, Any]]:
    return [{"driver_id": driver} for driver in drivers]


def test_what_is_written_is_read(both: Both) -> None:
    """Repeated and unknown entities keep the order of the question."""

    def ask(world: World) -> Any:
        world.store.apply([DRIVER, _stats(world)])
        world.store.write_to_online_store("stats", _rows((123, 0.85, 14, "a", -1), (7, 0.25, 2**53 + 1, "ü", -1)))
        return world.online(_FEATURES, *_keys(7, 123, 99, 7))

    assert require_same(both(ask))["trips"] == [2**53 + 1, 14, None, 2**53 + 1]


def test_times_of_the_rows(both: Both) -> None:
    def ask(world: World) -> Any:
        world.store.apply([DRIVER, _stats(world)])
        world.store.write_to_online_store("stats", _rows((1, 0.5, 4, "a", -30), (2, 0.3, 5, "b", -2)))
        answer = world.store.get_online_features(features=_FEATURES, entity_rows=_keys(1, 2))
        return answer.to_df(include_event_timestamps=True).to_dict("list")

    assert require_same(both(ask))["trips__ts"] == [int(hours(-30).timestamp()), int(hours(-2).timestamp())]


def test_full_names_and_services(both: Both) -> None:
    def ask(world: World) -> Any:
        view = _stats(world)
        world.store.apply([DRIVER, view, FeatureService(name="service", features=[view[["trips"]]])])
        world.store.write_to_online_store("stats", _rows((1, 0.5, 4, "a", -3)))
        return [
            world.online(_FEATURES, *_keys(1), full=True),
            world.online(world.store.get_feature_service("service"), *_keys(1)),
        ]

    found = require_same(both(ask))
    assert (found[0]["stats__note"], found[1]["trips"]) == (["a"], [4])


def test_a_feature_that_a_view_lacks(both: Both) -> None:
    def ask(world: World) -> bool:
        world.store.apply([DRIVER, _stats(world)])
        with pytest.raises(KeyError):
            world.online(["stats:lacks"], *_keys(1))
        return True

    require_same(both(ask))


@pytest.mark.feast_store("file")
def test_materialization_of_many_views(both: Both) -> None:
    """All views of the suite, with composite keys, without keys and with mapped fields."""
    features = [
        "driver_stats:conv_rate", "driver_stats:avg_daily_trips", "customer_profile:current_balance",
        "customer_profile:lifetime_trip_count", "global_stats:num_rides", "global_stats:avg_ride_length",
        "field_mapping:feature_name", "order:order_is_success", "added:plus",
    ]  # fmt: skip

    def ask(world: World) -> Any:
        views(world, ttl=None)  # what Feast serves beyond a ttl is in scenario_differences
        world.store.materialize(hours(-72), hours(0))
        pairs = [*zip(DRIVERS[:10], CUSTOMERS[:10], strict=True)]
        pairs += list(DATA["orders"][["driver_id", "customer_id"]].itertuples(index=False, name=None))
        asked = [{"driver_id": int(d), "customer_id": int(c), "val_to_add": 50} for d, c in pairs]
        return world.online(features, *asked)

    found = require_same(both(ask))
    assert all(any(value is not None for value in found[name]) for name in found)


@pytest.mark.feast_store("file")
def test_one_view_under_two_names_and_keys(both: Both) -> None:
    def ask(world: World) -> Any:
        location = views(world)["location"]
        world.store.materialize(hours(-72), hours(0))
        service = FeatureService(name="places", features=[
            location.with_name(name).with_join_key_map({"location_id": f"{name}_id"})
            for name in ("origin", "destination")
        ])  # fmt: skip
        world.store.apply([service])
        keys = [{"origin_id": 1 + n, "destination_id": 30 - n} for n in range(5)]
        return world.online(world.store.get_feature_service("places"), *keys, full=True)

    assert None not in require_same(both(ask))["origin__temperature"]


def test_materialization_goes_on_where_it_was(both: Both) -> None:
    """`materialize` up to a time, then `materialize_incremental` of what is newer."""

    def ask(world: World) -> Any:
        rows = _rows(*((d, d / 10, d * 100 + n, f"{d}.{n}", -10 + n) for d in (1, 2) for n in range(10)))
        world.store.apply([DRIVER, _stats(world, rows)])
        answers = []
        world.store.materialize(hours(-20), hours(-6.5))
        answers.append(world.online(_FEATURES, *_keys(1, 2, 3)))
        world.store.materialize_incremental(hours(0))
        return [*answers, world.online(_FEATURES, *_keys(1, 2, 3))]

    first, second = require_same(both(ask))
    assert (first["trips"], second["trips"]) == ([103, 203, None], [109, 209, None])


@pytest.mark.feast_store("file")
def test_rows_that_are_pushed(both: Both) -> None:
    """Online and offline at once: served, and part of the history."""

    def ask(world: World) -> Any:
        old = _rows((1, 0.5, 1, "x", -100)).astype({"trips": "int64"})
        view = _stats(world, old)
        pushed = PushSource(name="pushed", batch_source=view.batch_source)
        view = FeatureView(
            name="stats", entities=[DRIVER], source=pushed, schema=list(view.features), ttl=timedelta(days=7)
        )  # fmt: skip
        world.store.apply([DRIVER, pushed, view])
        row = _rows((1, 1.0, 1000, "new", -1)).astype({"trips": "int64"})
        world.store.push("pushed", row, to=PushMode.ONLINE_AND_OFFLINE)
        asked = pd.DataFrame({"driver_id": [1, 1], "event_timestamp": [hours(-1.5), hours(0)]})
        return [world.online(_FEATURES, *_keys(1)), rows_of(world.historical(asked, ["stats:trips"]))]

    served, history = require_same(both(ask))
    assert (served["trips"], [row["trips"] for row in history]) == ([1000], [1, 1000])


def test_a_view_that_goes_takes_its_rows_and_no_others(both: Both) -> None:
    def ask(world: World) -> Any:
        one, two = _stats(world), _stats(world, name="other")
        world.store.apply([DRIVER, one, two])
        for name in ("stats", "other"):
            world.store.write_to_online_store(name, _rows((1, 0.5, 4, name, -1)))
        world.store.apply([one], objects_to_delete=[two], partial=False)
        kept = world.online(_FEATURES, *_keys(1))
        world.store.apply([], objects_to_delete=[one], partial=False)
        world.store.apply([DRIVER, one, two])
        return [kept, world.online([*_FEATURES, "other:trips"], *_keys(1), full=True)]

    kept, gone = require_same(both(ask))
    assert (kept["trips"], gone["stats__trips"], gone["other__trips"]) == ([4], [None], [None])


def test_float32_comes_back_as_it_was(both: Both) -> None:
    def ask(world: World) -> Any:
        rows = pd.DataFrame({"driver_id": [1], "r": [0.1], "event_timestamp": [hours(-1)]}).astype({"r": "float32"})
        view = FeatureView(
            name="f", entities=[DRIVER], schema=[Field(name="r", dtype=Float32)], source=world.source("f_rows", rows)
        )  # fmt: skip
        world.store.apply([DRIVER, view])
        world.store.materialize(hours(-5), hours(0))
        return world.online(["f:r"], *_keys(1))

    require_same(both(ask))


def test_reads_and_writes_may_be_awaited(both: Both) -> None:
    def ask(world: World) -> Any:
        world.store.apply([DRIVER, _stats(world)])
        if not world.ours:
            world.store.write_to_online_store("stats", _rows((1, 0.5, 4, "a", -3)))
            return world.online(_FEATURES, *_keys(1, 2))

        async def awaited() -> Any:
            await world.store.initialize()
            await world.store.write_to_online_store_async("stats", _rows((1, 0.5, 4, "a", -3)))
            answer = await world.store.get_online_features_async(features=_FEATURES, entity_rows=_keys(1, 2))
            await world.store.close()
            return answer.to_dict()

        return asyncio.run(awaited())

    assert require_same(both(ask))["trips"] == [4, None]
