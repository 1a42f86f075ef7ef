"""What every `WorkerPool` must do. A test class derives from this one and overrides `pool` and `submit`.

Pools that are made on a cluster override `another` too, and `named` where several tests share that cluster.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from gnomon.contracts.cluster import WorkerPool
from gnomon.errors import Unavailable

PATIENCE_S = 240.0

Submit = Callable[[str, float], None]
"""Makes an operation known whose work takes that many seconds."""


class WorkerPoolContract:
    """The contract of `WorkerPool`. Times are real: a pool that has processes needs a moment for each."""

    @pytest.fixture
    def pool(self) -> WorkerPool:
        """Return the pool."""
        raise NotImplementedError

    @pytest.fixture
    def another(self, pool: WorkerPool) -> WorkerPool:
        """Return another pool on the same cluster, if pools of that kind are made on one."""
        return pool

    @pytest.fixture
    def submit(self) -> Submit:
        """Return what makes operations known."""
        raise NotImplementedError

    @pytest.fixture
    def named(self) -> Callable[[str], str]:
        """Return what gives operations names that no other test on the same cluster has."""
        return str

    def test_unknown_worker_is_not_alive(self, pool: WorkerPool) -> None:
        assert not pool.alive("nobody", 1)
        pool.stop("nobody", 1)

    def test_worker_is_alive_from_the_start_until_it_is_stopped(
        self, pool: WorkerPool, submit: Submit, named: Callable[[str], str]
    ) -> None:  # fmt: skip
        stopped = named("stopped")
        submit(stopped, 600)
        pool.start(stopped, 1)
        assert pool.alive(stopped, 1)
        assert not pool.alive(stopped, 2)
        pool.start(stopped, 1)
        assert pool.alive(stopped, 1)
        pool.stop(stopped, 1)
        wait_for_end(pool, stopped, 1)
        pool.stop(stopped, 1)
        assert not pool.alive(stopped, 1)

    def test_leases_are_different_workers(
        self, pool: WorkerPool, submit: Submit, named: Callable[[str], str]
    ) -> None:  # fmt: skip
        leases = named("leases")
        submit(leases, 600)
        pool.start(leases, 1)
        pool.start(leases, 2)
        pool.stop(leases, 1)
        wait_for_end(pool, leases, 1)
        assert pool.alive(leases, 2)
        pool.stop(leases, 2)
        wait_for_end(pool, leases, 2)

    def test_pool_made_anew_knows_what_runs(
        self, pool: WorkerPool, another: WorkerPool, submit: Submit, named: Callable[[str], str]
    ) -> None:  # fmt: skip
        """As after a crash of the control plane."""
        known = named("known")
        submit(known, 600)
        pool.start(known, 1)
        while not another.alive(known, 1):
            assert pool.alive(known, 1)
            time.sleep(0.05)
        another.stop(known, 1)
        wait_for_end(pool, known, 1)


def may_be_alive(pool: WorkerPool, operation_id: str, lease: int) -> bool:
    """Tell whether a worker is alive or unknown to be so, as for a moment after its process was killed.

    Args:
        pool: The pool.
        operation_id: The operation.
        lease: The lease.

    Returns:
        False when it is known not to be alive.
    """
    try:
        return pool.alive(operation_id, lease)
    except Unavailable:
        return True


def wait_for_end(pool: WorkerPool, operation_id: str, lease: int) -> None:
    """Wait until a worker is not alive.

    Args:
        pool: The pool.
        operation_id: The operation.
        lease: The lease.

    Raises:
        AssertionError: It still is after four minutes.
    """
    deadline = time.monotonic() + PATIENCE_S
    while may_be_alive(pool, operation_id, lease):
        if time.monotonic() > deadline:
            raise AssertionError(f"the worker of '{operation_id}', lease {lease}, is alive after {PATIENCE_S:.0f} s")
        time.sleep(0.05)
