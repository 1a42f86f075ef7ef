"""SIGKILL of the control plane all through the life of the payments example, and of workers: it comes out the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.local_platform import LocalPlatform
from tests.payments_life import PATIENCE_S, PHASES, PROBE, Listener, PaymentsLife, fresh_home, logged
from tests.payments_outcome import Outcome
from tests.process_killer import ProcessKiller
from tests.waiting import until

from gnomon.client import Client
from gnomon.errors import GnomonError
from gnomon.storage.delta_tables import DeltaTables

pytestmark = [pytest.mark.failure, pytest.mark.cluster, pytest.mark.timeout(3600)]

KILLS, SEED = 20, 7
CONTROL_PLANE = ("ray::ControlPlane",)
WORKERS = ("ray::OperationWorker", "ray::SharedProcess")


class Trickle:
    """Asks the probe for one prediction after another, and notes each that failed.

    Args:
        platform: Asked by a client of its own.
        requests: What is asked, by turns.
    """

    def __init__(self, platform: LocalPlatform, requests: list[dict[str, Any]]) -> None:
        self.answered: list[str] = []
        self.failed: list[str] = []
        self.slowest_s = 0.0
        self._client = platform.client()
        self._requests = requests
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="trickle", daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask all through the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()
            self._client.close()

    def _ask(self) -> None:
        number = 0
        while not self._ended.wait(0.1):
            request, began = self._requests[number % len(self._requests)], time.monotonic()
            try:
                self.answered.append(self._client.predict(PROBE, prediction_id=f"probe-{number}", **request)["id"])
            except GnomonError as error:
                self.failed.append(f"probe-{number} after {time.monotonic() - began:.1f} s: {error}")
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            number += 1


class Life:
    """One life of the example on a platform of its own, and what came of it.

    Args:
        home: The platform's.
    """

    def __init__(self, home: Path) -> None:
        self.clock = fresh_home(home)
        self.platform = LocalPlatform(home, {"GNOMON_CLOCK_FILE": str(home / "clock")})
        self.retrained: list[dict[str, Any]] = []
        self.endpoints: list[tuple[str, str, int]] = []

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Run the platform around the block."""
        self.platform.up()
        try:
            with self.platform.client() as client:
                yield client
        finally:
            self.platform.down()
        assert self.platform.processes() == []

    def lived(self, client: Client, listener: Listener) -> Trickle:
        """Live it; a trickle of predictions runs from the first deployment on."""
        life = PaymentsLife(client, self.platform.home, self.clock, listener)
        life.first_model()
        trickle = Trickle(self.platform, life.requests())
        with trickle.running():
            life.live()
        tables = DeltaTables(self.platform.home / "tables")
        until(lambda: len(logged(tables, PROBE)) >= len(trickle.answered), PATIENCE_S)
        assert sorted(logged(tables, "fraud")) == sorted(life.predicted)
        assert sorted(logged(tables, PROBE)) == sorted(trickle.answered)
        self.retrained = life.retrained
        self.endpoints = [(d["name"], d["state"], d["version"]) for d in client.status()["deployments"]]
        return trickle


def test_killed_control_plane_changes_nothing(tmp_path: Path) -> None:
    calm, struck = Life(tmp_path / "calm"), Life(tmp_path / "struck")
    with calm.client() as client:
        began = time.monotonic()
        calm_trickle = calm.lived(client, lambda phase, state: None)
        calm_s = time.monotonic() - began
    killer = ProcessKiller(struck.platform, CONTROL_PLANE, SEED, at_each=2, most=90, chance=0.2)
    with struck.client() as client, killer:
        began = time.monotonic()
        trickle = struck.lived(client, lambda phase, state: killer.at(phase))
        struck_s = time.monotonic() - began
    outcome = Outcome(struck.platform.home)
    again = sorted(f"{op.id}: {op.attempts}" for op in outcome.operations() if op.attempts > 1)
    print(
        f"\n{killer.total()} kills of the control plane (seed {SEED}): {dict(killer.kills)}; "
        f"{len(outcome.operations())} operations, needed more than one lease: {again}; "
        f"{len(trickle.answered)} predictions answered meanwhile, {len(trickle.failed)} failed, "
        f"slowest {trickle.slowest_s:.1f} s ({calm_trickle.slowest_s:.1f} s undisturbed); "
        f"{len(struck.retrained)} retrainings; {struck_s:.0f} s, undisturbed {calm_s:.0f} s"
    )
    assert killer.total() >= KILLS
    assert set(killer.kills) >= set(PHASES)
    assert (calm_trickle.failed, trickle.failed) == ([], [])
    assert len(trickle.answered) > 100
    assert calm.endpoints == struck.endpoints
    assert {state for _, state, _ in struck.endpoints} == {"healthy"}
    assert_equal(Outcome(calm.platform.home).facts(), outcome.facts())
    assert_ended_once(outcome)
    assert [d["promoted"] for d in struck.retrained].count(True) >= 1


def test_killed_workers_end_every_operation_once(tmp_path: Path) -> None:
    life = Life(tmp_path / "struck")
    killer = ProcessKiller(life.platform, WORKERS, SEED, at_each=2, most=12)

    def at(phase: str, state: str) -> None:
        if state == "running":
            killer.at(phase)

    with life.client() as client:
        PaymentsLife(client, life.platform.home, life.clock, at).first_model()
    outcome = Outcome(life.platform.home)
    attempts = {op.id: op.attempts for op in outcome.operations()}
    print(f"\n{killer.total()} kills of workers (seed {SEED}): {dict(killer.kills)}; attempts: {attempts}")
    assert killer.total() >= 5
    assert max(attempts.values()) > 1, "no kill struck any work"
    assert_ended_once(outcome)
    facts = outcome.facts()
    assert [version["number"] for version in facts["versions"]] == [1]
    assert [(before, after) for _, before, after, _ in facts["aliases"]] == [(None, 1)]


def assert_ended_once(outcome: Outcome) -> None:
    """Every operation succeeded, and no worker was started twice under one lease."""
    assert {op.state for op in outcome.operations()} == {"succeeded"}
    assert set(outcome.attempts().values()) == {1}
    began = {operation for operation, _ in outcome.attempts()}
    assert began == {op.id for op in outcome.operations()}


def assert_equal(calm: dict[str, Any], struck: dict[str, Any]) -> None:
    """Compare fact by fact, so that a difference is named."""
    assert calm.keys() == struck.keys()
    differing = {name: (calm[name], struck[name]) for name in calm if calm[name] != struck[name]}
    for name, (before, after) in differing.items():
        print(f"\n{name}\n  undisturbed: {str(before)[:3000]}\n  struck:      {str(after)[:3000]}")
    assert not differing, f"these differ: {sorted(differing)}"
