"""RayWorkerPool: gives each operation a process of its own, or a thread of the warm process that light ones share.

Used by the control plane. Both kinds of process outlive who started them, so that work goes on while the control plane
is away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gnomon.contracts.cluster import WorkerPool
from gnomon.runtime.process_workers import ProcessWorkers
from gnomon.runtime.shared_workers import SharedWorkers


class RayWorkerPool:
    """The `WorkerPool` on a Ray cluster that this process is connected to; creates the shared process at once.

    Args:
        entry: What a worker does, as `module:function`; called with operation id and lease.
        shared: Tells by operation id whether an operation runs in the shared process; the same answer for ever.
        preload: Modules that the shared process imports before its first operation.
    """

    def __init__(self, entry: str, shared: Callable[[str], bool], preload: Sequence[str] = ()) -> None:
        self._is_shared = shared
        self._shared = SharedWorkers(entry, preload)
        self._own = ProcessWorkers(entry)

    def start(self, operation_id: str, lease: int) -> None:
        """Start the worker of this lease unless it runs already; returns before it runs.

        Args:
            operation_id: The operation.
            lease: The lease.

        Raises:
            Unavailable: The cluster does not answer.
        """
        self._pool(operation_id).start(operation_id, lease)

    def alive(self, operation_id: str, lease: int) -> bool:
        """Tell whether the worker is being started or runs.

        Args:
            operation_id: The operation.
            lease: The lease.

        Returns:
            False once the cluster knows that the process ended: soon after it was killed.

        Raises:
            Unavailable: The cluster or the shared process does not answer.
        """
        return self._pool(operation_id).alive(operation_id, lease)

    def stop(self, operation_id: str, lease: int) -> None:
        """Kill the worker of this lease, if there is one; in the shared process, ask it to end.

        Args:
            operation_id: The operation.
            lease: The lease.

        Raises:
            Unavailable: The cluster does not answer.
        """
        self._pool(operation_id).stop(operation_id, lease)

    def _pool(self, operation_id: str) -> WorkerPool:
        return self._shared if self._is_shared(operation_id) else self._own
