"""A seeded simulator of the control plane's world: work that dies, repeats and dawdles, and a loop that crashes.

`simulate(seed, build)` lives through a stormy time and then a calm one, in which everything must come to rest; then it
checks what must hold after any storm. A failure names its seed, and the seed gives the same storm again.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import Clock, to_us
from gnomon.contracts.deployments import CHAMPION
from gnomon.contracts.operations import FINAL, Operation, OperationStore
from gnomon.contracts.platform_state import Applied, StateStore
from gnomon.errors import OperationFailed, Unavailable
from gnomon.testing.control_plane_faults import Crash, Faults
from gnomon.testing.control_plane_invariants import check_always, check_at_rest, is_at_rest
from gnomon.testing.fake_cluster import FakeEndpointServer, FakeWorkerPool, Worker
from gnomon.testing.memory_stores import MemoryAliases, MemoryOperations, MemoryStates

START_US = to_us(datetime(2026, 1, 1, tzinfo=UTC))
STORM_STEPS = 40
CALM_STEPS = 600


class Steps(Protocol):
    """What the simulator needs of a control loop."""

    def step(self) -> object:
        """Do one iteration."""
        ...


class SimulatedClock:
    """A clock that the simulator turns."""

    def __init__(self) -> None:
        self.time_us = START_US

    def now_us(self) -> int:
        """Return microseconds since the epoch."""
        return self.time_us


@dataclass
class SimulatedApps:
    """The applied apps; the simulator applies others."""

    applied: list[Applied]

    def apps(self) -> list[Applied]:
        """Return the current revision of every app."""
        return self.applied


@dataclass
class World:
    """Everything that exists in one simulation, the ports as they really are.

    Attributes:
        finals: Final state of each operation as first seen.
        won: Worker whose `finish` was accepted, by operation.
        excused: Leases after which another one is right: their worker died or was taken for dead, or the loop that
            gave them was gone before it started one.
    """

    clock: SimulatedClock
    definitions: SimulatedApps
    operations: OperationStore
    states: StateStore
    registry: MemoryAliases = field(default_factory=MemoryAliases)
    workers: FakeWorkerPool = field(default_factory=FakeWorkerPool)
    endpoints: FakeEndpointServer = field(default_factory=FakeEndpointServer)
    finals: dict[str, Operation] = field(default_factory=dict)
    won: dict[str, Worker] = field(default_factory=dict)
    excused: set[Worker] = field(default_factory=set)


@dataclass(frozen=True)
class FaultyPorts:
    """The world's ports as the control loop sees them: their calls fail and crash."""

    clock: Clock
    definitions: Any
    registry: Any
    operations: Any
    states: Any
    workers: Any
    endpoints: Any


Build = Callable[[FaultyPorts], Steps]
"""Makes a fresh control loop, as after a restart of its process."""

Stores = Callable[[Clock], tuple[OperationStore, StateStore]]
"""Opens empty stores."""


def memory_stores(clock: Clock) -> tuple[OperationStore, StateStore]:
    """Open empty stores in memory."""
    return MemoryOperations(clock), MemoryStates()


def simulate(seed: int, build: Build, apps: tuple[App, ...], stores: Stores = memory_stores) -> World:
    """Live through one seeded storm and the calm after it.

    Args:
        seed: Of everything that happens by chance.
        build: Makes the control loop under test.
        apps: Revisions of one app, with models `m0` and `m1` and a monitor `watch0`; they are applied by turns.
        stores: Opens the stores of operations and state.

    Returns:
        The world at rest.

    Raises:
        AssertionError: Something that must always hold did not; the message begins with the seed.
    """
    try:
        return _Simulation(seed, build, apps, stores).run()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error


class _Simulation:
    def __init__(self, seed: int, build: Build, apps: tuple[App, ...], stores: Stores) -> None:
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.apps, self.build, self.faults = apps, build, Faults()
        clock = SimulatedClock()
        operations, states = stores(clock)
        self.world = World(clock, SimulatedApps([]), operations, states)
        self.ports = FaultyPorts(clock, *(self.faults.port(port) for port in self._real_ports()))
        self.loops: list[Steps] = []
        self.versions = 0
        self.stormy = True

    def _real_ports(self) -> tuple[Any, ...]:
        w = self.world
        return w.definitions, w.registry, w.operations, w.states, w.workers, w.endpoints

    def run(self) -> World:
        self._apply(self.random.choice(self.apps))
        for _ in range(STORM_STEPS):
            self._happen()
            self._advance()
        self._apply(self.random.choice(self.apps))
        self.stormy, self.world.workers.available, self.world.endpoints.available = False, True, True
        for _ in range(CALM_STEPS):
            self._advance()
            if is_at_rest(self.world):
                check_at_rest(self.world)
                return self.world
        active = self.world.operations.list(states=("pending", "running"))
        raise AssertionError(f"not at rest after {CALM_STEPS} calm steps; active: {active}")

    def _advance(self) -> None:
        """Let time pass, workers and endpoints go on, and the loop step."""
        self.world.clock.time_us += self.random.randrange(100_000, 3_000_000)
        for worker in self.world.workers.running():
            self._work(worker)
        for name in self.world.endpoints.names():
            self._serve(name)
        if self.random.random() < 0.8:
            self.world.endpoints.publish()
        self._step()
        check_always(self.world)

    def _step(self) -> None:
        if not self.loops:
            if self.stormy and self.random.random() < 0.3:
                return  # the process takes its time to come back
            self.loops.append(self.build(self.ports))
        if self.stormy and self.random.random() < 0.05:
            self.loops.append(self.build(self.ports))  # two at once: the old one is taken for dead and is not
            self._excuse_unstarted()
        self.loops = self.loops[-2:] if self.stormy else self.loops[-1:]
        for loop in list(self.loops):
            self.faults.plan(self._faults() if self.stormy else {})
            try:
                loop.step()
            except Crash:
                self.loops.remove(loop)
            if self.loops != [loop]:
                self._excuse_unstarted()
        self.faults.plan({})

    def _excuse_unstarted(self) -> None:
        """Only the loop that gave a lease knows that no worker was started; another one must take it for dead."""
        running = {(op.id, op.lease) for op in self.world.operations.list(states=("running",))}
        self.world.excused |= running - self.world.workers.starts.keys()

    def _faults(self) -> dict[tuple[int, bool], type[BaseException]]:
        if self.random.random() < 0.5:
            return {}
        kinds = (Crash, Unavailable, Unavailable)
        return {
            (self.random.randrange(25), self.random.random() < 0.5): self.random.choice(kinds)
            for _ in range(self.random.randrange(1, 3))
        }

    def _happen(self) -> None:
        """One thing that people or the world do."""
        world, chance = self.world, self.random.random()
        if chance < 0.2:
            self._submit()
        elif chance < 0.25:
            active = world.operations.list(states=("pending", "running"))
            if active:
                world.operations.cancel(self.random.choice(active).id)
        elif chance < 0.32:
            self._promote(self._model())
        elif chance < 0.36:
            self._apply(self.random.choice(self.apps))
        elif chance < 0.44:
            world.endpoints.available = not world.endpoints.available
        elif chance < 0.50:
            world.workers.available = not world.workers.available

    def _submit(self) -> None:
        kind = self.random.choice(("ingest", "materialize", "train", "deploy", "monitor", "retrain"))
        target = "watch0" if kind == "monitor" else self._model()
        arguments = {"poison": self.random.random() < 0.1}
        self.world.operations.submit(kind, target, arguments, actor="someone")  # type: ignore[arg-type]

    def _model(self) -> str:
        return f"m{self.random.randrange(2)}"

    def _promote(self, model: str) -> None:
        self.versions += 1
        self.world.registry.move(model, CHAMPION, self.versions)

    def _apply(self, app: App) -> None:
        self.world.definitions.applied = [Applied(app, 1, hash_of(app), datetime(2026, 1, 1, tzinfo=UTC))]

    def _work(self, worker: Worker) -> None:
        """Let one worker dawdle, die, get lost, or finish: its effect first, then its result under its lease."""
        chance, pool = self.random.random(), self.world.workers
        operation = self.world.operations.get(worker[0])
        if operation.state == "cancelled" and worker in pool.processes:
            return  # it hangs until it is stopped
        if operation.arguments.get("poison") or (self.stormy and chance < 0.08):
            self._die(worker)
        elif self.stormy and chance < 0.14 and worker in pool.processes:
            self.world.excused.add(worker)
            pool.lose(worker, reachable=chance < 0.11)
        elif chance > 0.6:
            self._finish(worker, operation)

    def _die(self, worker: Worker) -> None:
        self.world.excused.add(worker)
        self.world.workers.end(worker)

    def _finish(self, worker: Worker, operation: Operation) -> None:
        if operation.kind in ("deploy", "retrain") and operation.state not in FINAL:
            self._promote(operation.target)
            if self.stormy and self.random.random() < 0.2:
                self._die(worker)  # between its effect and its result
                return
        failed = self.random.random() < 0.1
        result = {"fired": self.random.random() < 0.7} if operation.kind == "monitor" else {}
        error = OperationFailed("the work failed").as_json() if failed else None
        if self.world.operations.finish(*worker, result=None if failed else result, error=error):
            assert worker[0] not in self.world.won, f"{worker} finished after {self.world.won[worker[0]]} had"
            assert worker[1] == operation.lease, f"{worker} finished although the lease is {operation.lease}"
            self.world.won[worker[0]] = worker
        self.world.workers.end(worker)

    def _serve(self, name: str) -> None:
        state, chance = self.world.endpoints.status(name).state, self.random.random()
        if state == "starting" and chance < 0.5:
            self.world.endpoints.become(name, "unhealthy" if self.stormy and chance < 0.1 else "healthy")
        elif self.stormy and chance < 0.02:
            self.world.endpoints.become(name, "unhealthy", "a replica died")


_HASHES: dict[int, tuple[App, str]] = {}


def hash_of(app: App) -> str:
    """Return the app's content hash, computed once."""
    if id(app) not in _HASHES:
        _HASHES[id(app)] = (app, app.content_hash())
    return _HASHES[id(app)][1]
