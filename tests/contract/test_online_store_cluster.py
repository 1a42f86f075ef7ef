"""The online store's contract on a real cluster of three nodes, and what happens while slots move and nodes end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.loop_store import open_loop_store
from tests.redis_topologies import (
    PASSWORD,
    RunningServer,
    cluster_is_whole,
    cluster_node,
    cluster_url,
    meet,
    running_cluster,
)
from tests.waiting import until

from gnomon.contracts.online_store import WriteResult
from gnomon.errors import Unavailable
from gnomon.features.cluster_route import slot_of
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.testing.online_rows import layout_of, read, table_of, values_of
from gnomon.testing.online_store_contract import MakeStore, OnlineStoreContract

LAYOUT = layout_of({"i": "int64"})
IDS = range(600)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningServer]]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


def table(value: int, ids: range = IDS) -> object:
    return table_of(LAYOUT, [{"id": n, "at": value, "i": n * value} for n in ids])


class TestOnACluster(OnlineStoreContract):
    @pytest.fixture(params=[RedisOnlineStore, open_loop_store], ids=["blocking", "async"])
    def make_store(self, request: pytest.FixtureRequest, servers: list[RunningServer]) -> MakeStore:
        return partial(request.param, cluster_url(servers), f"test-{uuid.uuid4().hex}", 5.0)


def test_entities_are_spread_over_all_nodes(servers: list[RunningServer]) -> None:
    store = RedisOnlineStore(cluster_url(servers[1:2]), uuid.uuid4().hex, 5.0)
    for server in servers:
        with server.client() as client:
            client.flushall()
    assert store.write(LAYOUT, table(1)) == WriteResult(len(IDS), 0)
    sizes = []
    for server in servers:
        with server.client() as client:
            sizes.append(client.dbsize())
    assert sum(sizes) == len(IDS)
    assert min(sizes) > len(IDS) / 6


def test_a_slot_that_moves_is_followed(servers: list[RunningServer]) -> None:
    """ASK while it is on the way, MOVED afterwards: reads, writes and deletions go on."""
    project = uuid.uuid4().hex
    store, other = (RedisOnlineStore(cluster_url(servers), project, 5.0) for _ in range(2))
    store.write(LAYOUT, table(1))
    other.ping()
    assert values_of(read(other, [LAYOUT], 7), "spend.i") == [7]
    key = f"g:{project}:id:i7".encode()
    slot = slot_of(key)
    owner = slot * len(servers) // 16384
    source, target = servers[owner], servers[(owner + 1) % len(servers)]
    with source.client() as a, target.client() as b:
        source_id, target_id = (c.execute_command("CLUSTER", "MYID").decode() for c in (a, b))
        b.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        a.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        a.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", key)
        assert values_of(read(store, [LAYOUT], 6, 7, 8), "spend.i") == [6, 7, 8]
        assert store.write(LAYOUT, table(2)) == WriteResult(len(IDS), 0)
        for client in (b, a):
            client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        assert values_of(read(store, [LAYOUT], *IDS), "spend.i") == [2 * n for n in IDS]
        assert values_of(read(other, [LAYOUT], 7), "spend.i") == [14]
        assert other.write(LAYOUT, table(3)) == WriteResult(len(IDS), 0)
        assert other.clear(LAYOUT) == len(IDS)


def test_a_node_of_a_cluster_is_no_server_alone(servers: list[RunningServer]) -> None:
    store = RedisOnlineStore(f"redis://:{PASSWORD}@127.0.0.1:{servers[0].port}", uuid.uuid4().hex, 5.0)
    with pytest.raises(Unavailable) as error:
        read(store, [LAYOUT], *IDS)
    assert "MOVED" in error.value.message
    assert "redis+cluster://" in error.value.hint


def test_a_server_alone_is_no_cluster(tmp_path: Path) -> None:
    with RunningServer(tmp_path, [f"requirepass {PASSWORD}", 'save ""']) as server:
        store = RedisOnlineStore(cluster_url([server]), "p", 5.0)
        with pytest.raises(Unavailable, match="cluster support disabled"):
            store.ping()


def test_a_node_that_ends_is_unavailable_until_its_replica_takes_over(tmp_path: Path) -> None:
    """Entities of the other nodes are served on; then all are, without a new store."""
    with running_cluster(tmp_path) as servers, cluster_node(tmp_path / "replica") as replica:
        with servers[0].client() as first, replica.client() as client:
            first_id = first.execute_command("CLUSTER", "MYID").decode()
            meet(client, servers[0])
            until(lambda: cluster_is_whole(replica, 3), 30, 0.05)
            client.execute_command("CLUSTER", "REPLICATE", first_id)
            until(lambda: client.info("replication").get("master_link_status") == "up", 30, 0.05)
            store = RedisOnlineStore(cluster_url(servers), "p", 2.0)
            store.write(LAYOUT, table(1))
            first.execute_command("WAIT", 1, 5000)
        slots = {n: slot_of(f"g:p:id:i{n}".encode()) for n in IDS}
        mine = next(n for n in IDS if slots[n] < 16384 // 3)
        others = [n for n in IDS if slots[n] >= 16384 // 3 + 1]
        servers[0].kill()
        with pytest.raises(Unavailable, match=f"127.0.0.1:{servers[0].port}"):
            read(store, [LAYOUT], mine)
        assert values_of(read(store, [LAYOUT], *others), "spend.i") == others

        def taken_over() -> bool:
            try:
                return values_of(read(store, [LAYOUT], *IDS), "spend.i") == list(IDS)
            except Unavailable:
                return False

        until(taken_over, 30)
        assert store.write(LAYOUT, table(2)) == WriteResult(len(IDS), 0)
