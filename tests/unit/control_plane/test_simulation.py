"""After any storm of crashes, deaths, repeats and delays, the control plane's world comes to rest as it must.

`GNOMON_SIMULATION_SEEDS=100:10100` runs other seeds, `…=17` one of them.
"""

from __future__ import annotations

import os
from pathlib import Path

from gnomon.contracts.clocks import Clock
from gnomon.contracts.operations import OperationStore
from gnomon.contracts.platform_state import StateStore
from gnomon.control_plane.execution import ControlPorts
from gnomon.control_plane.iteration import ControlLoop
from gnomon.errors import Unavailable
from gnomon.storage.sql import open_database, sqlite_url
from gnomon.storage.sql_operations import SqlOperations
from gnomon.storage.sql_state import SqlStates
from gnomon.testing.control_plane_simulator import FaultyPorts, simulate

from .simulated_apps import revisions

SEEDS = os.environ.get("GNOMON_SIMULATION_SEEDS", "0:2000")
FIRST, _, LAST = SEEDS.partition(":")


def build(ports: FaultyPorts) -> ControlLoop:
    p = ports
    control_ports = ControlPorts(p.definitions, p.registry, p.operations, p.states, p.workers, p.endpoints)
    return ControlLoop(control_ports, p.clock, only_unavailable, machine_clock=p.clock)


def only_unavailable(what: str, error: Exception) -> None:
    """Nothing but what the simulator let fail may fail."""
    assert isinstance(error, Unavailable), f"could not {what}: {error!r}"


def test_every_storm_ends_well() -> None:
    for seed in range(int(FIRST), int(LAST or int(FIRST) + 1)):
        simulate(seed, build, revisions())


def test_storms_over_the_real_stores(tmp_path: Path) -> None:
    for seed in range(10):
        engine = open_database(sqlite_url(tmp_path / f"{seed}.db"))

        def stores(clock: Clock, engine=engine) -> tuple[OperationStore, StateStore]:  # type: ignore[no-untyped-def]
            return SqlOperations(engine, clock), SqlStates(engine, clock)

        simulate(seed, build, revisions(), stores)
        engine.dispose()


def test_a_storm_is_repeatable() -> None:
    once, again = (simulate(3, build, revisions()) for _ in range(2))
    assert once.operations.list(limit=1000) == again.operations.list(limit=1000)
    assert once.workers.starts == again.workers.starts
