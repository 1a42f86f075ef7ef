"""The stores in memory answer as the real ones do, call by call; the fake cluster passes the cluster's contract."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gnomon.errors import GnomonError
from gnomon.storage.sql import open_database, sqlite_url
from gnomon.storage.sql_operations import SqlOperations
from gnomon.storage.sql_state import SqlStates
from gnomon.testing.control_plane_simulator import SimulatedClock
from gnomon.testing.fake_cluster import FakeWorkerPool
from gnomon.testing.memory_stores import MemoryOperations, MemoryStates
from gnomon.testing.worker_pool_contract import WorkerPoolContract


def answer(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except GnomonError as error:
        return error.code


def random_call(chance: random.Random) -> tuple[str, list[Any], dict[str, Any]]:
    identity, lease = chance.choice("abcd"), chance.randrange(4)
    submit = [chance.choice(["train", "ingest"]), "t", {"a": chance.randrange(2)}]
    return chance.choice(
        [
            ("submit", submit, {"actor": "me", "operation_id": identity}),
            ("get", [identity], {}),
            ("list", [], {"states": chance.choice([(), ("running",), ("pending", "failed")]), "limit": lease}),
            ("lease", [identity, lease], {}),
            ("report", [identity, lease, "half"], {}),
            ("finish", [identity, lease], {"result": {"x": 1}}),
            ("finish", [identity, lease], {"error": {"code": "x"}}),
            ("cancel", [identity], {}),
        ]
    )


@pytest.mark.parametrize("seed", range(10))
def test_operations_in_memory_answer_as_in_sql(tmp_path: Path, seed: int) -> None:
    clock, chance = SimulatedClock(), random.Random(seed)
    engine = open_database(sqlite_url(tmp_path / "state.db"))
    memory, sql = MemoryOperations(clock), SqlOperations(engine, clock)
    for _ in range(60):
        clock.time_us += 1000
        method, values, named = random_call(chance)
        one, other = (answer(partial(getattr(store, method), *values, **named)) for store in (memory, sql))
        assert one == other, (method, values, named)
    engine.dispose()


def test_states_in_memory_answer_as_in_sql(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path / "state.db"))
    for store in (MemoryStates(), SqlStates(engine, SimulatedClock())):
        assert store.get("monitor", "b") is None
        store.put("monitor", "b", {"x": [1, None]})
        store.put("monitor", "a", {})
        store.put("endpoint", "a", {"y": 1})
        store.put("monitor", "b", {"x": [2]})
        assert store.get("monitor", "b") == {"x": [2]}
        assert list(store.all("monitor").items()) == [("a", {}), ("b", {"x": [2]})]
        assert store.all("nothing") == {}
        assert (store.take("endpoint", "a"), store.take("endpoint", "a")) == ({"y": 1}, None)
        assert store.get("endpoint", "a") is None
    engine.dispose()


class TestFakeWorkerPool(WorkerPoolContract):
    @pytest.fixture
    def pool(self) -> FakeWorkerPool:
        return FakeWorkerPool()

    @pytest.fixture
    def submit(self) -> Callable[[str, float], None]:
        return lambda operation_id, seconds: None
