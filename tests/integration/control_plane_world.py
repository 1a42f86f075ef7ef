"""What the processes of `test_control_plane_actor` run: the loop's parts, and the work of an operation.

Imported by name in Ray's workers; the folder of the state is in the environment.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import ray
import ray.data

from gnomon.contracts.clocks import SystemClock
from gnomon.control_plane.execution import ControlPorts
from gnomon.control_plane.iteration import ControlLoop
from gnomon.control_plane.reconcile import HEAVY_KINDS
from gnomon.errors import NotFound
from gnomon.runtime.operation_workers import RayWorkerPool
from gnomon.runtime.stop_requests import stop_requested
from gnomon.storage.sql import open_database, sqlite_url
from gnomon.storage.sql_operations import SqlOperations
from gnomon.storage.sql_state import SqlDefinitions, SqlStates
from gnomon.testing.fake_cluster import FakeEndpointServer
from gnomon.testing.memory_stores import MemoryAliases

FOLDER = "CONTROL_PLANE_WORLD"


def folder() -> Path:
    return Path(os.environ[FOLDER])


def open_operations() -> SqlOperations:
    return SqlOperations(open_database(sqlite_url(folder() / "state.db")), SystemClock())


def worker_pool(operations: SqlOperations) -> RayWorkerPool:
    """Return a pool in which light operations share a process, as the platform's own does."""

    def shared(operation_id: str) -> bool:
        try:
            return operations.get(operation_id).kind not in HEAVY_KINDS
        except NotFound:
            return True

    return RayWorkerPool(f"{__name__}:work", shared, preload=("gnomon.storage.sql_operations",))


def control_loop() -> ControlLoop:
    engine, clock = open_database(sqlite_url(folder() / "state.db")), SystemClock()
    workers = worker_pool(SqlOperations(engine, clock))
    stores = SqlDefinitions(engine, clock), MemoryAliases(), SqlOperations(engine, clock), SqlStates(engine, clock)
    return ControlLoop(ControlPorts(*stores, workers, FakeEndpointServer()), clock, report)


def report(what: str, error: Exception) -> None:
    print(f"could not {what}: {error!r}", file=sys.stderr, flush=True)


def work(operation_id: str, lease: int) -> None:
    """Note the process, work for the operation's time or until its file exists, then finish it and note that."""
    operations = open_operations()
    note(f"started {operation_id} {lease} {os.getpid()}")
    arguments = operations.get(operation_id).arguments
    if arguments.get("raises"):
        raise RuntimeError("the work raises")
    end = time.monotonic() + arguments["seconds"]
    until = folder() / arguments.get("until", "never")
    while (rest := end - time.monotonic()) > 0 and not until.exists():
        if stop_requested():
            note(f"stopped {operation_id} {lease} {os.getpid()}")
            return
        time.sleep(min(rest, 0.05))
    if arguments.get("uses_ray"):
        assert ray.data.range(1000, override_num_blocks=4).map_batches(lambda batch: batch).sum("id") == 499_500
    if operations.finish(operation_id, lease, result={"lease": lease}):
        note(f"finished {operation_id} {lease} {os.getpid()}")


def note(line: str) -> None:
    with (folder() / "notes").open("a") as notes:
        notes.write(line + "\n")
