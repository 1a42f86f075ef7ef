"""The stream consumer killed again and again while events come in: nothing lost, online equals a replay."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.stream_world import StreamWorld, stream_world

import gnomon as gn
from gnomon.data.push_batches import Push

pytestmark = pytest.mark.failure

KILLS = 24
USERS = 20
FEATURES = [
    gn.Aggregation("*", "count", window="5s"),
    gn.Aggregation("n", "sum", window="1h"),
    gn.Aggregation("n", "count_distinct", window="30d"),
    gn.Aggregation("n", "last", window="1h", lag="3s"),
    gn.Column("n"),
]


class Sender(threading.Thread):
    """Pushes until told to end: new, repeated, corrected, late and moved events."""

    def __init__(self, world: StreamWorld) -> None:
        super().__init__(daemon=True)
        self.world, self.ended, self.versions = world, threading.Event(), set[str]()
        self._random, self._number = random.Random(11), 0
        self._sent: list[dict[str, Any]] = []

    def run(self) -> None:
        while not self.ended.wait(0.03):
            rows = [self._row() for _ in range(5)]
            lines = "\n".join(json.dumps(row) for row in rows).encode()
            report = self.world.pusher.push("events", Push(lines)).result(timeout=60)
            assert report.quarantined == 0, report
            self.versions.update(json.dumps(row, sort_keys=True) for row in rows)

    def _row(self) -> dict[str, Any]:
        chance, now = self._random.random(), datetime.now(UTC)
        if self._sent and chance < 0.1:
            return self._random.choice(self._sent)
        row = {"id": f"e{self._number}", "user": self._random.randrange(USERS), "n": self._random.randrange(100)}
        late_s = self._random.choice([0, 0, 0, 2, 10, 4000])
        times = {"at": (now - timedelta(seconds=late_s)).isoformat(), "known": now.isoformat()}
        if self._sent and chance < 0.25:  # a correction, which may move the event in time and to another user
            row["id"] = self._random.choice(self._sent)["id"]
        self._number += 1
        self._sent.append({**row, **times})
        return self._sent[-1]


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    process.stdout.close()
    process.wait()


def test_killed_at_random_moments(tmp_path: Path) -> None:
    moments = random.Random(5)
    with stream_world(tmp_path, FEATURES) as world:
        sender = Sender(world)
        sender.start()
        for number in range(KILLS):
            consumer = world.start_consumer()
            assert consumer.stdout is not None
            if number % 6:  # the others die while they start
                assert consumer.stdout.readline() == "stepping\n"
            time.sleep(moments.uniform(0, 0.8))
            kill(consumer)
        sender.ended.set()
        sender.join()
        assert world.parts.offline.read("events", columns=["id"]).num_rows == len(sender.versions)
        consumer = world.start_consumer()
        try:
            _wait_for_equality(world)
        finally:
            kill(consumer)


def _wait_for_equality(world: StreamWorld) -> None:
    """The values change by themselves as windows move, so that two readings may fall on two sides of an edge."""
    deadline_s = time.monotonic() + 60
    while (online := world.values(USERS)) != (replayed := world.replayed(USERS)):
        assert time.monotonic() < deadline_s, [(o, r) for o, r in zip(online, replayed, strict=True) if o != r]
        time.sleep(0.2)
