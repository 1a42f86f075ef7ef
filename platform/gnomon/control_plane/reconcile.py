"""`reconcile`: from what should be and what is to what to do. Pure; called by `iteration` in every step.

Each rule is a function of the two; a rule that finds nothing to do returns nothing. Reconciling again after the actions
were done, half done or done twice leads to the same end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from gnomon.contracts.clocks import to_us
from gnomon.contracts.cluster import EndpointStatus, EndpointTarget
from gnomon.contracts.operations import Operation
from gnomon.control_plane.actions import (
    Action,
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
from gnomon.control_plane.monitor_states import MonitorState, evaluation_id
from gnomon.control_plane.observation import Observed

MAX_ATTEMPTS = 5
"""Workers that may die before an operation is given up. A machine fails now and then; five times is the work itself."""

HEAVY_KINDS = frozenset({"train", "retrain"})
SLOTS = {True: 1, False: 4}
"""Operations that run at once, heavy ones and others. Two trainings on one cluster would each take twice as long."""

RESTART_PAUSE_S = 1
MAX_RESTART_PAUSE_S = 60
REDEPLOY_PAUSE_S = 5
MAX_REDEPLOY_PAUSE_S = 300


def reconcile(desired: Desired, observed: Observed, now_us: int) -> list[Action]:
    """Return what to do now, in the order in which it should be done.

    Args:
        desired: What should be.
        observed: What is, read after `desired`.
        now_us: The platform's time, for everything that is due.

    Returns:
        The actions, none where all is as it should be.
    """
    return [
        *_stop_cancelled(observed),
        *_settle_evaluations(desired, observed, now_us),
        *_ask_for_evaluations(desired, observed, now_us),
        *_keep_running(desired, observed),
        *_start_pending(desired),
        *_deploy(desired, observed),
        *_remove(desired, observed),
    ]


def _stop_cancelled(observed: Observed) -> Iterator[Action]:
    return (StopWorker(operation.id, operation.lease) for operation in observed.cancelled)


# Operations


def _start_pending(desired: Desired) -> Iterator[Action]:
    """First come, first served, within the slots; one at a time of the same kind and target: two would only collide."""
    running = [operation for operation in desired.operations if operation.state == "running"]
    taken = Counter(operation.kind in HEAVY_KINDS for operation in running)
    busy = {(operation.kind, operation.target) for operation in running}
    for operation in desired.operations:
        heavy, work = operation.kind in HEAVY_KINDS, (operation.kind, operation.target)
        if operation.state == "pending" and taken[heavy] < SLOTS[heavy] and work not in busy:
            taken[heavy] += 1
            busy.add(work)
            yield _attempt(operation)


def _keep_running(desired: Desired, observed: Observed) -> Iterator[Action]:
    for operation in desired.operations:
        if operation.state == "running" and observed.alive.get(operation.id) is False:
            yield from _replace(operation, observed)


def _replace(operation: Operation, observed: Observed) -> Iterator[Action]:
    """A start that was not confirmed is repeated under its lease: while the cluster is away no attempt is used up."""
    if operation.id in observed.unstarted:
        yield StartWorker(operation.id, operation.lease)
    elif operation.attempts >= MAX_ATTEMPTS:
        yield FailOperation(operation.id, operation.lease, _given_up(operation))
    elif observed.machine_us >= observed.leased_us.get(operation.id, 0) + _restart_pause_us(operation.attempts):
        yield _attempt(operation)


def _attempt(operation: Operation) -> StartAttempt:
    return StartAttempt(operation.id, operation.lease, operation.target if operation.kind == "monitor" else None)


def _given_up(operation: Operation) -> str:
    last = f"; the last one said: {operation.progress}" if operation.progress else ""
    return (
        f"{operation.kind} of '{operation.target}' was given up after {operation.attempts} attempts: "
        f"each worker died before it was done{last}"
    )


def _restart_pause_us(attempts: int) -> int:
    """From the start of the last attempt: 1 s after the first, then 2, 4, …"""
    return min(RESTART_PAUSE_S << max(attempts - 1, 0), MAX_RESTART_PAUSE_S) * 1_000_000


# Endpoints


def _deploy(desired: Desired, observed: Observed) -> Iterator[Action]:
    if observed.endpoints is None:
        return
    for name, target in desired.endpoints.items():
        status = observed.endpoints.get(name)
        if target is not None and _needs_deploy(target, status) and _may_deploy(target, observed):
            yield Deploy(target)


def _needs_deploy(target: EndpointTarget, status: EndpointStatus | None) -> bool:
    """An endpoint that starts is left alone. One that is unhealthy is asked for again: Serve may have given it up."""
    return status is None or status.target != target or status.state == "unhealthy"


def _may_deploy(target: EndpointTarget, observed: Observed) -> bool:
    """A new target at once; the same one again after 5 s, then 10, 20, … up to 5 min, in which Serve may recover it."""
    before = observed.deployed.get(target.deployment)
    if before is None or before.target != target:
        return True
    pause_s = min(REDEPLOY_PAUSE_S << min(before.times - 1, 10), MAX_REDEPLOY_PAUSE_S)
    return observed.machine_us >= before.last_us + pause_s * 1_000_000


def _remove(desired: Desired, observed: Observed) -> Iterator[Action]:
    """A deployment without a champion keeps what serves: only one that no app defines goes."""
    return (RemoveEndpoint(name) for name in (observed.endpoints or {}) if name not in desired.endpoints)


# Monitors


def _settle_evaluations(desired: Desired, observed: Observed, now_us: int) -> Iterator[Action]:
    """One a monitor and step: whether the next one fires depends on the cooldown that this one begins."""
    first = dict(reversed(observed.evaluations))
    for name, evaluation in first.items():
        yield _settle(desired.monitors.get(name), name, evaluation, observed.monitors[name], now_us)


def _settle(
    monitor: WatchedMonitor | None, name: str, evaluation: Operation, state: MonitorState, now_us: int
) -> SettleEvaluation:  # fmt: skip
    ended_us = now_us if evaluation.updated is None else to_us(evaluation.updated)
    succeeded = evaluation.state == "succeeded"
    says_so = succeeded and bool((evaluation.result or {}).get("fired"))
    fired = says_so and monitor is not None and not _cooling(monitor, state, ended_us)
    retrain = monitor.model if fired and monitor is not None and monitor.on_fire == "retrain" else None
    return SettleEvaluation(name, evaluation.id, ended_us, succeeded, fired, retrain)


def _cooling(monitor: WatchedMonitor, state: MonitorState, ended_us: int) -> bool:
    return state.last_fired_us is not None and ended_us - state.last_fired_us < monitor.cooldown_us


def _ask_for_evaluations(desired: Desired, observed: Observed, now_us: int) -> Iterator[Action]:
    """A monitor is due `every` after its deployment first served, and so on; what was missed is not made up for."""
    for monitor in desired.monitors.values():
        state = observed.monitors.get(monitor.name, MonitorState())
        due_us, latest_us = state.next_due_us, now_us + monitor.every_us
        if not _serves(monitor, observed) or state.watching:
            continue
        if due_us is None or due_us > latest_us:  # first seen, or `every` became shorter
            yield ScheduleMonitor(monitor.name, latest_us)
        elif due_us <= now_us:
            next_us = latest_us - (now_us - due_us) % monitor.every_us
            yield SubmitEvaluation(monitor.name, evaluation_id(monitor.name, due_us), due_us, next_us)


def _serves(monitor: WatchedMonitor, observed: Observed) -> bool:
    status = (observed.endpoints or {}).get(monitor.deployment)
    return status is not None and status.state == "healthy"
