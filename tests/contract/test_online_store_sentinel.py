"""The online store through sentinels: the primary is found, and found anew when it ends or is demoted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.loop_store import LoopStore, open_loop_store
from tests.redis_topologies import HOST, PASSWORD, RunningServer, free_port
from tests.waiting import until

from gnomon.errors import Unavailable
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.testing.online_rows import layout_of, read, table_of, values_of

LAYOUT = layout_of({"i": "int64"})
LINES = [f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", 'save ""', "repl-diskless-sync-delay 0"]
SENTINEL_PASSWORD = "watching"
Stores = list[RedisOnlineStore | LoopStore]


def rows(value: int) -> object:
    return table_of(LAYOUT, [{"id": 1, "at": value, "i": value}])


@contextmanager
def service(folder: Path) -> Iterator[tuple[RunningServer, RunningServer, RunningServer]]:
    """A primary, its replica, and a sentinel that watches both as the service `shop`."""
    with ExitStack() as stack:
        primary = stack.enter_context(RunningServer(folder / "a", LINES))
        lines = [*LINES, f"replicaof {HOST} {primary.port}"]
        replica = stack.enter_context(RunningServer(folder / "b", lines))
        lines = [
            f"requirepass {SENTINEL_PASSWORD}", f"sentinel monitor shop {HOST} {primary.port} 1",
            f"sentinel auth-pass shop {PASSWORD}", "sentinel down-after-milliseconds shop 500",
            "sentinel failover-timeout shop 3000",
        ]  # fmt: skip
        sentinel = stack.enter_context(RunningServer(folder / "s", lines, mode=["--sentinel"]))
        with replica.client() as client:
            until(lambda: client.info("replication")["master_link_status"] == "up", 30, 0.05)
        with sentinel.client(SENTINEL_PASSWORD) as client:
            until(lambda: client.execute_command("SENTINEL", "REPLICAS", "shop"), 30, 0.05)
        yield primary, replica, sentinel


def stores_of(sentinel: RunningServer, service: str = "shop") -> Stores:
    dead = free_port()  # the first sentinel of the URL is not there
    url = (
        f"redis+sentinel://:{PASSWORD}@{HOST}:{dead},{HOST}:{sentinel.port}/{service}/0"
        f"?sentinel_password={SENTINEL_PASSWORD}"
    )
    return [RedisOnlineStore(url, "p", 1.0), open_loop_store(url, "p", 1.0)]


def has(store: RedisOnlineStore | LoopStore, value: int) -> bool:
    try:
        return values_of(read(store, [LAYOUT], 1), "spend.i") == [value]
    except Unavailable:
        return False


def test_reads_and_writes_recover_when_the_primary_is_killed(tmp_path: Path) -> None:
    with service(tmp_path) as (primary, replica, sentinel):
        stores = stores_of(sentinel)
        for value, store in enumerate(stores, start=1):
            assert store.write(LAYOUT, rows(value)).written_rows == 1
        with primary.client() as client:
            client.execute_command("WAIT", 1, 5000)
        primary.kill()
        for store in stores:
            with pytest.raises(Unavailable, match=f"{HOST}:{primary.port}"):
                read(store, [LAYOUT], 1)
        for store in stores:
            until(lambda store=store: has(store, 2), 60)
        for value, store in enumerate(stores, start=3):
            assert store.write(LAYOUT, rows(value)).written_rows == 1
        with replica.client() as client:
            assert client.info("replication")["role"] == "master"


def test_a_demoted_primary_is_written_to_no_more(tmp_path: Path) -> None:
    """A planned fail-over: READONLY, or a cut connection, leads to the new primary within the same call."""
    with service(tmp_path) as (primary, replica, sentinel):
        stores = stores_of(sentinel)
        for store in stores:
            store.write(LAYOUT, rows(1))
        with sentinel.client(SENTINEL_PASSWORD) as client:
            client.execute_command("SENTINEL", "FAILOVER", "shop")
        with primary.client() as old:
            until(lambda: old.info("replication")["role"] == "slave", 60, 0.05)
        for value, store in enumerate(stores, start=2):
            assert store.write(LAYOUT, rows(value)).written_rows == 1
        with replica.client() as new:
            assert new.info("replication")["role"] == "master"


def test_a_service_that_nobody_knows_is_told(tmp_path: Path) -> None:
    with service(tmp_path) as (_, _, sentinel):
        for store in stores_of(sentinel, "another"):
            with pytest.raises(Unavailable, match="'another'") as error:
                store.ping()
            assert f"{HOST}:{sentinel.port}" in error.value.message
            assert not {PASSWORD, SENTINEL_PASSWORD} & set(error.value.message.split("'"))


def test_sentinels_that_are_not_there_are_told() -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=f"no sentinel of {HOST}:{port}/shop .*cannot be reached"):
        RedisOnlineStore(f"redis+sentinel://{HOST}:{port}/shop", "p", 1.0).ping()
