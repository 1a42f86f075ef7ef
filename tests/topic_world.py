"""A home with a source whose rows come from a topic, and the topic consumer in a process of its own, without Ray."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.kafka_broker import KafkaBroker, running

import gnomon as gn
from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.control_plane.parts import Parts

PARTITIONS = 3

_CONSUMER = """
import time
from gnomon import composition
consumer = composition.topic_consumer()
consumer.step()
print("reading", flush=True)
while True:
    time.sleep(consumer.step())
"""


class TopicWorld:
    """Source `events` over the topic `events` of a broker.

    Args:
        home: The platform's home; its settings are in the environment already.
        broker: Has the topic.
    """

    def __init__(self, home: Path, broker: KafkaBroker) -> None:
        self.broker = broker
        self.parts: Parts = composition.parts.__wrapped__()
        self.source = gn.DataSource(
            "events",
            kafka=gn.KafkaTopic("events", servers=broker.servers),
            id="id",
            event_time="at",
            fields={"id": "string", "n": "int64"},
        )
        app = App.of("app", [self.source], root=str(home))
        schema: dict[str, Any] = {"id": "string", "at": "timestamp", "n": "int64"}
        self.parts.definitions.apply(app.with_schemas({"events": schema}), actor="test")

    def start_consumer(self) -> subprocess.Popen[str]:
        """Start the consumer; its first line of output comes when it has begun."""
        return subprocess.Popen([sys.executable, "-c", _CONSUMER], stdout=subprocess.PIPE, text=True)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows of the table, sorted."""
        if self.parts.offline.version("events") < 0:
            return []
        read = self.parts.offline.read("events", columns=["id", "at", "n"])
        return sorted((row["id"], row["at"].isoformat(), row["n"]) for row in read.to_pylist())

    def rejected(self) -> list[tuple[str, int]]:
        """Return the places of the rows in quarantine, sorted."""
        if self.parts.offline.version("events__quarantine") < 0:
            return []
        read = self.parts.offline.read("events__quarantine", columns=["file", "line"])
        return sorted((row["file"], row["line"]) for row in read.to_pylist())


class TopicSender(threading.Thread):
    """Sends until told to end: new, repeated, corrected and late events, and some messages that are none.

    Args:
        broker: Where to.

    Attributes:
        versions: What should be in the table, each once.
        bad: Messages that should be in quarantine.
    """

    def __init__(self, broker: KafkaBroker) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.versions: set[tuple[str, str, int]] = set()
        self.bad = self.sent = 0
        self._producer = broker.producer(**{"enable.idempotence": True, "acks": "all"})
        self._random = random.Random(7)
        self._rows: list[tuple[str, str, int]] = []

    def run(self) -> None:
        while not self.ended.wait(0.02):
            for _ in range(5):
                self._send()
            self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def _send(self) -> None:
        chance, partition = self._random.random(), self._random.randrange(PARTITIONS)
        self.sent += 1
        if chance < 0.03:
            self.bad += 1
            value = self._random.choice([None, b"", b"{", b"\xff"])
            self._producer.produce("events", value=value, key=b"k", partition=partition)
            return
        row = self._random.choice(self._rows) if self._rows and chance < 0.15 else self._row(chance)
        self.versions.add(row)
        value = json.dumps(dict(zip(("id", "at", "n"), row, strict=True)))
        self._producer.produce("events", value=value, partition=partition)

    def _row(self, chance: float) -> tuple[str, str, int]:
        late_s = self._random.choice([0, 0, 0, 5, 4000])
        at = datetime.now(UTC) - timedelta(seconds=late_s)
        known = self._random.choice(self._rows)[0] if self._rows and chance < 0.25 else f"e{len(self._rows)}"
        self._rows.append((known, at.isoformat(), len(self._rows)))
        return self._rows[-1]


@contextmanager
def topic_world(home: Path) -> Iterator[TopicWorld]:
    """Run a broker, and give a world over it."""
    before: Mapping[str, str] = dict(os.environ)
    os.environ |= {"GNOMON_HOME": str(home), "GNOMON_ONLINE_URL": "redis://127.0.0.1:1"}  # nothing is served
    try:
        with running(KafkaBroker(home / "kafka")) as broker:
            broker.create_topic("events", PARTITIONS)
            yield TopicWorld(home, broker)
    finally:
        os.environ.clear()
        os.environ.update(before)
