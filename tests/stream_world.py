"""A home with fresh views and a stream consumer in a process of its own, as the platform composes it, without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gnomon as gn
from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.contracts.online_store import OnlineRows, OnlineStore
from gnomon.control_plane.parts import Parts
from gnomon.data.pushing import Pusher, PushLimits
from gnomon.features.materialization import materialize
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.runtime.processes import free_ports

_CONSUMER = """
import time
from gnomon import composition
consumer = composition.stream_consumer()
pause_s = consumer.step()
print("stepping", flush=True)
while True:
    time.sleep(pause_s)
    pause_s = consumer.step()
"""
_SCHEMA: dict[str, Any] = {"id": "string", "at": "timestamp", "known": "timestamp", "user": "int64", "n": "int64"}


class StreamWorld:
    """Source `events` (user, n), the view `activity` over it, kept fresh.

    Args:
        home: The platform's home; its settings are in the environment already.
        server: The online store's.
        features: Of the view.
        push_wait_s: How long a push waits for others.
    """

    def __init__(self, home: Path, server: EmbeddedValkey, features: list[Any], push_wait_s: float = 0.02) -> None:
        self.server = server
        self.parts: Parts = composition.parts.__wrapped__()
        user = gn.Entity("user", key="user")
        source = gn.DataSource("events", path="*.jsonl", id="id", event_time="at", known_time="known")
        view = gn.FeatureView("activity", entity=user, source=source, features=features, freshness="1s")
        self.app = App.of("app", [user, source, view], root=str(home)).with_schemas({"events": _SCHEMA})
        self.parts.definitions.apply(self.app, actor="test")
        self.plan = read_plan(self.app, [f"activity.{feature.name}" for feature in view.features])
        self.pusher = Pusher(
            lambda name: (source, self.app.schemas["events"]), self.parts.offline, self.parts.clock,
            PushLimits(wait_s=push_wait_s),
        )  # fmt: skip

    def start_consumer(self) -> subprocess.Popen[str]:
        """Start the consumer; its first line of output comes after its first step."""
        return subprocess.Popen([sys.executable, "-c", _CONSUMER], stdout=subprocess.PIPE, text=True)

    def read(self, users: int, store: OnlineStore | None = None) -> OnlineRows:
        """Read the first users' values."""
        keys = [{"user": user} for user in range(users)]
        return (store or self.parts.online).read(self.plan, keys, self.parts.clock.now_us(), 10.0)

    def values(self, users: int, store: OnlineStore | None = None) -> list[list[Any]]:
        """Return the values and statuses of the first users, nulls as None."""
        rows = self.read(users, store)
        columns = [[None if value != value else value for value in rows.values[name]] for name in self.plan.names]
        return [*columns, rows.status.tolist()]

    def replayed(self, users: int) -> list[list[Any]]:
        """Return the values as of now, computed from the whole offline table into an empty store."""
        with closing(RedisOnlineStore(self.server.url, uuid.uuid4().hex, 10.0)) as fresh:
            materialize(self.app, "activity", self.parts.offline, fresh, self.parts.clock.now_us())
            return self.values(users, fresh)


@contextmanager
def stream_world(home: Path, features: list[Any], **options: Any) -> Iterator[StreamWorld]:
    """Run an online store, and give a world over it."""
    server = EmbeddedValkey(home / "valkey", port=free_ports(1)[0])
    server.start()
    before: Mapping[str, str] = dict(os.environ)
    os.environ |= {"GNOMON_HOME": str(home), "GNOMON_ONLINE_URL": server.url, "GNOMON_ONLINE_TIMEOUT_S": "5"}
    try:
        world = StreamWorld(home, server, features, **options)
        yield world
        world.pusher.close()
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()
