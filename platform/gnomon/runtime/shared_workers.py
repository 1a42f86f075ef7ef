"""SharedWorkers: light operations run in one warm process that all of them share. Used by `operation_workers`.

The process is a detached actor that Ray restarts when it dies. A restarted one knows nothing of earlier work, which is
therefore not alive, and gets its next lease from the control loop: Ray itself repeats nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import ray
from ray.exceptions import ActorUnavailableError, RayError

from gnomon.errors import Unavailable
from gnomon.runtime.ray_actors import ALIVE, DEAD, NAMESPACE, RESTARTING, actor_row, cluster_errors, find_actor
from gnomon.runtime.shared_process import SharedProcess, Work

NAME = "operation-worker"
"""Name of the actor in the namespace `gnomon`."""

ANSWER_S = 0.5
"""Longest wait for the process's answer. It answers in a millisecond; waiting keeps the control loop from all else."""

_ACTOR = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=1)(SharedProcess)


@dataclass
class _Start:
    """A start that the process has not confirmed yet.

    Attributes:
        call: The call to the process; None while there is no process that could be called.
        restarts: How often the actor had been restarted when the call was made.
    """

    call: ray.ObjectRef | None = None
    restarts: int = 0


class _Process(NamedTuple):
    """What the cluster knows of the actor now; it is not dead."""

    handle: ray.actor.ActorHandle
    state: str
    restarts: int


class SharedWorkers:
    """A `WorkerPool` whose workers are threads of one process. Called by one thread at a time.

    Args:
        entry: What a worker does, as `module:function`; called with operation id and lease.
        preload: Modules that the process imports before its first work.
    """

    def __init__(self, entry: str, preload: Sequence[str]) -> None:
        self._entry = entry
        self._preload = tuple(preload)
        self._handle: ray.actor.ActorHandle | None = None
        self._starts: dict[Work, _Start] = {}
        self._unanswered: ray.ObjectRef | None = None
        with suppress(Unavailable):  # the first start creates it then
            if self._process() is None:
                self._create()

    def start(self, operation_id: str, lease: int) -> None:
        """Begin this work unless it runs already; returns before the process has begun it, or exists."""
        process = self._process()
        for known in tuple(self._starts):
            self._is_coming(known, process)  # forgets those that arrived
        if (work := (operation_id, lease)) not in self._starts:
            self._starts[work] = self._call(work, process)

    def alive(self, operation_id: str, lease: int) -> bool:
        """Tell whether the work waits for the process or runs in it.

        Args:
            operation_id: The operation.
            lease: The lease.

        Returns:
            False too for work that ran in a process before this one.

        Raises:
            Unavailable: The cluster does not answer, or the process does not within `ANSWER_S`.
        """
        work = (operation_id, lease)
        if work in self._starts and self._is_coming(work, self._process()):
            return True
        process = self._process()  # again: it may have come up between that look and the start's arrival
        return process is not None and process.state == ALIVE and self._runs(process.handle, work)

    def stop(self, operation_id: str, lease: int) -> None:
        """Ask the work to end, if there is any; it is alive until it has looked at `stop_requested`."""
        work = (operation_id, lease)
        start = self._starts.get(work)
        if start is not None and start.call is None:
            del self._starts[work]
            return
        process = self._process()
        if process is not None and process.state != RESTARTING:
            with cluster_errors():
                process.handle.stop.remote(*work)

    def _process(self) -> _Process | None:
        """Look at the actor; None where there is none, or it failed for good."""
        self._handle = self._handle or find_actor(NAME)
        if self._handle is None:
            return None
        row = actor_row(self._handle)
        if row["State"] == DEAD:
            self._handle = None
            return None
        return _Process(self._handle, row["State"], row["NumRestarts"])

    def _create(self) -> ray.actor.ActorHandle:
        options = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
        with cluster_errors():
            self._handle = _ACTOR.options(**options).remote(self._entry, self._preload)
        return self._handle

    def _call(self, work: Work, process: _Process | None) -> _Start:
        """Call the process; while it restarts the start waits here, because Ray would refuse the call."""
        if process is not None and process.state == RESTARTING:
            return _Start()
        handle, restarts = (self._create(), 0) if process is None else (process.handle, process.restarts)
        with cluster_errors():
            return _Start(handle.begin.remote(*work), restarts)

    def _is_coming(self, work: Work, process: _Process | None) -> bool:
        """Tell whether a start is on its way still; one that arrived or failed is forgotten."""
        start = self._starts[work]
        if start.call is None:
            self._starts[work] = self._call(work, process)
            return True
        if not ray.wait([start.call], timeout=0)[0]:
            return True
        try:
            ray.get(start.call)
        except ActorUnavailableError:
            if process is not None and process.restarts == start.restarts:
                start.call = None  # the same process as then: the connection was lost, and a repeated begin is harmless
                return True
        except RayError:
            pass  # it died with the start in it: the work is not alive, which is the answer
        del self._starts[work]
        return False

    def _runs(self, handle: ray.actor.ActorHandle, work: Work) -> bool:
        """Ask the process; while an earlier question is unanswered, no other is asked and nothing is waited for."""
        if self._unanswered is not None and not ray.wait([self._unanswered], timeout=0)[0]:
            raise _silent()
        self._unanswered = None
        with cluster_errors():
            question = handle.runs.remote(*work)
            if ray.wait([question], timeout=ANSWER_S)[0]:
                return bool(ray.get(question))
        self._unanswered = question
        raise _silent()


def _silent() -> Unavailable:
    return Unavailable(f"the process '{NAME}' has not answered within {ANSWER_S} s", "is the machine overloaded?")
