"""Where our stores answer otherwise than Feast's own, through Feast's own interface; each is one that Feast gets wrong.

The first of the two answers is that of Feast's stores: what is asserted of it is what Feast does, right or wrong.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
from feast import FeatureView, Field
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.types import Int64
from scenarios.worlds import DRIVER, Both, World, hours


def _view(world: World, ttl: timedelta = timedelta(hours=3)) -> FeatureView:
    rows = _rows((1, 0, -99, -99))
    schema = [Field(name="trips", dtype=Int64)]
    source = world.source("trips_rows", rows, "created")
    view = FeatureView(name="view", entities=[DRIVER], schema=schema, source=source, ttl=ttl)
    world.store.apply([DRIVER, view])
    return view


def _rows(*rows: tuple[int, Any, float, float]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["driver_id", "trips", "event_timestamp", "created"]).astype({"trips": "Int64"})
    return made.assign(**{name: made[name].map(hours) for name in ("event_timestamp", "created")})


def _answer(world: World, *drivers: int) -> list[tuple[int | None, str]]:
    answer = world.store.get_online_features(
        features=["view:trips"], entity_rows=[{"driver_id": driver} for driver in drivers]
    )  # fmt: skip
    place = list(answer.proto.metadata.feature_names.val).index("trips")
    statuses = [FieldStatus.Name(status) for status in answer.proto.results[place].statuses]
    return list(zip(answer.to_dict()["trips"], statuses, strict=True))


def test_a_value_older_than_its_ttl(both: Both) -> None:
    """Feast serves it; ours is null. (value older than its TTL, read online)"""

    def ask(world: World) -> Any:
        _view(world)
        world.store.write_to_online_store("view", _rows((1, 7, -5, -5), (2, 8, -1, -1)))
        return [value for value, _ in _answer(world, 1, 2)]

    assert both(ask) == ([7, 8], [None, 8])


def test_an_older_row_that_comes_later(both: Both) -> None:
    """Feast's store takes it; in ours the newer one stays. (older row later in a batch, or late)"""

    def ask(world: World) -> Any:
        _view(world)
        world.store.write_to_online_store("view", _rows((1, 7, -1, -1)))
        world.store.write_to_online_store("view", _rows((1, 6, -2, -2)))
        world.store.write_to_online_store("view", _rows((2, 9, -1, -1), (2, 8, -2, -2)))
        return [value for value, _ in _answer(world, 1, 2)]

    assert both(ask) == ([6, 8], [7, 9])


def test_corrections_of_the_same_time(both: Both) -> None:
    """The later created one counts, in whatever order they come. (correction with the same timestamp)"""

    def ask(world: World) -> Any:
        _view(world)
        for row in ((1, 5, -1, -1), (1, 7, -1, -0.5), (1, 6, -1, -0.75)):
            world.store.write_to_online_store("view", _rows(row))
        return [value for value, _ in _answer(world, 1)]

    assert both(ask) == ([6], [7])


def test_a_newer_null(both: Both) -> None:
    """It replaces the value in both; that is so with Feast's SQLite store, and not with its Redis store."""

    def ask(world: World) -> Any:
        _view(world)
        world.store.write_to_online_store("view", _rows((1, 7, -2, -2)))
        world.store.write_to_online_store("view", _rows((1, None, -1, -1), (2, 8, -1, -1)))
        return [value for value, _ in _answer(world, 1, 2)]

    assert both(ask) == ([None, 8], [None, 8])


def test_a_view_that_has_changed(both: Both) -> None:
    """Feast goes on with the old rows; ours is another version, whose rows are there once they are materialized."""

    def ask(world: World) -> Any:
        at = [hours(-1)]
        rows = pd.DataFrame({"driver_id": [1], "trips": [7], "more": [8], "event_timestamp": at, "created": at})
        source = world.source("rows", rows, "created")
        answers = []
        for names in (["trips"], ["trips", "more"]):
            schema = [Field(name=name, dtype=Int64) for name in names]
            view = FeatureView(name="view", entities=[DRIVER], schema=schema, source=source, ttl=timedelta(hours=9))
            world.store.apply([DRIVER, view])
            if answers:
                answers.append(_answer(world, 1)[0][0])
            world.store.materialize(hours(-5), hours(0))
            answers.append(_answer(world, 1)[0][0])
        return answers

    assert both(ask) == ([7, 7, 7], [7, None, 7])
