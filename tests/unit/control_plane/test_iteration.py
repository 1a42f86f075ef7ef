"""Steps of the control loop over fakes: order, errors that do not spread, and what is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.deployments import CHAMPION
from gnomon.contracts.platform_state import Applied
from gnomon.control_plane.execution import ControlPorts
from gnomon.control_plane.iteration import ControlLoop
from gnomon.errors import from_json
from gnomon.testing.control_plane_simulator import SimulatedApps, SimulatedClock, World, memory_stores

from .simulated_apps import revisions


class Platform(World):
    """A world with a control loop that a test steps by hand."""

    def __init__(self) -> None:
        clock = SimulatedClock()
        app = revisions()[1]
        applied = Applied(app, 1, app.content_hash(), datetime(2026, 1, 1, tzinfo=UTC))
        super().__init__(clock, SimulatedApps([applied]), *memory_stores(clock))
        self.errors: list[str] = []
        self.loop = self.restart()

    def restart(self) -> ControlLoop:
        ports = ControlPorts(
            self.definitions, self.registry, self.operations, self.states, self.workers, self.endpoints
        )
        self.loop = ControlLoop(ports, self.clock, self.note, machine_clock=self.clock)
        return self.loop

    def note(self, what: str, error: Exception) -> None:
        self.errors.append(f"{what}: {error}")

    def step(self, after_s: float = 0.5) -> None:
        self.clock.time_us += int(after_s * 1e6)
        self.endpoints.publish()
        self.loop.step()

    def serve(self) -> None:
        self.registry.move("m0", CHAMPION, 1)
        self.step()
        self.endpoints.become("e0", "healthy")
        self.step()


@pytest.fixture
def platform() -> Platform:
    return Platform()


def test_operation_runs_under_its_lease(platform: Platform) -> None:
    asked = platform.operations.submit("ingest", "payments", {}, actor="me")
    platform.step()
    assert platform.workers.processes == {(asked.id, 1)}
    assert platform.operations.get(asked.id).state == "running"
    platform.step()
    assert platform.workers.starts == {(asked.id, 1): 1}


def test_cluster_away_uses_up_no_attempt(platform: Platform) -> None:
    asked = platform.operations.submit("ingest", "payments", {}, actor="me")
    platform.workers.available = False
    for _ in range(20):
        platform.step()
    assert platform.operations.get(asked.id).attempts == 1
    platform.workers.available = True
    platform.step()
    assert platform.workers.processes == {(asked.id, 1)}


def test_operation_whose_workers_die_is_given_up(platform: Platform) -> None:
    asked = platform.operations.submit("ingest", "payments", {}, actor="me")
    for _ in range(200):
        platform.step()
        for worker in platform.workers.running():
            platform.workers.end(worker)
    ended = platform.operations.get(asked.id)
    assert (ended.state, ended.attempts) == ("failed", 5)
    assert ended.error is not None
    assert "given up after 5 attempts" in str(from_json(ended.error))


def test_one_failing_part_does_not_stop_the_others(platform: Platform) -> None:
    platform.workers.available = False
    platform.operations.submit("ingest", "payments", {}, actor="me")
    platform.registry.move("m0", CHAMPION, 1)
    platform.step()
    assert platform.endpoints.names() == ["e0"]
    assert len(platform.errors) == 1
    assert "the fake cluster is away" in platform.errors[0]


def test_endpoint_is_recorded_as_it_becomes(platform: Platform) -> None:
    platform.step()
    absent = platform.states.get("endpoint", "e0")
    assert absent is not None
    assert (absent["state"], absent["version"], absent["wanted_version"]) == ("absent", None, None)
    platform.serve()
    served = platform.states.get("endpoint", "e0")
    assert served is not None
    assert (served["state"], served["version"], served["replicas"]) == ("healthy", 1, 1)
    platform.definitions.applied = []
    platform.step()
    platform.step()
    assert (platform.states.get("endpoint", "e0") or {})["state"] == "removed"


def test_endpoint_is_recorded_as_healthy_after_its_monitor_was_scheduled(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waited for the endpoint may turn the clock at once, and the loop may die right there."""
    puts: list[tuple[str, str]] = []
    put = platform.states.put

    def noted(kind: str, name: str, document: Mapping[str, Any]) -> None:
        puts.append((kind, name))
        put(kind, name, document)

    platform.registry.move("m0", CHAMPION, 1)
    platform.step()
    platform.endpoints.become("e0", "healthy")
    monkeypatch.setattr(platform.states, "put", noted)
    platform.step()
    assert puts[:3] == [("monitor_schedule", "watch0"), ("monitor_schedule", "watch1"), ("endpoint", "e0")]


def test_heartbeat_is_written_every_two_seconds(platform: Platform) -> None:
    beats = set()
    for _ in range(20):
        platform.step(0.5)
        beats.add((platform.states.get("control_plane", "heartbeat") or {})["wall_us"])
    assert len(beats) == 5


def test_fired_monitor_retrains_once_through_restarts(platform: Platform) -> None:
    platform.serve()
    platform.step()
    platform.step(41)
    evaluation = next(o for o in platform.operations.list() if (o.kind, o.target) == ("monitor", "watch0"))
    platform.step()
    assert platform.operations.finish(evaluation.id, 1, result={"fired": True})
    for _ in range(3):
        platform.restart()
        platform.step()
    retrainings = [o for o in platform.operations.list() if o.kind == "retrain"]
    assert [(o.id, o.target) for o in retrainings] == [(f"retrain-{evaluation.id}", "m0")]
    assert retrainings[0].arguments == {"monitor": "watch0", "evaluation": evaluation.id}


def test_cancel_stops_a_worker_of_an_earlier_loop(platform: Platform) -> None:
    asked = platform.operations.submit("ingest", "payments", {}, actor="me")
    platform.step()
    platform.operations.cancel(asked.id)
    platform.restart()
    platform.step()
    assert platform.workers.processes == set()


class RecordedKeeper:
    """Remembers what was wanted of the stream consumer."""

    def __init__(self) -> None:
        self.wanted: list[bool] = []

    def keep(self, *, wanted: bool) -> None:
        self.wanted.append(wanted)


def test_the_stream_consumer_runs_while_a_view_is_fresh(platform: Platform) -> None:
    keeper = RecordedKeeper()
    ports = ControlPorts(
        platform.definitions, platform.registry, platform.operations, platform.states, platform.workers,
        platform.endpoints, keeper,
    )  # fmt: skip
    loop = ControlLoop(ports, platform.clock, platform.note, machine_clock=platform.clock)
    loop.step()
    source = gn.DataSource("events", path="*.csv", id="id", event_time="at")
    user = gn.Entity("user", key="user")
    fresh = gn.FeatureView("activity", entity=user, source=source, features=[gn.Column("n")], freshness="1s")
    app = App.of("streamed", [source, user, fresh])
    platform.definitions.apps().append(Applied(app, 1, app.content_hash(), datetime(2026, 1, 1, tzinfo=UTC)))
    loop.step()
    assert (keeper.wanted, platform.errors) == ([False, True], [])
