"""ProcessWorkers: one detached Ray actor per (operation, lease), which does the work and ends itself.

Used by `operation_workers` for work that may take a machine's memory or hang in it: it can be killed, alone.
"""

from __future__ import annotations

import traceback

import ray
from ray.exceptions import RayActorError

from gnomon.runtime.entry_points import entry_point
from gnomon.runtime.ray_actors import DEAD, NAMESPACE, actor_row, cluster_errors, find_actor


class OperationWorker:
    """Runs an entry function once, then ends its process.

    Args:
        entry: The function as `module:function`; called with operation id and lease.
        operation_id: The operation.
        lease: The lease that it works under.
    """

    def __init__(self, entry: str, operation_id: str, lease: int) -> None:
        self._entry = entry
        self._operation_id = operation_id
        self._lease = lease
        # Called by itself: were the starter to call, it could die in between and leave a worker that waits for ever.
        ray.get_runtime_context().current_actor.run.remote()

    def run(self) -> None:
        """Do the work; the process ends with it, whether it returned or raised."""
        try:
            entry_point(self._entry)(self._operation_id, self._lease)
        except Exception:  # noqa: BLE001 - the edge of the process; leaving the actor would hide the error
            traceback.print_exc()
        ray.actor.exit_actor()


_ACTOR = ray.remote(num_cpus=0, max_restarts=0)(OperationWorker)


class ProcessWorkers:
    """A `WorkerPool` whose workers have a process each.

    Args:
        entry: What a worker does, as `module:function`; called with operation id and lease.
    """

    def __init__(self, entry: str) -> None:
        self._entry = entry

    def start(self, operation_id: str, lease: int) -> None:
        """Start the worker of this lease unless it runs already; returns before its process exists."""
        options = {"name": _name(operation_id, lease), "namespace": NAMESPACE, "lifetime": "detached"}
        with cluster_errors():
            _ACTOR.options(**options, get_if_exists=True).remote(self._entry, operation_id, lease)

    def alive(self, operation_id: str, lease: int) -> bool:
        """Tell whether the worker is being created or runs, as the cluster's own table of actors says."""
        handle = find_actor(_name(operation_id, lease))
        return handle is not None and actor_row(handle)["State"] != DEAD

    def stop(self, operation_id: str, lease: int) -> None:
        """Kill the worker of this lease, if there is one."""
        handle = find_actor(_name(operation_id, lease))
        if handle is None:
            return
        with cluster_errors():
            try:
                ray.kill(handle)
            except RayActorError:
                return  # it ended meanwhile


def _name(operation_id: str, lease: int) -> str:
    return f"operation-{operation_id}-{lease}"
