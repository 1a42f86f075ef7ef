"""The rules of the control plane, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gnomon.contracts.clocks import from_us
from gnomon.contracts.cluster import EndpointStatus, EndpointTarget
from gnomon.contracts.operations import Operation
from gnomon.control_plane.actions import (
    Deploy,
    FailOperation,
    RemoveEndpoint,
    ScheduleMonitor,
    SettleEvaluation,
    StartAttempt,
    StartWorker,
    StopWorker,
    SubmitEvaluation,
)
from gnomon.control_plane.desired import Desired, WatchedMonitor
from gnomon.control_plane.monitor_states import MonitorState
from gnomon.control_plane.observation import Deployed, Observed
from gnomon.control_plane.reconcile import reconcile

S = 1_000_000
NOW_US = 1_000_000 * S
TARGET = EndpointTarget("e", "m", 1, "hash")
HEALTHY = EndpointStatus(TARGET, "healthy", replicas=1)
MONITOR = WatchedMonitor("w", "e", "m", every_us=100 * S, cooldown_us=500 * S, on_fire="retrain")


def op(identity: str, kind: Any = "ingest", target: str = "", **fields: Any) -> Operation:
    return Operation(identity, kind, target or identity, **fields)


def running(identity: str, lease: int = 1, **fields: Any) -> Operation:
    return op(identity, state="running", lease=lease, attempts=lease, **fields)


def decide(*operations: Operation, targets: Any = None, watched: Any = (), **observed: Any) -> list[Any]:
    desired = Desired(targets or {}, {m.name: m for m in watched}, operations)
    return reconcile(desired, Observed(**{"machine_us": NOW_US, **observed}), NOW_US)


# Operations


def test_nothing_to_do() -> None:
    assert decide(running("a"), alive={"a": True}, targets={"e": TARGET}, endpoints={"e": HEALTHY}) == []


def test_pending_starts_first_come_first_served_within_the_slots() -> None:
    assert decide(*(op(name) for name in "abcdef")) == [StartAttempt(name, 0) for name in "abcd"]
    assert decide(running("a"), op("b"), alive={"a": True}) == [StartAttempt("b", 0)]


def test_one_heavy_operation_at_a_time() -> None:
    assert decide(op("a", "train"), op("b", "retrain"), op("c")) == [StartAttempt("a", 0), StartAttempt("c", 0)]
    assert decide(running("a", kind="retrain"), op("b", "train"), alive={"a": True}) == []


def test_same_work_waits_for_its_like() -> None:
    waiting = [op("a", target="payments"), op("b", target="payments"), op("c", "materialize", "payments")]
    assert decide(*waiting) == [StartAttempt("a", 0), StartAttempt("c", 0)]


def test_evaluation_is_remembered_before_it_runs() -> None:
    assert decide(op("a", "monitor", "w")) == [StartAttempt("a", 0, monitor="w")]


def test_dead_worker_is_replaced_after_a_pause() -> None:
    for lease, pause_s in ((1, 1), (2, 2), (4, 8)):
        dead = {"alive": {"a": False}, "leased_us": {"a": NOW_US - pause_s * S}}
        assert decide(running("a", lease), **dead) == [StartAttempt("a", lease)]
        assert decide(running("a", lease), **dead, machine_us=NOW_US - 1) == []


def test_dead_worker_of_an_earlier_loop_is_replaced_at_once() -> None:
    assert decide(running("a"), alive={"a": False}) == [StartAttempt("a", 1)]


def test_unknown_is_not_dead() -> None:
    assert decide(running("a")) == []


def test_unconfirmed_start_is_repeated_under_its_lease() -> None:
    missing = {"alive": {"a": False}, "unstarted": frozenset({"a"}), "leased_us": {"a": NOW_US}}
    assert decide(running("a", 5), **missing) == [StartWorker("a", 5)]


def test_fifth_death_ends_it_with_a_message() -> None:
    dead = running("a", 5, target="payments", progress="read 7 files")
    [failed] = decide(dead, alive={"a": False})
    assert failed == FailOperation("a", 5, failed.message)
    assert failed.message == (
        "ingest of 'payments' was given up after 5 attempts: each worker died before it was done; "
        "the last one said: read 7 files"
    )


def test_cancelled_worker_is_stopped() -> None:
    assert decide(cancelled=(op("a", state="cancelled", lease=3),)) == [StopWorker("a", 3)]


# Endpoints


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (None, [Deploy(TARGET)]),
        (HEALTHY, []),
        (EndpointStatus(TARGET, "starting"), []),
        (EndpointStatus(TARGET, "unhealthy"), [Deploy(TARGET)]),
        (EndpointStatus(replace(TARGET, version=2), "healthy"), [Deploy(TARGET)]),
        (EndpointStatus(replace(TARGET, app_hash="old"), "starting"), [Deploy(TARGET)]),
    ],
)
def test_endpoint_is_brought_to_its_target(seen: EndpointStatus | None, expected: list[Any]) -> None:
    assert decide(targets={"e": TARGET}, endpoints={} if seen is None else {"e": seen}) == expected


def test_silent_serving_system_is_left_alone() -> None:
    assert decide(targets={"e": TARGET}, endpoints=None) == []


def test_without_a_champion_what_serves_stays() -> None:
    assert decide(targets={"e": None}, endpoints={"e": HEALTHY}) == []
    assert decide(targets={"e": None}, endpoints={}) == []


def test_endpoint_that_no_app_defines_is_removed() -> None:
    assert decide(endpoints={"e": HEALTHY}) == [RemoveEndpoint("e")]


@pytest.mark.parametrize(("times", "pause_s"), [(1, 5), (2, 10), (4, 40), (7, 300), (99, 300)])
def test_same_target_is_asked_for_again_after_growing_pauses(times: int, pause_s: int) -> None:
    ill = {"targets": {"e": TARGET}, "endpoints": {"e": EndpointStatus(TARGET, "unhealthy")}}
    last_us = NOW_US - pause_s * S
    assert decide(**ill, deployed={"e": Deployed(TARGET, times, last_us)}) == [Deploy(TARGET)]
    assert decide(**ill, deployed={"e": Deployed(TARGET, times, last_us + 1)}) == []
    assert decide(**ill, deployed={"e": Deployed(replace(TARGET, version=9), times, NOW_US)}) == [Deploy(TARGET)]


# Monitors


def watch(state: MonitorState | None, **observed: Any) -> list[Any]:
    states = {} if state is None else {"w": state}
    serving = {"targets": {"e": TARGET}, "endpoints": {"e": HEALTHY}}
    return decide(watched=[MONITOR], monitors=states, **{**serving, **observed})


def test_monitor_is_first_due_one_interval_after_its_deployment_serves() -> None:
    assert watch(None) == [ScheduleMonitor("w", NOW_US + 100 * S)]
    assert watch(None, endpoints={"e": EndpointStatus(TARGET, "starting")}) == []
    assert watch(None, endpoints=None) == []
    assert watch(MonitorState(next_due_us=NOW_US + 1)) == []


def test_due_monitor_is_evaluated_and_what_was_missed_is_not_made_up_for() -> None:
    for late_s in (0, 30, 250):
        due_us = NOW_US - late_s * S
        [asked] = watch(MonitorState(next_due_us=due_us))
        assert asked == SubmitEvaluation("w", f"monitor-w-{due_us}", due_us, asked.next_due_us)
        assert NOW_US < asked.next_due_us <= NOW_US + 100 * S
        assert (asked.next_due_us - due_us) % (100 * S) == 0


def test_evaluation_that_has_not_ended_delays_the_next() -> None:
    assert watch(MonitorState(next_due_us=NOW_US, watching=("before",))) == []


def test_shorter_interval_counts_at_once() -> None:
    assert watch(MonitorState(next_due_us=NOW_US + 101 * S)) == [ScheduleMonitor("w", NOW_US + 100 * S)]


def ended(state: Any = "succeeded", fired: bool = True) -> Operation:
    result = {"fired": fired} if state == "succeeded" else None
    return op("x", "monitor", "w", state=state, lease=1, result=result, updated=from_us(NOW_US))


@pytest.mark.parametrize(
    ("evaluation", "last_fired_us", "on_fire", "expected"),
    [
        (ended(), None, "retrain", (True, True, "m")),
        (ended(), None, "alert", (True, True, None)),
        (ended(fired=False), None, "retrain", (True, False, None)),
        (ended("failed"), None, "retrain", (False, False, None)),
        (ended("cancelled"), None, "retrain", (False, False, None)),
        (ended(), NOW_US - 500 * S, "retrain", (True, True, "m")),
        (ended(), NOW_US - 500 * S + 1, "retrain", (True, False, None)),
    ],
)
def test_ended_evaluation_is_taken_in(evaluation: Any, last_fired_us: Any, on_fire: Any, expected: Any) -> None:
    state = MonitorState(next_due_us=NOW_US + S, watching=("x",), last_fired_us=last_fired_us)
    monitor = replace(MONITOR, on_fire=on_fire)
    found = decide(watched=[monitor], monitors={"w": state}, evaluations=(("w", evaluation),))
    assert found == [SettleEvaluation("w", "x", NOW_US, *expected)]


def test_monitor_that_is_no_longer_defined_retrains_nothing() -> None:
    found = decide(monitors={"w": MonitorState(watching=("x",))}, evaluations=(("w", ended()),))
    assert found == [SettleEvaluation("w", "x", NOW_US, True, False, None)]


def test_state_survives_its_document() -> None:
    state = MonitorState(5, ("a", "b"), 1, 2, "c", "d")
    assert MonitorState.from_json(state.as_json()) == state
    assert MonitorState.from_json(None) == MonitorState()
