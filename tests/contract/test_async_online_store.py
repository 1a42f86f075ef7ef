"""The asynchronous online store: the contract and answers of the blocking one, and many tasks on few connections."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.loop_store import close_loop_stores, open_loop_store
from tests.redis_topologies import HOST, PASSWORD, CountingProxy, RunningServer, free_port

from gnomon.errors import InvalidInput, Unavailable
from gnomon.features.async_redis_online_store import AsyncRedisOnlineStore
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.testing.online_rows import NOW_US, layout_of, plan_of, table_of, values_of
from gnomon.testing.online_store_contract import MakeStore, OnlineStoreContract

LAYOUT = layout_of({"i": "int64"})
WIDE = layout_of(
    {"i": "int64", "f": "float64", "b": "bool", "s": "string", "t": "timestamp"},
    view="wide", max_age_us=50, on_expired="default", defaults={"i": 7, "s": "none"},
)  # fmt: skip
OTHER = layout_of({"f": "float64"}, view="other", keys=(("name", "string"),), max_age_us=80, on_expired="serve")


class TestAsync(OnlineStoreContract):
    @pytest.fixture
    def make_store(self, url: str) -> MakeStore:
        return partial(open_loop_store, url, f"test-{uuid.uuid4().hex}", 5.0)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(0, 6), "name": st.sampled_from(["", "a", "é,", "i1"]),
            "at": st.integers(NOW_US - 100, NOW_US), "known": st.integers(0, 3),
            "i": st.none() | st.integers(-(2**63), 2**63 - 1), "f": st.none() | st.floats(),
            "b": st.none() | st.booleans(),
            "s": st.none() | st.text(max_size=9), "t": st.none() | st.integers(-(2**55), 2**55),
        }
    ),
    max_size=12,
)  # fmt: skip
KEYS = st.lists(st.fixed_dictionaries({"id": st.integers(0, 8), "name": st.sampled_from(["", "a", "b"])}), max_size=9)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=ROWS, more=ROWS, keys=KEYS)
def test_both_stores_give_the_same(url: str, rows: list[Any], more: list[Any], keys: list[Any]) -> None:
    """Whichever of them wrote."""
    project = uuid.uuid4().hex
    blocking, tasks = RedisOnlineStore(url, project, 5.0), open_loop_store(url, project, 5.0)
    for layout in (WIDE, OTHER):
        blocking.write(layout, table_of(layout, rows))
        again = tasks.write(layout, table_of(layout, [*rows, *more]))
        assert again.written_rows + again.ignored_rows == len(rows) + len(more)
        assert blocking.write(layout, table_of(layout, more)).written_rows == 0
    plan = plan_of(WIDE, OTHER)
    one, other = (store.read(plan, keys, NOW_US) for store in (blocking, tasks))
    for name in plan.names:
        assert one.values[name].dtype == other.values[name].dtype
        assert values_of(one, name) == values_of(other, name)
    np.testing.assert_array_equal(one.status, other.status)
    np.testing.assert_array_equal(one.age_us, other.age_us)
    close_loop_stores()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server"), [f"requirepass {PASSWORD}", 'save ""']) as running:
        yield running


Body = Callable[[AsyncRedisOnlineStore], Coroutine[Any, Any, Any]]


def run(port: int, body: Body, timeout_s: float = 5.0, connections: int = 4) -> Any:
    async def whole() -> Any:
        store = AsyncRedisOnlineStore(f"redis://:{PASSWORD}@{HOST}:{port}", "p", timeout_s, connections)
        try:
            return await body(store)
        finally:
            await store.close()

    return asyncio.run(whole())


def read_one(store: AsyncRedisOnlineStore, n: int) -> Coroutine[Any, Any, Any]:
    return store.read(plan_of(LAYOUT), [{"id": n}], NOW_US)


def test_a_hundred_reads_share_four_connections(server: RunningServer) -> None:
    async def body(store: AsyncRedisOnlineStore) -> list[Any]:
        await store.write(LAYOUT, table_of(LAYOUT, [{"id": n, "at": 1, "i": n} for n in range(100)]))
        rounds = []
        for _ in range(20):
            found = await asyncio.gather(*(read_one(store, n) for n in range(100)))
            rounds.append([values_of(rows, "spend.i") for rows in found])
        return rounds

    with CountingProxy(server.port) as proxy:
        assert run(proxy.port, body) == [[[n] for n in range(100)]] * 20
        assert proxy.connections == 4


def test_cancelled_reads_leave_the_connection_in_order(server: RunningServer) -> None:
    async def body(store: AsyncRedisOnlineStore) -> list[Any]:
        await store.write(LAYOUT, table_of(LAYOUT, [{"id": n, "at": 1, "i": n} for n in range(100)]))
        tasks = [asyncio.create_task(read_one(store, n)) for n in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in done[::2])
        return [values_of(rows, "spend.i") for rows in done[1::2]]

    with CountingProxy(server.port) as proxy:
        assert run(proxy.port, body, connections=1) == [[n] for n in range(1, 100, 2)]
        assert proxy.connections == 1


def test_a_read_that_gets_no_answer_ends_only_itself(tmp_path: Path) -> None:
    """Others that wait longer get theirs from the same connection; later ones use another."""
    with RunningServer(tmp_path, [f"requirepass {PASSWORD}", 'save ""']) as server, CountingProxy(server.port) as proxy:

        async def body(store: AsyncRedisOnlineStore) -> list[Any]:
            await store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 5}]))
            server.freeze()
            patient = asyncio.create_task(read_one(store, 1))
            with pytest.raises(Unavailable, match="in time"):
                await store.read(plan_of(LAYOUT), [{"id": 1}], NOW_US, 0.1)
            server.thaw()
            found = [await patient, await read_one(store, 1)]
            return [values_of(rows, "spend.i") for rows in found]

        assert run(proxy.port, body, 30.0, connections=1) == [[5], [5]]
        assert proxy.connections == 2


def test_every_task_hears_of_a_server_that_is_not_there() -> None:
    async def body(store: AsyncRedisOnlineStore) -> list[Any]:
        return await asyncio.gather(*(read_one(store, n) for n in range(100)), return_exceptions=True)

    assert {type(end) for end in run(free_port(), body)} == {Unavailable}


def test_another_event_loop_gets_connections_of_its_own(server: RunningServer) -> None:
    store = AsyncRedisOnlineStore(f"redis://:{PASSWORD}@{HOST}:{server.port}", "p", 5.0)

    async def whole() -> None:
        await store.ping()
        await store.close()

    for _ in range(3):
        asyncio.run(whole())


def test_a_store_without_connections_is_refused() -> None:
    with pytest.raises(InvalidInput, match="0 connections"):
        AsyncRedisOnlineStore("redis://", "p", 1.0, 0)


def test_a_script_that_was_forgotten_is_taught_again(server: RunningServer) -> None:
    async def body(store: AsyncRedisOnlineStore) -> list[Any]:
        with redis.Redis(host=HOST, port=server.port, password=PASSWORD) as client:
            for value in (10, 11):
                client.script_flush()
                await store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": value, "i": value}]))
        return values_of(await read_one(store, 1), "spend.i")

    assert run(server.port, body) == [11]
