"""RayWorkerPool: one detached Ray actor per (operation, lease), which does the work and ends itself.

Used by the control plane. Actors outlive who started them, so that work goes on while the control plane is away.
"""

from __future__ import annotations

import traceback

import ray
from ray._private.state import actors as actor_table
from ray.exceptions import RayActorError, RayError

from gnomon.errors import Unavailable
from gnomon.runtime.entry_points import entry_point

NAMESPACE = "gnomon"
"""Ray namespace of all named actors of the platform."""

_DEAD = "DEAD"


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


class RayWorkerPool:
    """The `WorkerPool` on a Ray cluster that this process is connected to.

    Args:
        entry: What a worker does, as `module:function`; called with operation id and lease.
    """

    def __init__(self, entry: str) -> None:
        self._entry = entry

    def start(self, operation_id: str, lease: int) -> None:
        """Start the worker of this lease unless it runs already; returns before its process exists.

        Args:
            operation_id: The operation.
            lease: The lease.

        Raises:
            Unavailable: The cluster does not answer.
        """
        options = {"name": _name(operation_id, lease), "namespace": NAMESPACE, "lifetime": "detached"}
        try:
            _ACTOR.options(**options, get_if_exists=True).remote(self._entry, operation_id, lease)
        except (RayError, ConnectionError) as error:
            raise _unavailable(error) from error

    def alive(self, operation_id: str, lease: int) -> bool:
        """Tell whether the worker is being created or runs, as the cluster's own table of actors says.

        Args:
            operation_id: The operation.
            lease: The lease.

        Returns:
            False once the cluster knows that the process ended: soon after it was killed.

        Raises:
            Unavailable: The cluster does not answer.
        """
        handle = self._find(operation_id, lease)
        if handle is None:
            return False
        try:
            row = actor_table(actor_id=handle._actor_id.hex())
        except (RayError, ConnectionError) as error:
            raise _unavailable(error) from error
        return bool(row) and row["State"] != _DEAD

    def stop(self, operation_id: str, lease: int) -> None:
        """Kill the worker of this lease, if there is one.

        Args:
            operation_id: The operation.
            lease: The lease.

        Raises:
            Unavailable: The cluster does not answer.
        """
        handle = self._find(operation_id, lease)
        if handle is None:
            return
        try:
            ray.kill(handle)
        except RayActorError:
            return  # it ended meanwhile
        except (RayError, ConnectionError) as error:
            raise _unavailable(error) from error

    def _find(self, operation_id: str, lease: int) -> ray.actor.ActorHandle | None:
        try:
            return ray.get_actor(_name(operation_id, lease), NAMESPACE)
        except ValueError:  # Ray's way to say that no actor has that name, or that it is dead
            return None
        except (RayError, ConnectionError) as error:
            raise _unavailable(error) from error


def _name(operation_id: str, lease: int) -> str:
    return f"operation-{operation_id}-{lease}"


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"the Ray cluster does not answer: {error}", "is it up? see `gnomon status`")
