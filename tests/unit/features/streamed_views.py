"""Views that are streamed on real Delta tables and a real online server, and the comparison with a materialization."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from tests.feature_world import FeatureWorld, hour

import gnomon as gn
from gnomon.contracts.clocks import HandClock
from gnomon.data.push_batches import Push
from gnomon.data.pushing import Pusher, PushLimits
from gnomon.features.materialization import materialize
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.view_streams import ViewStream
from gnomon.testing.memory_stores import MemoryStates

CUSTOMERS = [1, 2, 3]


class Streamed:
    """A world whose views are streamed, and its clock.

    Args:
        folder: Empty.
        server: The online store's address.
        views: As `FeatureWorld` takes them.
        limit_bytes: Of each view's cache.
    """

    def __init__(
        self, folder: Path, server: str, views: Mapping[str, Mapping[str, Any]], limit_bytes: int = 10**9
    ) -> None:  # fmt: skip
        self.world = FeatureWorld(folder, server, views)
        self.views, self.server = tuple(views), server
        self.clock = HandClock(folder / "stream_clock", hour(100))
        self.states = MemoryStates()
        self.limit_bytes = limit_bytes
        schema = self.world.app.schemas["payments"]
        self.pusher = Pusher(
            lambda name: (self.world.source, schema), self.world.offline, self.clock, PushLimits(wait_s=0)
        )
        self.restart()

    def close(self) -> None:
        """Stop the parts."""
        self.pusher.close()
        self.world.online.close()

    def restart(self) -> None:
        self.streams = {
            name: ViewStream(
                self.world.app, name, self.world.offline, self.world.online, self.states, self.clock, self.limit_bytes
            )
            for name in self.views
        }

    def push(self, *rows: dict[str, Any]) -> None:
        lines = "".join(json.dumps(each) + "\n" for each in rows).encode()
        self.pusher.push("payments", Push(lines)).result(timeout=30)

    def step(self) -> None:
        for stream in self.streams.values():
            stream.step()

    def read(self, view: str, store: RedisOnlineStore) -> list[list[Any]]:
        names = [f"{view}.{f.name}" for f in self.world.app.get(gn.FeatureView, view).features]
        plan = read_plan(self.world.app, names)
        rows = store.read(plan, [{"customer": c} for c in CUSTOMERS], self.clock.now_us())
        values = [[None if _null(v) else v for v in rows.values[name]] for name in names]
        return [*values, rows.status.tolist()]


def _null(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def assert_equals_materialized(streamed: Streamed, server: str, view: str) -> None:
    """Compare with the whole view, materialized at the stream's moment into an empty store."""
    position = streamed.states.get("stream", view)
    as_of_us = streamed.clock.now_us()
    with closing(RedisOnlineStore(server, uuid.uuid4().hex, 10.0)) as fresh:
        if streamed.world.offline.version("payments") >= 0:
            materialize(streamed.world.app, view, streamed.world.offline, fresh, as_of_us)
            assert position is not None
        got, wanted = streamed.read(view, streamed.world.online), streamed.read(view, fresh)
    assert got == wanted, view
