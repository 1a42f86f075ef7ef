"""The online store rebuilt from the offline tables while it is read and while a stream writes to it."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from tests.stream_world import StreamWorld, stream_world

import gnomon as gn
from gnomon.contracts.online_store import Status
from gnomon.control_plane.operation_work import run_operation
from gnomon.control_plane.streaming import StreamConsumer
from gnomon.data.push_batches import Push
from gnomon.features.redis_online_store import RedisOnlineStore

USERS = 50
FEATURES = [gn.Aggregation("*", "count", window="365d", name="events"), gn.Aggregation("n", "sum", window="365d")]
REBUILDS = 20


@dataclass
class Watch:
    """What readers saw: a view that only ever counts up must never be seen to go back, or to be gone.

    Attributes:
        reads: How many reads of all users there were.
        missing: Reads in which some user had no value.
        wrong: What must not be.
        may_miss: Whether the store was emptied, so that values may be missing.
    """

    reads: int = 0
    missing: int = 0
    wrong: list[str] = field(default_factory=list)
    may_miss: threading.Event = field(default_factory=threading.Event)


def read_on(world: StreamWorld, watch: Watch, ended: threading.Event) -> None:
    """Read all users again and again, by a client of its own."""
    newest: dict[int, tuple[int, int, int]] = {}
    with closing(RedisOnlineStore(world.server.url, "default", 10.0)) as store:
        while not ended.is_set():
            may_miss = watch.may_miss.is_set()
            now_us = world.parts.clock.now_us()
            rows = store.read(world.plan, [{"user": u} for u in range(USERS)], now_us)
            may_miss = may_miss or watch.may_miss.is_set()
            values = [rows.values[name].tolist() for name in world.plan.names]
            for user, status in enumerate(rows.status.tolist()):
                if status != [Status.PRESENT] * 2:
                    missing = status == [Status.MISSING_ENTITY] * 2 and values[0][user] is values[1][user] is None
                    if not (may_miss and missing):
                        watch.wrong.append(f"user {user} has the statuses {status}")
                    watch.missing += 1
                    continue
                found = (now_us - int(rows.age_us[user, 0]), values[0][user], values[1][user])
                if any(a < b for a, b in zip(found, newest.get(user, found), strict=True)):
                    watch.wrong.append(f"user {user} went back from {newest[user]} to {found}")
                newest[user] = found
            watch.reads += 1


def push_on(world: StreamWorld, ended: threading.Event) -> None:
    """Push an event of some users again and again; each counts up."""
    draw, number = random.Random(2), 0
    while not ended.wait(0.02):
        push(world, f"more-{number}", draw.sample(range(USERS), 5))
        number += 1


def push(world: StreamWorld, name: str, users: list[int]) -> None:
    now = datetime.now(UTC).isoformat()
    rows = ({"id": f"{name}-{user}", "user": user, "n": user + 1, "at": now, "known": now} for user in users)
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    assert world.pusher.push("events", Push(lines)).result(timeout=60).accepted == len(users)


def stream_on(world: StreamWorld, ended: threading.Event, errors: list[str]) -> None:
    """Step the stream consumer, as its actor does."""
    consumer = StreamConsumer(world.parts, 10**7, lambda what, error: errors.append(f"{what}: {error}"))
    while not ended.is_set():
        time.sleep(consumer.step())


def rebuild(world: StreamWorld) -> dict[str, Any]:
    operations = world.parts.operations
    operation = operations.submit("materialize", "activity", {}, actor="test")
    operations.lease(operation.id, 0)
    run_operation(operation.id, 1, world.parts)
    done = operations.get(operation.id)
    assert done.state == "succeeded", done.error
    return dict(done.result or {})


@contextmanager
def served(world: StreamWorld) -> Iterator[Watch]:
    """Serve: a stream, a sender and two readers, from the moment at which every user has a value."""
    watch, ended, errors = Watch(), threading.Event(), list[str]()
    push(world, "first", list(range(USERS)))
    rebuild(world)
    threads = [
        threading.Thread(target=stream_on, args=(world, ended, errors)),
        threading.Thread(target=push_on, args=(world, ended)),
        *(threading.Thread(target=read_on, args=(world, watch, ended)) for _ in range(2)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield watch
        wait_for_writes(world, USERS)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert errors == []
    rebuild(world)
    assert world.values(USERS) == world.replayed(USERS)


def wait_for_reads(watch: Watch, more: int) -> None:
    until, deadline_s = watch.reads + more, time.monotonic() + 60
    while watch.reads < until:
        assert time.monotonic() < deadline_s, "the readers have stopped"
        time.sleep(0.01)


def wait_for_writes(world: StreamWorld, rows: int) -> None:
    deadline_s = time.monotonic() + 60
    while (world.parts.states.get("stream", "activity") or {"entities": 0})["entities"] < rows:
        assert time.monotonic() < deadline_s, "the stream has hardly written"
        time.sleep(0.05)


def test_no_read_sees_a_rebuild(tmp_path: Path) -> None:
    with stream_world(tmp_path, FEATURES) as world, served(world) as watch:
        for _ in range(REBUILDS):
            wait_for_reads(watch, 20)
            assert rebuild(world)["entities"] == USERS
        wait_for_reads(watch, 20)
    assert watch.wrong == []
    assert watch.missing == 0


def test_a_server_that_was_emptied_is_rebuilt_while_it_is_read(tmp_path: Path) -> None:
    """Values are missing until then, and those that are there are never wrong."""
    with stream_world(tmp_path, FEATURES) as world, served(world) as watch:
        for _ in range(5):
            wait_for_reads(watch, 100)
            watch.may_miss.set()
            with redis.Redis.from_url(world.server.url) as client:
                client.flushall()
            wait_for_reads(watch, 5)
            assert rebuild(world)["entities"] == USERS
            watch.may_miss.clear()
        wait_for_reads(watch, 100)
    assert watch.wrong == []
    assert watch.missing > 0
