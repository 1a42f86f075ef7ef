"""Ours: `RedisOnlineStore.read` through a compiled plan, with ages and statuses; a contestant of `online_read`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pyarrow as pa
from contestant import run, time_calls
from online_read.rows import ENTITIES, WIDTHS, check, column, feature_names, requests, view_name

from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME
from gnomon.contracts.layouts import StoredColumn, ViewLayout
from gnomon.contracts.online_store import ReadPlan, Status
from gnomon.features.redis_online_store import RedisOnlineStore

_DAY_US = 86_400_000_000


class GnomonStore:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._store: RedisOnlineStore | None = None
        self._plans = {width: _plan(width) for width in WIDTHS}

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write all rows through the store."""
        store = RedisOnlineStore(world["url"], "bench")
        now_us = time.time_ns() // 1000
        times = pa.array([now_us] * ENTITIES, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
        for width, plan in self._plans.items():
            columns = {name: pa.array(column(i)) for i, name in enumerate(feature_names(width))}
            keys = pa.array(range(ENTITIES), pa.int64())
            store.write(plan.layouts[0], pa.table({"entity": keys, EVENT_TIME: times, KNOWN_TIME: times, **columns}))
        store.close()

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the store; its connection is opened by the first read."""
        self._store = RedisOnlineStore(world["url"], "bench")
        return {name: version(name) for name in ("gnomon", "redis", "hiredis", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time reads; every answer's values, statuses and ages are there when a read returns."""
        assert self._store is not None
        store, plan = self._store, self._plans[scenario["features"]]
        asked = [[{"entity": entity} for entity in entities] for entities in requests(scenario["rows"])]
        timed = time_calls(lambda keys: store.read(plan, keys, time.time_ns() // 1000), asked, budget_s)
        answer = store.read(plan, asked[0], time.time_ns() // 1000)
        assert (answer.status == Status.PRESENT).all()
        assert (answer.age_us >= 0).all()
        return {**timed, "check": check(answer.values[name].tolist() for name in plan.names)}

    def close(self) -> None:
        """Close the connection."""
        if self._store is not None:
            self._store.close()


def _plan(width: int) -> ReadPlan:
    view, names = view_name(width), feature_names(width)
    columns = tuple(StoredColumn(name, "float64") for name in names)
    layout = ViewLayout(view, (("entity", "int64"),), columns, _DAY_US, "null", f"{width:08x}")
    return ReadPlan((layout,), tuple((0, i) for i in range(width)), tuple(f"{view}.{name}" for name in names))


if __name__ == "__main__":
    run(GnomonStore())
