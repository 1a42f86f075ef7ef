"""What must hold in the control plane's world: always, and once everything has come to rest.

Checked by the simulator. Each function raises AssertionError with what it found.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gnomon.contracts.clocks import to_us
from gnomon.contracts.cluster import EndpointStatus
from gnomon.contracts.deployments import CHAMPION, Deployment, Monitor
from gnomon.contracts.durations import duration_us
from gnomon.contracts.operations import FINAL, Operation

if TYPE_CHECKING:
    from gnomon.testing.control_plane_simulator import World

_MANY = 10_000


def check_always(world: World) -> None:
    """Check that final states stay, that no operation has two workers of its lease, and that the slots are kept."""
    operations = {operation.id: operation for operation in world.operations.list(limit=_MANY)}
    for identity, operation in operations.items():
        if operation.state in FINAL:
            first = world.finals.setdefault(identity, operation)
            assert first == operation, f"{first} ended and then became {operation}"
        assert operation.attempts == operation.lease, f"{operation} has a lease that is no attempt"
    reachable = world.workers.processes | world.workers.unseen
    seen = Counter(identity for identity, _ in reachable)
    assert not seen or max(seen.values()) == 1, f"two workers of one operation: {sorted(reachable)}"
    running = [operation for operation in operations.values() if operation.state == "running"]
    heavy = sum(operation.kind in ("train", "retrain") for operation in running)
    assert heavy <= 1, f"{heavy} heavy operations run at once: {running}"
    assert len(running) - heavy <= 4, f"{len(running) - heavy} light operations run at once: {running}"
    work = Counter((operation.kind, operation.target) for operation in running)
    assert not work or max(work.values()) == 1, f"the same work twice at once: {work}"
    own = [o for o in operations.values() if (o.kind, o.actor) == ("monitor", "control-plane")]
    due = Counter((o.target, o.arguments["due_us"]) for o in own)
    assert not due or max(due.values()) == 1, f"an evaluation was asked for twice: {due}"
    waiting = Counter(o.target for o in own if o.state not in FINAL)
    assert not waiting or max(waiting.values()) == 1, f"a monitor is evaluated before its last evaluation ended: {own}"


def is_at_rest(world: World) -> bool:
    """Tell whether all operations ended, no evaluation waits to be taken in, and nothing that is served starts."""
    schedules = world.states.all("monitor_schedule").values()
    return (
        not world.operations.list(states=("pending", "running"), limit=1)
        and not any(schedule["watching"] for schedule in schedules)
        and not world.workers.processes
        and world.endpoints.observe() == _true_statuses(world)
        and all(status.state == "healthy" for status in _true_statuses(world).values())
        and set(_true_statuses(world)) == _wanted(world).keys()
    )


def check_at_rest(world: World) -> None:
    """Check what the storm must have led to: ends, versions served, retrainings."""
    for operation in world.operations.list(limit=_MANY):
        _check_end(world, operation)
    served = {name: status.target.version for name, status in _true_statuses(world).items()}
    assert served == _wanted(world), f"served {served}, champions {_wanted(world)}"
    for name, status in _true_statuses(world).items():
        assert status.target.app_hash == world.definitions.apps()[0].app_hash, f"'{name}' serves an old app: {status}"
        document = world.states.get("endpoint", name)
        assert document is not None, f"endpoint '{name}' is not recorded"
        assert (document["version"], document["state"]) == (status.target.version, "healthy"), f"recorded: {document}"
    _check_retrainings(world)


def _check_end(world: World, operation: Operation) -> None:
    winner = world.won.get(operation.id)
    for lease in range(1, operation.lease):
        worker = (operation.id, lease)
        assert worker in world.excused, f"{operation} got another attempt although {worker} was not dead"
    if operation.state == "cancelled":
        assert winner is None, f"{operation} was cancelled and {winner} finished"
    elif operation.error is not None and "given up" in operation.error["message"]:
        assert operation.attempts == 5, f"{operation} was given up early"
        assert winner is None, f"{operation} was given up and {winner} finished"
    else:
        assert winner == (operation.id, operation.lease), f"{operation} was finished by {winner}"


def _check_retrainings(world: World) -> None:
    """An evaluation that fired leads to one retraining, unless it fell into the cooldown of the one before."""
    monitors = {m.name: m for applied in world.definitions.apps() for m in applied.app.all(Monitor)}
    operations = world.operations.list(limit=_MANY)
    expected = {
        f"retrain-{evaluation.id}"
        for monitor in monitors.values()
        if monitor.on_fire == "retrain"
        for evaluation in _counted(monitor, operations)
    }
    made = {
        operation.id for operation in operations if (operation.actor, operation.kind) == ("control-plane", "retrain")
    }
    assert made == expected, f"retrainings made {sorted(made)}, expected {sorted(expected)}"


def _counted(monitor: Monitor, operations: list[Operation]) -> list[Operation]:
    fired = [o for o in operations if (o.kind, o.target) == ("monitor", monitor.name) and (o.result or {}).get("fired")]
    counted: list[Operation] = []
    for evaluation in sorted(fired, key=_ended_us):
        if not counted or _ended_us(evaluation) - _ended_us(counted[-1]) >= duration_us(monitor.cooldown):
            counted.append(evaluation)
    return counted


def _ended_us(operation: Operation) -> int:
    assert operation.updated is not None, f"{operation} has no time"
    return to_us(operation.updated)


def _true_statuses(world: World) -> dict[str, EndpointStatus]:
    return {name: world.endpoints.status(name) for name in world.endpoints.names()}


def _wanted(world: World) -> dict[str, int]:
    deployments = [d for applied in world.definitions.apps() for d in applied.app.all(Deployment)]
    champions = {d.name: world.registry.resolve(d.model, CHAMPION) for d in deployments}
    return {name: champion.number for name, champion in champions.items() if champion is not None}
