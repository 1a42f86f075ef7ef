"""The topic consumer killed again and again while messages come in, and the broker too: nothing lost, nothing twice."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.topic_world import TopicSender, TopicWorld, topic_world

from gnomon.data.topic_positions import stored_position

pytestmark = pytest.mark.failure

KILLS = 24
BROKER_KILLS = 5


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    process.stdout.close()
    process.wait()


def started(world: TopicWorld) -> subprocess.Popen[str]:
    process = world.start_consumer()
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    return process


def until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.1)


def expect_all_once(world: TopicWorld, sender: TopicSender) -> None:
    """Wait until every message has arrived, and look that none has twice."""
    wanted = sorted(sender.versions)
    until(lambda: len(world.rows()) >= len(wanted), lambda: (len(world.rows()), len(wanted)))
    until(lambda: len(world.rejected()) >= sender.bad, lambda: (len(world.rejected()), sender.bad))
    time.sleep(1.0)  # what comes twice may come late
    assert world.rows() == wanted
    rejected = world.rejected()
    assert len(rejected) == len(set(rejected)) == sender.bad


def test_killed_at_random_moments(tmp_path: Path) -> None:
    moments = random.Random(5)
    with topic_world(tmp_path) as world:
        sender = TopicSender(world.broker)
        sender.start()
        for number in range(KILLS):
            begun = world.parts.offline.version("events")
            consumers = [world.start_consumer() for _ in range(1 + (number % 5 == 2))]  # now and then two at once
            if number % 6:  # the others die while they start
                until(lambda known=begun: world.parts.offline.version("events") > known, lambda: "nothing came")
            time.sleep(moments.uniform(0.0, 1.0))
            for consumer in consumers:
                kill(consumer)
        sender.ended.set()
        sender.join()
        position = stored_position(world.source, world.parts.offline)
        assert position.number >= KILLS, "the kills came before anything was committed"
        last = started(world)
        try:
            expect_all_once(world, sender)
        finally:
            kill(last)
        print(f"{sender.sent} messages, {len(sender.versions)} rows, {sender.bad} in quarantine, {KILLS} kills")


def test_the_broker_is_killed_and_comes_back(tmp_path: Path) -> None:
    with topic_world(tmp_path) as world:
        consumer, sender = started(world), TopicSender(world.broker)
        try:
            sender.start()
            for _ in range(BROKER_KILLS):
                time.sleep(1.0)
                world.broker.kill()
                time.sleep(1.0)
                world.broker.start()
            time.sleep(1.0)
            sender.ended.set()
            sender.join()
            expect_all_once(world, sender)
        finally:
            kill(consumer)
        position = stored_position(world.source, world.parts.offline)
        assert (dict(position.lost), dict(position.skipped), position.rereads) == ({}, {}, 0)
