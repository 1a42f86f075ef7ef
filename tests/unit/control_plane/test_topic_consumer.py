"""The topic consumer follows what is applied, and the control loop wants it while a topic is a source."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.gateway_world import bare_parts
from tests.kafka_broker import KafkaBroker, running
from tests.waiting import until

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.platform_state import Applied
from gnomon.control_plane.execution import ControlPorts
from gnomon.control_plane.iteration import ControlLoop
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.topic_consumer import TopicConsumer
from gnomon.testing.control_plane_simulator import SimulatedApps, SimulatedClock, World, memory_stores

_SCHEMA: dict[str, Any] = {"id": "string", "at": "timestamp", "n": "int64"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with running(KafkaBroker(tmp_path_factory.mktemp("kafka"))) as made:
        made.create_topic("one")
        made.create_topic("two")
        yield made


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    return bare_parts(tmp_path, monkeypatch)


@contextmanager
def consuming(parts: Parts) -> Iterator[TopicConsumer]:
    errors: list[str] = []
    consumer = TopicConsumer(parts, 0.02, lambda what, error: errors.append(f"{what}: {error}"))
    yield consumer
    consumer.close()
    assert errors == []


def app_over(broker: KafkaBroker, *topics: str, most: int | None = None) -> App:
    """Return an app with a source of each topic's name."""
    sources = [
        gn.DataSource(
            topic, kafka=gn.KafkaTopic(topic, servers=broker.servers), id="id", event_time="at",
            fields={"id": "string", "n": gn.Field("int64", max=most)},
        )
        for topic in topics
    ]  # fmt: skip
    definitions = [gn.Entity("user", key="id"), *sources]
    return App.of("app", definitions, root="/").with_schemas(dict.fromkeys(topics, _SCHEMA))


def send(broker: KafkaBroker, topic: str, name: str, n: int = 1) -> None:
    broker.send(topic, json.dumps({"id": name, "at": "2025-06-01T00:00:00Z", "n": n}))


def rows(parts: Parts, table: str) -> int:
    return 0 if parts.offline.version(table) < 0 else parts.offline.read(table).num_rows


def test_it_follows_what_is_applied(parts: Parts, broker: KafkaBroker) -> None:
    with consuming(parts) as consumer:
        assert consumer.step() == 1.0  # nothing is applied
        parts.definitions.apply(app_over(broker, "one", "two"), actor="test")
        consumer.step()
        send(broker, "one", "a", 5)
        send(broker, "two", "a", 5)
        until(lambda: (rows(parts, "one"), rows(parts, "two")) == (1, 1), 60)
        parts.definitions.apply(app_over(broker, "one", most=3), actor="test")
        consumer.step()
        send(broker, "one", "b", 5)
        send(broker, "two", "b", 5)
        until(lambda: rows(parts, "one__quarantine") == 1, 60)  # by the new rule; what was there before stays
        assert (rows(parts, "one"), rows(parts, "two")) == (1, 1)
        assert [thread.name for thread in threading.enumerate() if thread.name.startswith("topic-")] == ["topic-one"]
        parts.definitions.apply(app_over(broker, "one", "two"), actor="test")
        consumer.step()
        until(lambda: rows(parts, "two") == 2, 60)  # it goes on where it had ended
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("topic-")]


def test_a_broker_that_is_away_holds_up_no_other(parts: Parts, broker: KafkaBroker, tmp_path: Path) -> None:
    away = KafkaBroker(tmp_path / "away")
    other = App.of("other", app_over(away, "far").all(gn.DataSource), root="/").with_schemas({"far": _SCHEMA})
    parts.definitions.apply(other, actor="test")
    parts.definitions.apply(app_over(broker, "one"), actor="test")
    with consuming(parts) as consumer:
        before = rows(parts, "one")
        consumer.step()
        send(broker, "one", f"c{before}")
        until(lambda: rows(parts, "one") > before, 60)
        until(lambda: "does not answer" in (parts.states.get("topic", "far") or {}).get("error", ""), 60)


class Kept:
    """Remembers what was wanted."""

    def __init__(self) -> None:
        self.wanted: list[bool] = []

    def keep(self, *, wanted: bool) -> None:
        self.wanted.append(wanted)


@pytest.mark.parametrize("topics", [(), ("one",)])
def test_the_control_loop_keeps_it_while_a_topic_is_a_source(broker: KafkaBroker, topics: tuple[str, ...]) -> None:
    clock, app = SimulatedClock(), app_over(broker, *topics)
    applied = Applied(app, 1, app.content_hash(), datetime(2026, 1, 1, tzinfo=UTC))
    world, streams, kept = World(clock, SimulatedApps([applied]), *memory_stores(clock)), Kept(), Kept()
    ports = ControlPorts(
        world.definitions, world.registry, world.operations, world.states, world.workers, world.endpoints, streams, kept
    )
    ControlLoop(ports, clock, lambda what, error: pytest.fail(f"{what}: {error}"), machine_clock=clock).step()
    assert (streams.wanted, kept.wanted) == ([False], [bool(topics)])
