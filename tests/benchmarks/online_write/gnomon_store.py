"""Ours: `RedisOnlineStore.write` of an Arrow table, the newer event time wins; a contestant of `online_write`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pyarrow as pa
from contestant import run
from online_write.rows import FEATURES, VIEW, check, columns, sample
from online_write.server import Server, measure_writes

from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME
from gnomon.contracts.layouts import StoredColumn, ViewLayout
from gnomon.contracts.online_store import ReadPlan, Status
from gnomon.features.codec import encode
from gnomon.features.redis_online_store import RedisOnlineStore

_LAYOUT = ViewLayout(
    VIEW, (("entity", "int64"),), tuple(StoredColumn(name, "float64") for name in FEATURES), 86_400_000_000, "null",
    "0000000a",
)  # fmt: skip
_PLAN = ReadPlan((_LAYOUT,), tuple((0, i) for i in range(len(FEATURES))), tuple(f"{VIEW}.{name}" for name in FEATURES))


class GnomonStore:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._store: RedisOnlineStore | None = None
        self._server: Server | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """There is nothing to prepare."""

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the store."""
        self._server = Server(world["url"])
        self._store = RedisOnlineStore(world["url"], "bench", timeout_s=10.0)
        return {name: version(name) for name in ("gnomon", "hiredis", "numpy", "pyarrow")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time writes; every row has to count as written."""
        assert self._store is not None
        assert self._server is not None
        store, entities, replaces = self._store, scenario["entities"], scenario["replaces"]
        began_us = time.time_ns() // 1000
        tables = [_table(entities, generation) for generation in (0, 1)]

        def make(generation: int, number: int) -> pa.Table:
            times = pa.repeat(pa.scalar(began_us + number, pa.int64()), entities).cast(pa.timestamp("us", tz="UTC"))
            return tables[generation].append_column(EVENT_TIME, times).append_column(KNOWN_TIME, times)

        def put(rows: pa.Table) -> None:
            assert store.write(_LAYOUT, rows).written_rows == entities

        measured = measure_writes(self._server, entities, replaces, budget_s, make, put)
        answer = store.read(_PLAN, [{"entity": entity} for entity in sample(entities)], time.time_ns() // 1000)
        assert (answer.status == Status.PRESENT).all()
        values = {name: answer.values[f"{VIEW}.{name}"].tolist() for name in FEATURES}
        return {
            **measured,
            "value_bytes": float(len(encode(_LAYOUT, make(0, 0).slice(0, 1))[0])),
            "check": check(values),
        }

    def close(self) -> None:
        """Close the connections."""
        if self._store is not None:
            self._store.close()
        if self._server is not None:
            self._server.close()


def _table(entities: int, generation: int) -> pa.Table:
    return pa.table({"entity": pa.array(range(entities), pa.int64()), **columns(entities, generation)})


if __name__ == "__main__":
    run(GnomonStore())
