"""The stream consumer over the platform's own parts: it follows what is applied, and waits for its online store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.stream_world import StreamWorld, stream_world

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.control_plane.streaming import StreamConsumer
from gnomon.data.push_batches import Push
from gnomon.errors import Unavailable

COUNT = gn.Aggregation("*", "count", window="1h")
TOTAL = gn.Aggregation("n", "sum", window="1h")


def push(world: StreamWorld, event_id: str, user: int, n: int) -> None:
    now = world.parts.clock.now_us()
    at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now / 1e6))}Z"
    line = json.dumps({"id": event_id, "at": at, "known": at, "user": user, "n": n}).encode()
    assert world.pusher.push("events", Push(line)).result(timeout=30).accepted == 1


def stepped(consumer: StreamConsumer, reached: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline_s, "not reached in time"
        time.sleep(min(consumer.step(), 0.05))


def apply(world: StreamWorld, features: list[Any], freshness: str | None) -> None:
    view = world.app.get(FeatureView, "activity")
    made = FeatureView("activity", entity=view.entity, source=view.source, features=features, freshness=freshness)
    definitions = [spec for spec in world.app.definitions if spec.name != "activity"]
    app = App.of("app", [*definitions, made], root=world.app.root).with_schemas(dict(world.app.schemas))
    world.parts.definitions.apply(app, actor="test")


def test_it_follows_what_is_applied(tmp_path: Path) -> None:
    errors: list[str] = []
    with stream_world(tmp_path, [COUNT]) as world:
        consumer = StreamConsumer(world.parts, 10**6, lambda what, error: errors.append(f"{what}: {error}"))
        consumer.step()  # no event was ever pushed
        push(world, "a", 0, 5)
        stepped(consumer, lambda: world.values(1)[0] == [1])
        apply(world, [COUNT, TOTAL], "2s")
        changed = view_layout(world.parts.apps()[0], "activity").version
        stepped(consumer, lambda: (world.parts.states.get("stream", "activity") or {})["layout"] == changed)
        apply(world, [COUNT, TOTAL], None)
        time.sleep(1.1)
        assert consumer.step() == 1.0
        before = world.parts.states.get("stream", "activity")
        push(world, "b", 0, 5)
        consumer.step()
        assert world.parts.states.get("stream", "activity") == before
    assert errors == []


def test_an_online_store_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stream_world(tmp_path, [COUNT]) as world:
        errors: list[Exception] = []
        consumer = StreamConsumer(world.parts, 10**6, lambda what, error: errors.append(error))
        push(world, "a", 0, 5)
        stepped(consumer, lambda: world.values(1)[0] == [1])
        world.server.stop()
        push(world, "b", 0, 5)
        stepped(consumer, lambda: bool(errors))
        assert isinstance(errors[0], Unavailable)
        state = world.parts.states.get("stream", "activity") or {}
        assert (state["error"] != "", state["version"]) == (True, 0)
        push(world, "c", 1, 5)
        world.server.start()

        def reached() -> bool:
            with suppress(Unavailable):
                return world.values(2)[0] == [2, 1]
            return False

        stepped(consumer, reached)
        stepped(consumer, lambda: (world.parts.states.get("stream", "activity") or {})["error"] == "")
