"""The route of a cluster against a model of one: nodes that own slots, hand them over, and fail."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import Unavailable
from gnomon.features.cluster_route import SLOTS, ClusterRoute, slot_of
from gnomon.features.redis_addresses import Endpoint, parse_online_url
from gnomon.features.redis_protocol import command
from gnomon.features.redis_routes import Batch, Result

NODES = [Endpoint("127.0.0.1", port, password="secret") for port in (1, 2, 3)]
KEYS = [f"g:p:id:i{n}".encode() for n in range(12)]
URL = "redis+cluster://:secret@127.0.0.1:1,127.0.0.1:2"


class Cluster:
    """Answers batches as the nodes of a cluster do; a command is answered by its key and the node that served it."""

    def __init__(self) -> None:
        self.owner = {slot_of(key): n % 3 for n, key in enumerate(KEYS)}
        self.importing: dict[int, int] = {}
        self.dead: set[int] = set()
        self.batches = 0

    def perform(self, batches: Any) -> list[Result]:
        self.batches += len(batches)
        return [self._answer(batch) for batch in batches]

    def _answer(self, batch: Batch) -> Result:
        node = batch.endpoint.port - 1
        assert batch.endpoint == NODES[node], "with its password"
        if node in self.dead:
            return Unavailable(f"node {node} does not answer")
        replies: list[Any] = []
        asked = False
        for one in batch.commands:
            word = one.split(b"\r\n")[2]
            if word == b"CLUSTER":
                replies.append([[s, s, [b"127.0.0.1" if s % 2 else b"", o + 1, b"id"]] for s, o in self.owner.items()])
            elif word == b"ASKING":
                replies.append(b"OK")
                asked = True
                continue
            else:
                replies.append(self._serve(node, one.split(b"\r\n")[4], asked))
            asked = False
        return replies

    def _serve(self, node: int, key: bytes, asked: bool) -> Any:
        slot = slot_of(key)
        target = self.importing.get(slot)
        if node == self.owner[slot]:
            return (key, node) if target is None else hiredis.ReplyError(f"ASK {slot} 127.0.0.1:{target + 1}")
        if asked and node == target:
            return (key, node)
        return hiredis.ReplyError(f"MOVED {slot} 127.0.0.1:{self.owner[slot] + 1}")


def ask(route: ClusterRoute, cluster: Cluster, keys: list[bytes]) -> list[Any]:
    steps = route.exchange([command(b"GET", key) for key in keys], keys)
    try:
        batches = next(steps)
        while True:
            batches = steps.send(cluster.perform(batches))
    except StopIteration as end:
        return list(end.value)


CHANGES = st.lists(
    st.tuples(st.sampled_from(["move", "import", "settle", "end", "start"]), st.sampled_from(KEYS), st.integers(0, 2)),
    max_size=20,
)


@given(st.lists(st.tuples(CHANGES, st.lists(st.sampled_from(KEYS), min_size=1, max_size=12)), max_size=8))
def test_every_command_is_served_by_the_node_of_its_key(rounds: Any) -> None:
    cluster, route = Cluster(), ClusterRoute(parse_online_url(URL))
    for changes, keys in rounds:
        for what, key, node in changes:
            slot = slot_of(key)
            if what == "move":
                cluster.owner[slot] = node
                cluster.importing.pop(slot, None)
            elif what == "import" and node != cluster.owner[slot]:
                cluster.importing[slot] = node
            elif what == "settle" and slot in cluster.importing:
                cluster.owner[slot] = cluster.importing.pop(slot)
            elif what == "end":
                cluster.dead = {node}
            else:
                cluster.dead = set()
        served = [cluster.importing.get(slot_of(key), cluster.owner[slot_of(key)]) for key in keys]
        needed = {*served, *(cluster.owner[slot_of(key)] for key in keys)}
        before = cluster.batches
        if needed & cluster.dead:
            with pytest.raises(Unavailable, match="does not answer"):
                ask(route, cluster, keys)
        else:
            assert ask(route, cluster, keys) == list(zip(keys, served, strict=True))
        assert cluster.batches - before <= 20, "rounds are bounded"


@given(st.lists(st.sampled_from(KEYS), max_size=40), st.integers(1, 5))
def test_groups_share_a_slot_and_keep_the_order(keys: list[bytes], most: int) -> None:
    groups = ClusterRoute(parse_online_url(URL)).groups(keys, most)
    assert sorted(i for group in groups for i in group) == list(range(len(keys)))
    assert all(len({slot_of(keys[i]) for i in group}) == 1 and len(group) <= most for group in groups)
    for key in set(keys):
        mine = [i for group in groups for i in group if keys[i] == key]
        assert mine == sorted(mine)


def test_a_slot_without_a_node_is_told() -> None:
    cluster, route = Cluster(), ClusterRoute(parse_online_url(URL))
    other = next(key for key in (b"%d" % n for n in range(SLOTS)) if slot_of(key) not in cluster.owner)
    with pytest.raises(Unavailable, match=f"no node for slot {slot_of(other)}"):
        ask(route, cluster, [other])
