"""The control plane's actor: a shell that steps a `ControlLoop` for ever. Started by `gnomon up`.

Detached, and restarted by Ray whenever its process dies; all state is in the stores, where the new process goes on.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import ray
from ray.exceptions import RayActorError

from gnomon.control_plane.iteration import ControlLoop
from gnomon.runtime.entry_points import entry_point
from gnomon.runtime.ray_actors import NAMESPACE
from gnomon.telemetry.logs import logger

NAME = "control-plane"
"""Name of the actor in the namespace `gnomon`."""


class ControlPlane:
    """Steps a control loop in a thread of its own.

    Args:
        factory: Function that builds the loop, as `module:function`; called without arguments.
        poll_s: Pause between two steps.
    """

    def __init__(self, factory: str, poll_s: float) -> None:
        self._loop: ControlLoop = entry_point(factory)()
        self._poll_s = poll_s
        self._stepping = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control-loop", daemon=True)
        self._thread.start()

    def ping(self) -> int:
        """Return the process id."""
        return os.getpid()

    def step_now(self) -> int:
        """Do one step without waiting for the pause; return how many actions it decided."""
        with self._stepping:
            return len(self._loop.step())

    def stop(self) -> None:
        """End the stepping; returns after the step that is under way."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._poll_s):
            try:
                self.step_now()
            except Exception as error:  # noqa: BLE001 - see below
                # The edge of the thread: if it ended, nothing would ever be decided again.
                logger().error("a step of the control loop failed", exc_info=error)


_ACTOR = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=4)(ControlPlane)


def start_control_plane(factory: str, poll_s: float = 0.5) -> Any:
    """Return the handle of the control plane's actor; start it where there is none.

    Args:
        factory: Function that builds the loop, as `module:function`.
        poll_s: Pause between two steps.

    Returns:
        The handle; it lives as long as the cluster, through every death of its process.
    """
    options = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
    return _ACTOR.options(**options).remote(factory, poll_s)


def stop_control_plane(timeout_s: float = 10.0) -> None:
    """End the control plane's actor for good, after the step that is under way; nothing happens where there is none.

    Args:
        timeout_s: How long that step may take.
    """
    try:
        handle = ray.get_actor(NAME, NAMESPACE)
        ray.get(handle.stop.remote(), timeout=timeout_s)
    except ValueError:
        return  # none runs
    except (RayActorError, TimeoutError):
        pass  # it is dead or hangs: both end with the kill
    ray.kill(handle, no_restart=True)
