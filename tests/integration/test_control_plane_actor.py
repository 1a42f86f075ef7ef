"""The control plane's actor and its workers on a real Ray: killed again and again, all work is done once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from gnomon.contracts.operations import FINAL
from gnomon.control_plane.actor import start_control_plane, stop_control_plane
from gnomon.runtime.operation_workers import NAMESPACE, RayWorkerPool
from gnomon.runtime.processes import pid_alive
from gnomon.storage.sql_operations import SqlOperations
from gnomon.testing.worker_pool_contract import WorkerPoolContract

from . import control_plane_world as world

pytestmark = pytest.mark.cluster
MODULE = "control_plane_world"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small Ray of our own, whose workers know this folder of tests and the state's folder."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv(world.FOLDER, str(folder))
        ray.init(
            address="local", num_cpus=1, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False,
            namespace="test", _node_ip_address="127.0.0.1",
        )  # fmt: skip
        yield folder
        ray.shutdown()


@pytest.fixture
def operations(cluster: Path) -> SqlOperations:
    return world.open_operations()


@pytest.fixture
def control_plane(cluster: Path) -> Iterator[ray.actor.ActorHandle]:
    yield start_control_plane(f"{MODULE}:control_loop", poll_s=0.05)
    stop_control_plane()


def await_(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s: {what}"
        time.sleep(0.05)


def ping(control_plane: ray.actor.ActorHandle) -> int:
    return ray.get(control_plane.ping.remote(), timeout=60)


def notes(cluster: Path) -> list[list[str]]:
    path = cluster / "notes"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_actor_killed_again_and_again_does_all_work_once(
    cluster: Path, operations: SqlOperations, control_plane: ray.actor.ActorHandle
) -> None:
    """Kill the control plane, and now and then a worker, while operations come, run and end."""
    chance, ids, killed = random.Random(7), [], set()
    for kill in range(6):
        for target in ("a", "b"):
            ids.append(f"kill-{kill}-{target}")
            operations.submit("ingest", ids[-1], {"seconds": 0.5}, actor="me", operation_id=ids[-1])
        time.sleep(chance.random() * 1.5)
        pid = ping(control_plane)
        killed.add(pid)
        os.kill(pid, signal.SIGKILL)
        if kill % 3 == 1:
            kill_a_worker(cluster, operations)
    await_(lambda: all(operations.get(i).state in FINAL for i in ids), "all operations ended")
    assert ping(control_plane) not in killed
    assert len(killed) == 6
    assert {operations.get(i).state for i in ids} == {"succeeded"}
    finished = Counter(operation for what, operation, *_ in notes(cluster) if what == "finished")
    assert finished == dict.fromkeys(ids, 1)
    started = [int(pid) for what, _, _, pid in notes(cluster) if what == "started"]
    await_(lambda: not any(pid_alive(pid) for pid in started), "all workers ended")


def kill_a_worker(cluster: Path, operations: SqlOperations) -> None:
    await_(lambda: bool(operations.list(states=("running",))), "an operation runs")
    running = {operation.id for operation in operations.list(states=("running",))}
    for what, operation, _, pid in notes(cluster):
        if what == "started" and operation in running and pid_alive(int(pid)):
            os.kill(int(pid), signal.SIGKILL)
            return


def test_killed_worker_gets_a_new_lease(
    cluster: Path, operations: SqlOperations, control_plane: ray.actor.ActorHandle
) -> None:
    operations.submit("ingest", "slow", {"seconds": 2}, actor="me", operation_id="slow")
    await_(lambda: any(n[:3] == ["started", "slow", "1"] for n in notes(cluster)), "its worker started")
    pid = next(int(n[3]) for n in notes(cluster) if n[:3] == ["started", "slow", "1"])
    os.kill(pid, signal.SIGKILL)
    await_(lambda: operations.get("slow").state in FINAL, "it ended")
    assert (operations.get("slow").state, operations.get("slow").result) == ("succeeded", {"lease": 2})


def test_cancelled_operation_has_its_worker_stopped(
    cluster: Path, operations: SqlOperations, control_plane: ray.actor.ActorHandle
) -> None:
    operations.submit("ingest", "long", {"seconds": 600}, actor="me", operation_id="long")
    await_(lambda: any(n[:2] == ["started", "long"] for n in notes(cluster)), "its worker started")
    operations.cancel("long")
    pid = next(int(n[3]) for n in notes(cluster) if n[:2] == ["started", "long"])
    await_(lambda: not pid_alive(pid), "its worker ended")


def test_start_is_idempotent_and_stop_is_for_good(cluster: Path) -> None:
    first = start_control_plane(f"{MODULE}:control_loop", poll_s=0.05)
    pid = ping(first)
    assert ping(start_control_plane(f"{MODULE}:control_loop", poll_s=0.05)) == pid
    assert ray.get(first.step_now.remote(), timeout=60) >= 0
    stop_control_plane()
    await_(lambda: not pid_alive(pid), "its process ended")
    stop_control_plane()
    with pytest.raises(ValueError, match="control-plane"):
        ray.get_actor("control-plane", NAMESPACE)


class TestRayWorkerPool(WorkerPoolContract):
    @pytest.fixture
    def pool(self, cluster: Path) -> RayWorkerPool:
        return RayWorkerPool(f"{MODULE}:work")

    @pytest.fixture
    def submit(self, operations: SqlOperations) -> Callable[[str, float], None]:
        def submit(operation_id: str, seconds: float) -> None:
            operations.submit("train", operation_id, {"seconds": seconds}, actor="me", operation_id=operation_id)
            operations.lease(operation_id, 0)

        return submit

    def test_worker_that_raises_ends(self, pool: RayWorkerPool, operations: SqlOperations, cluster: Path) -> None:
        operations.submit("train", "raises", {"raises": True}, actor="me", operation_id="raises")
        pool.start("raises", 1)
        await_(lambda: any(n[:2] == ["started", "raises"] for n in notes(cluster)), "it started")
        await_(lambda: not pool.alive("raises", 1), "it ended")
