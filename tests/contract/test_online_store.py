"""The online store's contract on the embedded Valkey and on Debian's Redis, and what happens without a server."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from tests.online_servers import debian_redis

from gnomon.errors import InvalidInput, Unavailable
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.testing.online_rows import NOW_US, layout_of, plan_of, read, table_of, values_of
from gnomon.testing.online_store_contract import MakeStore, OnlineStoreContract

TIMEOUT_S = 0.5
LAYOUT = layout_of({"i": "int64"})


class TestRedisOnlineStore(OnlineStoreContract):
    @pytest.fixture
    def make_store(self, url: str) -> MakeStore:
        return partial(RedisOnlineStore, url, f"test-{uuid.uuid4().hex}", 5.0)

    def test_a_server_that_forgot_the_script_is_taught_again(self, url: str, make_store: MakeStore) -> None:
        store = make_store()
        store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 1}]))
        with redis.Redis.from_url(url) as client:
            client.script_flush()
        store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 2, "i": 2}]))
        assert values_of(read(store, [LAYOUT], 1), "spend.i") == [2]

    def test_projects_are_apart(self, url: str) -> None:
        one, two = RedisOnlineStore(url, "shop", 5.0), RedisOnlineStore(url, "shop2", 5.0)
        one.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 1}]))
        two.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 2}]))
        assert one.clear(LAYOUT) == 1
        assert values_of(read(two, [LAYOUT], 1), "spend.i") == [2]
        assert two.clear(LAYOUT) == 1

    def test_a_connection_that_was_cut_while_idle_is_replaced(self, url: str, make_store: MakeStore) -> None:
        store = make_store()
        store.ping()
        with redis.Redis.from_url(url) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        store.ping()

    def test_a_wrong_password_is_told_without_telling_it(self, url: str) -> None:
        wrong = RedisOnlineStore(url.replace(url.split(":")[2].split("@")[0], "not-the-password"), "p", TIMEOUT_S)
        with pytest.raises(Unavailable, match="refuses the password") as error:
            wrong.ping()
        assert "not-the-password" not in f"{error.value} {error.value.details}"
        assert "127.0.0.1:" in error.value.message

    def test_threads_share_a_store(self, make_store: MakeStore) -> None:
        store = make_store()
        store.write(LAYOUT, table_of(LAYOUT, [{"id": n, "at": 1, "i": n} for n in range(200)]))
        plan, wrong = plan_of(LAYOUT), []

        def reads(thread: int) -> None:
            for n in range(thread, 200, 2):
                found = store.read(plan, [{"id": n}, {"id": 199 - n}], NOW_US).values["spend.i"].tolist()
                if found != [n, 199 - n]:
                    wrong.append((n, found))

        threads = [threading.Thread(target=reads, args=(t % 2,)) for t in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_a_fork_does_not_share_connections(self, make_store: MakeStore) -> None:
        store = make_store()
        store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 1}]))
        child = os.fork()
        if child == 0:  # a shared connection would mix up the two processes' replies
            right = all(values_of(read(store, [LAYOUT], 1), "spend.i") == [1] for _ in range(300))
            os._exit(0 if right else 1)
        assert all(values_of(read(store, [LAYOUT], 2, 1), "spend.i") == [None, 1] for _ in range(300))
        assert os.waitpid(child, 0)[1] == 0
        assert values_of(read(store, [LAYOUT], 1), "spend.i") == [1]


def test_a_dead_server_is_unavailable_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = RedisOnlineStore(f"redis://:secret@127.0.0.1:{port}/0", "p", TIMEOUT_S)
    started_s = time.monotonic()
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}") as error:
        read(store, [LAYOUT], 1)
    assert time.monotonic() - started_s < TIMEOUT_S
    assert "secret" not in f"{error.value} {error.value.details}"
    assert error.value.hint


def test_a_frozen_server_is_unavailable_within_the_deadline(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    try:
        store = RedisOnlineStore(server.url, "p", TIMEOUT_S)
        store.ping()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        for _ in range(2):  # with the idle connection, then with a new one
            started_s = time.monotonic()
            with pytest.raises(Unavailable, match="in time"):
                read(store, [LAYOUT], 1)
            assert TIMEOUT_S * 0.9 < time.monotonic() - started_s < TIMEOUT_S * 2
        os.kill(server.pid, signal.SIGCONT)
        store.ping()
    finally:
        server.stop()


def test_a_server_that_ends_and_comes_back_is_found_again(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    fixed = EmbeddedValkey(tmp_path, port=server.port, password=server._password)
    store = RedisOnlineStore(server.url, "p", TIMEOUT_S)
    store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 1}]))
    server.stop()
    with pytest.raises(Unavailable):
        store.ping()
    fixed.start()
    try:
        assert values_of(read(store, [LAYOUT], 1), "spend.i") == [1]
    finally:
        fixed.stop()


def test_a_full_server_is_unavailable_with_its_own_words(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1mb")
        with pytest.raises(Unavailable, match="OOM"):
            RedisOnlineStore(server.url, "p", TIMEOUT_S).write(
                LAYOUT, table_of(LAYOUT, [{"id": n, "at": 1, "i": n} for n in range(50_000)])
            )
    finally:
        server.stop()


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:6379", "redis://h:notaport"])
def test_an_unusable_url_is_refused(address: str) -> None:
    with pytest.raises(InvalidInput, match="URL"):
        RedisOnlineStore(address, "p", TIMEOUT_S)


@pytest.mark.parametrize("project", ["", "a:b", "a b", "ü"])
def test_a_project_that_could_share_keys_is_refused(project: str) -> None:
    with pytest.raises(InvalidInput, match="project"):
        RedisOnlineStore("redis://127.0.0.1:1", project, TIMEOUT_S)


def test_a_unix_socket_serves_too(tmp_path: Path) -> None:
    with debian_redis(tmp_path):
        store = RedisOnlineStore(f"unix://:secret@{tmp_path}/redis.sock?db=0", "p", 5.0)
        assert store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 5}])).written_rows == 1
        assert values_of(read(store, [LAYOUT], 1), "spend.i") == [5]


def test_int64_keys_of_arrow_and_numpy_name_the_same_entity(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.start()
    try:
        store = RedisOnlineStore(server.url, "p", 5.0)
        store.write(LAYOUT, table_of(LAYOUT, [{"id": 7, "at": 1, "i": 5}]))
        assert values_of(read(store, [LAYOUT], pa.array([7]).to_numpy()[0]), "spend.i") == [5]
    finally:
        server.stop()
