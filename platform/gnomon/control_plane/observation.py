"""Observed: what runs and serves now, and what the loop remembers of its own doing. Read by `iteration`, every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gnomon.contracts.cluster import EndpointServer, EndpointStatus, EndpointTarget, WorkerPool
from gnomon.contracts.operations import FINAL, Operation, OperationStore
from gnomon.contracts.platform_state import StateStore
from gnomon.control_plane.desired import Desired
from gnomon.control_plane.monitor_states import SCHEDULE, MonitorState
from gnomon.errors import NotFound, Unavailable

MOST_CANCELLED = 1000
"""Cancelled operations whose workers a new loop looks for; older ones were seen to by the loops before it."""


@dataclass(frozen=True)
class Deployed:
    """How often in a row the loop asked for one target, and when last (the machine's time)."""

    target: EndpointTarget
    times: int
    last_us: int


@dataclass
class Memory:
    """What the loop remembers between two steps. Losing it in a crash costs a repeat, never correctness.

    Attributes:
        workers: Leases by operation whose worker may run.
        unstarted: Leases by operation that were asked for here and whose start was not confirmed.
        leased_us: When an operation got its last lease here (the machine's time).
        deployed: What was asked for, by deployment.
        seeded: Whether the cancelled operations of an earlier loop were looked at.
    """

    workers: dict[str, int] = field(default_factory=dict)
    unstarted: dict[str, int] = field(default_factory=dict)
    leased_us: dict[str, int] = field(default_factory=dict)
    deployed: dict[str, Deployed] = field(default_factory=dict)
    seeded: bool = False


@dataclass(frozen=True)
class Observed:
    """What is.

    Attributes:
        alive: For each running operation, whether the worker of its lease is alive; absent where that is unknown.
        unstarted: Operations whose current lease was given here without a confirmed start.
        leased_us: When an operation got its last lease, by the machine's time; absent if before this loop.
        cancelled: Cancelled operations whose worker is alive.
        endpoints: Status of every endpoint by name; None while the serving system does not answer.
        deployed: What the loop asked for, by deployment.
        monitors: States of the monitors that have one.
        evaluations: Evaluations that ended, with their monitor, oldest first.
        machine_us: The machine's time, for the pauses between attempts. It is not the platform's time, which a test or
            a demo may turn by hand: processes die and start in real time.
    """

    alive: Mapping[str, bool] = field(default_factory=dict)
    unstarted: frozenset[str] = frozenset()
    leased_us: Mapping[str, int] = field(default_factory=dict)
    cancelled: tuple[Operation, ...] = ()
    endpoints: Mapping[str, EndpointStatus] | None = None
    deployed: Mapping[str, Deployed] = field(default_factory=dict)
    monitors: Mapping[str, MonitorState] = field(default_factory=dict)
    evaluations: tuple[tuple[str, Operation], ...] = ()
    machine_us: int = 0


def observe(
    desired: Desired, memory: Memory, operations: OperationStore, states: StateStore, workers: WorkerPool,
    endpoints: EndpointServer, machine_us: int,
) -> Observed:  # fmt: skip
    """Look at the cluster and the stores; updates what the memory knows of workers.

    Args:
        desired: What should be, read just before.
        memory: The loop's.
        operations: The stored operations.
        states: Holds the monitors' states.
        workers: Asked for the workers of running operations.
        endpoints: Asked for what serves.
        machine_us: The machine's time.

    Returns:
        What is.
    """
    running = {op.id: op for op in desired.operations if op.state == "running"}
    alive = {op.id: is_alive for op in running.values() if (is_alive := _alive(workers, op.id, op.lease)) is not None}
    cancelled = _cancelled(desired, memory, operations, workers)
    memory.workers |= {op.id: op.lease for op in running.values()}
    for remembered in (memory.leased_us, memory.unstarted):
        for ended in remembered.keys() - running.keys():
            del remembered[ended]
    monitors = {name: MonitorState.from_json(document) for name, document in states.all(SCHEDULE).items()}
    return Observed(
        alive,
        frozenset(op.id for op in running.values() if memory.unstarted.get(op.id) == op.lease),
        dict(memory.leased_us),
        cancelled,
        _statuses(endpoints),
        dict(memory.deployed),
        monitors,
        _ended(monitors, desired, operations),
        machine_us,
    )


def _alive(workers: WorkerPool, operation_id: str, lease: int) -> bool | None:
    try:
        return workers.alive(operation_id, lease)
    except Unavailable:
        return None


def _statuses(endpoints: EndpointServer) -> Mapping[str, EndpointStatus] | None:
    try:
        return endpoints.observe()
    except Unavailable:
        return None


def _cancelled(
    desired: Desired, memory: Memory, operations: OperationStore, workers: WorkerPool
) -> tuple[Operation, ...]:  # fmt: skip
    """Return cancelled operations whose worker is alive; workers of operations that ended are forgotten."""
    if not memory.seeded:
        memory.workers |= {op.id: op.lease for op in operations.list(states=("cancelled",), limit=MOST_CANCELLED)}
        memory.seeded = True
    still = []
    for operation_id in memory.workers.keys() - {op.id for op in desired.operations}:
        operation = operations.get(operation_id)
        alive = operation.state == "cancelled" and _alive(workers, operation.id, operation.lease)
        if alive:
            still.append(operation)
        if alive is False:
            del memory.workers[operation_id]
    return tuple(sorted(still, key=lambda operation: operation.id))


def _ended(
    monitors: Mapping[str, MonitorState], desired: Desired, operations: OperationStore
) -> tuple[tuple[str, Operation], ...]:  # fmt: skip
    active = {op.id for op in desired.operations}
    watched = [(name, id_) for name, state in monitors.items() for id_ in state.watching if id_ not in active]
    found = [(name, _operation(operations, id_, name)) for name, id_ in watched]
    return tuple((name, operation) for name, operation in found if operation.state in FINAL)


def _operation(operations: OperationStore, operation_id: str, monitor: str) -> Operation:
    try:
        return operations.get(operation_id)
    except NotFound:  # the operations were restored from an older backup than the states: it says nothing
        return Operation(operation_id, "monitor", monitor, state="cancelled")
