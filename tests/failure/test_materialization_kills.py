"""A materialization that is killed again and again while a view changes: reads see one whole version, old or new."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.version_world import VersionWorld, version_world

from gnomon.features.online_versions import is_online

pytestmark = [pytest.mark.failure, pytest.mark.timeout(600)]

KILLS = 32
USERS = 30_000

_WORK = """
import sys, time
from gnomon import composition
from gnomon.control_plane.operation_work import run_operation
parts = composition.parts()
operation = parts.operations.get(sys.argv[1])
leased = parts.operations.lease(operation.id, operation.lease)
print("started", flush=True)
began = time.monotonic()
run_operation(operation.id, leased.lease, parts)
print(time.monotonic() - began, flush=True)
"""


def work(operation_id: str, kill_after_s: float | None = None) -> float | None:
    """Do an attempt of an operation in a process of its own; return how long it took, None where it was killed."""
    process = subprocess.Popen([sys.executable, "-c", _WORK, operation_id], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            process.send_signal(signal.SIGKILL)
        *_, last = process.stdout.read().split() or [""]
        return None if process.wait() == -signal.SIGKILL else float(last)


def check(world: VersionWorld, old: int, new: int, version: str) -> bool:
    """Return whether the new version is shown; what is shown is whole, and so is what the deployed model reads."""
    switched = is_online(world.parts.states, "spend", version)
    shown = world.shown()
    assert shown in (world.expected(old), world.expected(new))
    if shown == world.expected(old):
        assert not switched
    assert world.served(1) == world.expected(0)
    return shown == world.expected(new)


def test_killed_at_random_moments_and_resumed(tmp_path: Path) -> None:
    moments = random.Random(3)
    with version_world(tmp_path, USERS) as world:
        first = world.submit("materialize", "spend")
        whole_s = work(first.id)
        assert whole_s is not None
        world.promote(world.train())
        killed, shown, halves, resumed = 0, 0, 0, 0
        for plus in range(1, KILLS + 2):
            version, kills = world.apply(plus), 0
            operation = world.submit("materialize", "spend")
            while world.parts.operations.get(operation.id).state != "succeeded":
                wants_kill = killed < KILLS and kills < 3
                was_killed = work(operation.id, moments.uniform(0, 1.6 * whole_s) if wants_kill else None) is None
                killed, kills = killed + was_killed, kills + was_killed
                is_new = check(world, shown, plus, version)
                halves += was_killed and not is_new and f"spend@{version}" in world.fields()
            assert check(world, shown, plus, version)
            resumed += kills > 0
            shown = plus
            if killed >= KILLS:
                break
        print(f"{killed} kills, {halves} of them in the middle of the rows, {resumed} definitions resumed")
        assert killed >= KILLS
        assert halves > 0
        assert world.materialize()["also"] != {}
