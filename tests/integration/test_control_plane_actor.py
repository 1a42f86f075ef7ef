"""The control plane's actor and its workers on a real Ray: killed again and again, all work is done once.

In this world as in the platform, `train` has a process of its own and `ingest` is a thread of the shared one.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
import ray
from tests.ray_cluster import ray_cluster

from gnomon.contracts.operations import FINAL
from gnomon.control_plane.actor import start_control_plane, stop_control_plane
from gnomon.errors import Unavailable
from gnomon.runtime.operation_workers import RayWorkerPool
from gnomon.runtime.processes import pid_alive
from gnomon.runtime.ray_actors import NAMESPACE, actor_row, find_actor
from gnomon.storage.sql_operations import SqlOperations
from gnomon.testing.worker_pool_contract import Submit, WorkerPoolContract, may_be_alive, wait_for_end

from . import control_plane_world as world

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]  # on a busy machine a process takes long to start
MODULE = "control_plane_world"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small Ray of our own, whose workers know this folder of tests and the state's folder."""
    folder = tmp_path_factory.mktemp("world")
    variables = {"PYTHONPATH": str(Path(__file__).parent), world.FOLDER: str(folder)}
    home = tmp_path_factory.mktemp("home")
    with ray_cluster(home, variables, num_cpus=1, namespace="test", _node_ip_address="127.0.0.1"):
        yield folder


@pytest.fixture
def operations(cluster: Path) -> SqlOperations:
    return world.open_operations()


@pytest.fixture
def control_plane(cluster: Path) -> Iterator[ray.actor.ActorHandle]:
    yield start_control_plane(f"{MODULE}:control_loop", poll_s=0.05)
    stop_control_plane()


def await_(condition: Callable[[], bool], what: str, timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s: {what}"
        time.sleep(0.05)


def ping(control_plane: ray.actor.ActorHandle) -> int:
    return ray.get(control_plane.ping.remote(), timeout=240)


def notes(cluster: Path) -> list[list[str]]:
    path = cluster / "notes"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def test_actor_killed_again_and_again_does_all_work_once(
    cluster: Path, operations: SqlOperations, control_plane: ray.actor.ActorHandle
) -> None:
    """Kill the control plane, and now and then a worker of either kind, while operations come, run and end."""
    chance, ids, killed = random.Random(7), [], set()
    for kill in range(6):
        ids.append(f"kill-{kill}")
        operations.submit(
            "train" if kill % 2 else "ingest", ids[-1], {"seconds": 2.0}, actor="me", operation_id=ids[-1]
        )
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
    started = {int(pid) for what, _, _, pid in notes(cluster) if what == "started"} - {shared_pid()}
    await_(lambda: not any(pid_alive(pid) for pid in started), "all workers ended")


def shared_pid() -> int:
    """Return the process of the shared worker, when it is up."""
    await_(lambda: state_of_shared() == "ALIVE", "the shared process is up")
    handle = find_actor("operation-worker")
    assert handle is not None
    return int(actor_row(handle)["Pid"])


def kill_a_worker(cluster: Path, operations: SqlOperations) -> None:
    await_(lambda: bool(operations.list(states=("running",))), "an operation runs")
    running = {operation.id for operation in operations.list(states=("running",))}
    for what, operation, _, pid in notes(cluster):
        if what == "started" and operation in running and pid_alive(int(pid)):
            os.kill(int(pid), signal.SIGKILL)
            return


def started_pid(cluster: Path, operation_id: str, lease: int) -> int | None:
    start = ["started", operation_id, str(lease)]
    return next((int(note[3]) for note in notes(cluster) if note[:3] == start), None)


def await_start(cluster: Path, operation_id: str, lease: int = 1) -> int:
    await_(lambda: started_pid(cluster, operation_id, lease) is not None, f"'{operation_id}' started")
    pid = started_pid(cluster, operation_id, lease)
    assert pid is not None
    return pid


def test_killed_worker_gets_a_new_lease(
    cluster: Path, operations: SqlOperations, control_plane: ray.actor.ActorHandle
) -> None:
    operations.submit("train", "slow", {"seconds": 2}, actor="me", operation_id="slow")
    os.kill(await_start(cluster, "slow"), signal.SIGKILL)
    await_(lambda: operations.get("slow").state in FINAL, "it ended")
    assert (operations.get("slow").state, operations.get("slow").result) == ("succeeded", {"lease": 2})


def test_killed_shared_process_gives_all_its_work_new_leases(
    cluster: Path, operations: SqlOperations, control_plane: ray.actor.ActorHandle
) -> None:
    """The control plane dies too, in between: what ran in the shared process runs on, and is not started twice."""
    ids = ["together-0", "together-1", "together-2"]
    for each in ids:
        operations.submit("ingest", each, {"seconds": 600, "until": "now"}, actor="me", operation_id=each)
    [pid] = {await_start(cluster, each) for each in ids}
    os.kill(ping(control_plane), signal.SIGKILL)
    ping(control_plane)
    assert ray.get(control_plane.step_now.remote(), timeout=240) == 0
    assert {operations.get(each).lease for each in ids} == {1}
    os.kill(pid, signal.SIGKILL)
    await_(lambda: shared_pid() != pid, "the process was replaced")
    await_(lambda: all(operations.get(each).lease > 1 for each in ids), "they have new leases")
    (cluster / "now").touch()
    await_(lambda: all(operations.get(each).state in FINAL for each in ids), "they ended")
    ends = [operations.get(each) for each in ids]
    assert {end.state for end in ends} == {"succeeded"}
    assert all(end.result == {"lease": end.lease} and end.lease > 1 for end in ends)
    finished = Counter(operation for what, operation, *_ in notes(cluster) if what == "finished")
    assert [finished[each] for each in ids] == [1, 1, 1]
    assert pid not in {int(note[3]) for note in notes(cluster) if note[0] == "finished" and note[1] in ids}


@pytest.mark.parametrize("kind", ["train", "ingest"])
def test_cancelled_operation_has_its_worker_stopped(
    cluster: Path, operations: SqlOperations, control_plane: ray.actor.ActorHandle, kind: Literal["train", "ingest"]
) -> None:
    long = f"long-{kind}"
    operations.submit(kind, long, {"seconds": 600}, actor="me", operation_id=long)
    pid = await_start(cluster, long)
    operations.cancel(long)
    if kind == "train":
        await_(lambda: not pid_alive(pid), "its worker ended")
    else:
        await_(lambda: ["stopped", long, "1", str(pid)] in notes(cluster), "its work ended")
        assert pid_alive(pid)


def test_work_in_the_shared_process_can_use_ray(
    cluster: Path, operations: SqlOperations, control_plane: ray.actor.ActorHandle
) -> None:
    for each in ("uses-ray-0", "uses-ray-1"):
        operations.submit("ingest", each, {"seconds": 0, "uses_ray": True}, actor="me", operation_id=each)
    await_(lambda: all(operations.get(f"uses-ray-{i}").state in FINAL for i in (0, 1)), "they ended")
    assert {operations.get(f"uses-ray-{i}").state for i in (0, 1)} == {"succeeded"}


def test_start_is_idempotent_and_stop_is_for_good(cluster: Path) -> None:
    first = start_control_plane(f"{MODULE}:control_loop", poll_s=0.05)
    pid = ping(first)
    assert ping(start_control_plane(f"{MODULE}:control_loop", poll_s=0.05)) == pid
    assert ray.get(first.step_now.remote(), timeout=240) >= 0
    stop_control_plane()
    await_(lambda: not pid_alive(pid), "its process ended")
    stop_control_plane()
    with pytest.raises(ValueError, match="control-plane"):
        ray.get_actor("control-plane", NAMESPACE)


class TestRayWorkerPool(WorkerPoolContract):
    """The contract, for work in processes of its own."""

    kind: Literal["train", "ingest"] = "train"

    @pytest.fixture
    def pool(self, operations: SqlOperations) -> RayWorkerPool:
        return world.worker_pool(operations)

    @pytest.fixture
    def another(self, operations: SqlOperations) -> RayWorkerPool:
        return world.worker_pool(operations)

    @pytest.fixture
    def submit(self, operations: SqlOperations) -> Callable[[str, float], None]:
        def submit(operation_id: str, seconds: float) -> None:
            operations.submit(self.kind, operation_id, {"seconds": seconds}, actor="me", operation_id=operation_id)

        return submit

    @pytest.fixture
    def named(self) -> Callable[[str], str]:
        return lambda operation_id: f"{operation_id}-{self.kind}"

    def test_worker_that_raises_ends(self, pool: RayWorkerPool, operations: SqlOperations, cluster: Path) -> None:
        raises = f"raises-{self.kind}"
        operations.submit(self.kind, raises, {"raises": True}, actor="me", operation_id=raises)
        pool.start(raises, 1)
        await_start(cluster, raises)
        wait_for_end(pool, raises, 1)

    def test_killed_process_is_seen(self, pool: RayWorkerPool, submit: Submit, cluster: Path) -> None:
        submit(f"killed-{self.kind}", 600)
        pool.start(f"killed-{self.kind}", 1)
        os.kill(await_start(cluster, f"killed-{self.kind}"), signal.SIGKILL)
        wait_for_end(pool, f"killed-{self.kind}", 1)


class TestSharedWork(TestRayWorkerPool):
    """The contract, for work that shares a process; and what only that can get wrong."""

    kind = "ingest"

    def test_start_while_the_process_restarts_is_not_lost(
        self, pool: RayWorkerPool, submit: Submit, cluster: Path
    ) -> None:
        """Neither is it a dead worker meanwhile, which would cost an attempt."""
        submit("restarts", 1)
        os.kill(shared_pid(), signal.SIGKILL)
        await_(lambda: state_of_shared() == "RESTARTING", "the cluster saw it")
        pool.start("restarts", 1)
        while started_pid(cluster, "restarts", 1) is None:
            assert may_be_alive(pool, "restarts", 1)
            time.sleep(0.02)
        wait_for_end(pool, "restarts", 1)

    def test_silent_process_is_unknown_and_keeps_nobody_waiting(
        self, pool: RayWorkerPool, submit: Submit, cluster: Path
    ) -> None:
        submit("silent", 600)
        pool.start("silent", 1)
        pid = await_start(cluster, "silent")
        assert may_be_alive(pool, "silent", 1)
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                with pytest.raises(Unavailable, match="has not answered"):
                    pool.alive("silent", 1)
            pool.start("silent", 1)
            pool.stop("silent", 1)
        finally:
            os.kill(pid, signal.SIGCONT)
        await_(lambda: ["stopped", "silent", "1", str(pid)] in notes(cluster), "the request arrived")

    def test_actor_that_is_gone_is_created_again(self, pool: RayWorkerPool, submit: Submit, cluster: Path) -> None:
        ray.kill(find_actor("operation-worker"), no_restart=True)
        await_(lambda: find_actor("operation-worker") is None, "it is gone")
        assert not pool.alive("gone", 1)
        submit("gone", 0.1)
        pool.start("gone", 1)
        assert pool.alive("gone", 1)
        await_start(cluster, "gone")
        wait_for_end(pool, "gone", 1)


def state_of_shared() -> str:
    handle = find_actor("operation-worker")
    return "DEAD" if handle is None else str(actor_row(handle)["State"])
