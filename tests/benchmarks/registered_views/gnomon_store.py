"""Ours: plans compiled by `read_plan` from an app with many views; a contestant of `registered_views`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import pyarrow as pa
from contestant import run
from online_read.rows import check
from registered_views.rows import (
    ENTITIES,
    FEATURES,
    OTHER_FEATURE,
    VIEW,
    columns,
    numbers_of_views,
    other_views,
    project,
    requests,
    time_against_one,
)

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.online_store import OnlineRows, Status
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore

_SCHEMA = {"id": "string", "at": "timestamp", "entity": "int64", **dict.fromkeys([*FEATURES, OTHER_FEATURE], "float64")}


class GnomonStore:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._apps: dict[int, App] = {}
        self._stores: dict[int, RedisOnlineStore] = {}

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write a row of every entity into every view."""
        self.open(world)
        now_us = time.time_ns() // 1000
        times = pa.array([now_us] * ENTITIES, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        values = pa.table({
            "entity": pa.array(range(ENTITIES), pa.int64()), EVENT_TIME: times, KNOWN_TIME: times,
            **{name: pa.array(column) for name, column in columns().items()},
            OTHER_FEATURE: pa.array([0.0] * ENTITIES),
        })  # fmt: skip
        for views, app in self._apps.items():
            for view in app.all(FeatureView):
                layout = view_layout(app, view.name)
                names = ["entity", EVENT_TIME, KNOWN_TIME, *(column.name for column in layout.columns)]
                self._stores[views].write(layout, values.select(names))

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the apps and the stores."""
        for views in numbers_of_views(world):
            self._apps[views] = _app(views)
            self._stores[views] = RedisOnlineStore(world["url"], project(views))
        return {name: version(name) for name in ("gnomon", "redis", "hiredis", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time reads; what the first one takes includes compiling the plan."""
        views, asked = scenario["views"], requests()
        began = time.perf_counter()
        many = self._reader(views)
        plan_us = (time.perf_counter() - began) * 1e6
        timed = time_against_one(many, self._reader(1), asked, budget_s)
        answer: OnlineRows = many(asked[0])
        assert (answer.status == Status.PRESENT).all()
        found = check(answer.values[f"{VIEW}.{name}"].tolist() for name in FEATURES)
        return {**timed, "first_us": timed["first_us"] + plan_us, "check": found}

    def close(self) -> None:
        """Close the connections."""
        for store in self._stores.values():
            store.close()

    def _reader(self, views: int) -> Callable[[Any], OnlineRows]:
        return partial(_read, self._stores[views], read_plan(self._apps[views], [VIEW]))


def _read(store: RedisOnlineStore, plan: Any, keys: Any) -> OnlineRows:
    return store.read(plan, keys, time.time_ns() // 1000)


def _app(views: int) -> App:
    entity = gn.Entity("entity", key="entity")
    source = gn.DataSource("rows", path="rows.parquet", id="id", event_time="at")
    parts: Any = {"entity": entity, "source": source, "max_age": "1d"}
    read = gn.FeatureView(VIEW, features=[gn.Column(name) for name in FEATURES], **parts)
    others = [gn.FeatureView(name, features=[gn.Column(OTHER_FEATURE)], **parts) for name in other_views(views)]
    return App.of("bench", [entity, source, read, *others]).with_schemas({"rows": _SCHEMA})


if __name__ == "__main__":
    run(GnomonStore())
