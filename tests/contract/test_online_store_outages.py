"""What both online stores do while a server freezes, ends, loads, is full, turns read-only or hangs up half-way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.loop_store import LoopStore, open_loop_store
from tests.redis_topologies import HOST, PASSWORD, CountingProxy, RunningServer
from tests.waiting import until

from gnomon.errors import Unavailable
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.testing.online_rows import layout_of, read, table_of, values_of

LAYOUT = layout_of({"i": "int64"})
LINES = [f"requirepass {PASSWORD}", 'save ""']
TIMEOUT_S = 0.3
FAILURES = 5
Store = RedisOnlineStore | LoopStore
Opened = Callable[[int], Store]


@pytest.fixture(params=[RedisOnlineStore, open_loop_store], ids=["blocking", "async"])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Makes a store from a port."""
    return lambda port: request.param(f"redis://:{PASSWORD}@{HOST}:{port}/0", "p", TIMEOUT_S)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path, LINES) as running:
        yield running


def answers(store: Store) -> bool:
    try:
        store.ping()
    except Unavailable:
        return False
    return True


def test_a_frozen_server_is_left_alone_until_it_answers(opened: Opened, server: RunningServer) -> None:
    with CountingProxy(server.port) as proxy:
        store = opened(proxy.port)
        store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 5}]))
        server.freeze()
        for _ in range(FAILURES):
            with pytest.raises(Unavailable, match="in time"):
                read(store, [LAYOUT], 1)
        before = proxy.connections
        for _ in range(200):
            with pytest.raises(Unavailable, match=r"is not asked before \d\.\d s") as error:
                read(store, [LAYOUT], 1)
        assert proxy.connections == before
        assert f"{HOST}:{proxy.port}" in error.value.message
        assert "does not answer in time" in error.value.message
        assert 0 < error.value.details["next_try_s"] <= 1
        until(lambda: _fails(store, "in time"), 20, 0.05)  # the probe
        with pytest.raises(Unavailable, match="is not asked before"):
            store.ping()
        server.thaw()
        until(lambda: answers(store), 20, 0.05)
        assert values_of(read(store, [LAYOUT], 1), "spend.i") == [5]
        assert all(answers(store) for _ in range(20))


def _fails(store: Store, told: str) -> bool:
    with pytest.raises(Unavailable) as error:
        store.ping()
    return told in error.value.message


def test_a_server_that_ended_is_found_again(opened: Opened, tmp_path: Path) -> None:
    with RunningServer(tmp_path, LINES) as server:
        store = opened(server.port)
        store.ping()
        server.kill()
        for _ in range(FAILURES):
            with pytest.raises(Unavailable, match="cannot be reached"):
                store.ping()
        with pytest.raises(Unavailable, match=r"is not asked before.*cannot be reached"):
            store.ping()
        server.start()
        until(lambda: answers(store), 20, 0.05)
        store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 5}]))
        assert values_of(read(store, [LAYOUT], 1), "spend.i") == [5]


def test_half_closed_connections_are_replaced(opened: Opened, server: RunningServer) -> None:
    with CountingProxy(server.port) as proxy:
        store = opened(proxy.port)
        store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 5}]))
        for n in range(1, 4):
            assert proxy.connections == n
            proxy.cut()
            assert values_of(read(store, [LAYOUT], 1), "spend.i") == [5]


def test_a_server_that_hangs_up_at_once_is_asked_once(opened: Opened) -> None:
    with socket.create_server((HOST, 0)) as listener:
        hung_up = []

        def hang_up() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                hung_up.append(line.recv(1000))
                line.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            with pytest.raises(Unavailable, match="cannot be reached: ConnectionResetError"):
                opened(listener.getsockname()[1]).ping()
            assert len(hung_up) == 1
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_the_deadline_holds_for_answers_that_drip(opened: Opened) -> None:
    """And for connecting, which here takes the whole deadline already."""
    stop = threading.Event()
    with socket.create_server((HOST, 0)) as listener:

        def drip() -> None:
            line, _ = listener.accept()
            with line:
                line.sendall(b"+")
                while not stop.wait(0.02):
                    try:
                        line.sendall(b"O")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        started_s = time.monotonic()
        with pytest.raises(Unavailable, match="in time"):
            opened(listener.getsockname()[1]).ping()
        assert time.monotonic() - started_s < 2 * TIMEOUT_S
        stop.set()
        thread.join()


def test_what_does_not_speak_the_protocol_is_told(opened: Opened) -> None:
    with socket.create_server((HOST, 0)) as listener:

        def greet() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(1000)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Unavailable, match="does not speak the Redis protocol") as error:
            opened(listener.getsockname()[1]).ping()
        thread.join()
        assert "rediss://" in error.value.hint


def test_a_full_server_refuses_rows_and_serves_what_it_has(opened: Opened, server: RunningServer) -> None:
    store = opened(server.port)
    store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 5}]))
    with server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
    for _ in range(2 * FAILURES):
        with pytest.raises(Unavailable, match="OOM") as error:
            store.write(LAYOUT, table_of(LAYOUT, [{"id": n, "at": 2, "i": n} for n in range(50_000)]))
    assert "maxmemory" in error.value.hint
    assert values_of(read(store, [LAYOUT], 1), "spend.i") in ([5], [1])
    with server.client() as client:
        client.config_set("maxmemory", 0)
    store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 3, "i": 6}]))
    assert values_of(read(store, [LAYOUT], 1), "spend.i") == [6]


def test_a_replica_refuses_rows_and_serves_reads(opened: Opened, server: RunningServer, tmp_path: Path) -> None:
    opened(server.port).write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 1, "i": 5}]))
    lines = [*LINES, f"replicaof {HOST} {server.port}", f"masterauth {PASSWORD}"]
    with RunningServer(tmp_path / "replica", lines) as replica:
        store = opened(replica.port)
        with replica.client() as client:
            until(lambda: client.info("replication")["master_link_status"] == "up", 30, 0.05)
        with pytest.raises(Unavailable, match="READONLY") as error:
            store.write(LAYOUT, table_of(LAYOUT, [{"id": 1, "at": 2, "i": 6}]))
        assert "redis+sentinel://" in error.value.hint
        assert values_of(read(store, [LAYOUT], 1), "spend.i") == [5]


def test_a_server_that_loads_its_data_is_unavailable_until_it_has(opened: Opened, tmp_path: Path) -> None:
    slowly = ["key-load-delay 1000", "loading-process-events-interval-bytes 1024"]
    rows = table_of(LAYOUT, [{"id": n, "at": 1, "i": n} for n in range(2000)])
    with RunningServer(tmp_path, LINES) as server, server.client() as client:
        opened(server.port).write(LAYOUT, rows)
        client.save()
    with RunningServer(tmp_path, [*LINES, *slowly], server.port) as server:
        store = opened(server.port)
        with pytest.raises(Unavailable, match="LOADING") as error:
            read(store, [LAYOUT], 7)
        assert "repeat" in error.value.hint
        until(lambda: answers(store), 60)
        assert values_of(read(store, [LAYOUT], 7), "spend.i") == [7]
