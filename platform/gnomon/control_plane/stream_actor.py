"""The stream consumer's actor: a shell that steps a `StreamConsumer` for ever. Kept by the control plane's loop.

Detached, and restarted by Ray whenever its process dies; the new process goes on from the stored positions.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import ray

from gnomon.runtime.entry_points import entry_point
from gnomon.runtime.ray_actors import DEAD, NAMESPACE, actor_row, cluster_errors, find_actor
from gnomon.telemetry.logs import logger

if TYPE_CHECKING:  # the control plane, which keeps the actor, does without Arrow
    from gnomon.control_plane.streaming import StreamConsumer

NAME = "stream-consumer"
"""Name of the actor in the namespace `gnomon`."""

_LOOK_EVERY_S = 5.0
"""Pause between two looks at an actor that is as it should be; Ray itself restarts one that dies."""


class StreamActor:
    """Steps a stream consumer in a thread of its own.

    Args:
        factory: Function that builds the consumer, as `module:function`; called without arguments.
    """

    def __init__(self, factory: str) -> None:
        self._consumer: StreamConsumer = entry_point(factory)()
        self._thread = threading.Thread(target=self._run, name="stream-consumer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            time.sleep(pause_s)
            try:
                pause_s = self._consumer.step()
            except Exception as error:  # noqa: BLE001 - see below
                # The edge of the thread: if it ended, no value would ever be fresh again.
                logger().error("a step of the stream consumer failed", exc_info=error)
                pause_s = 1.0


_ACTOR = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=2)(StreamActor)


class RayStreamKeeper:
    """Starts the stream consumer's actor while a view is fresh, and ends it when none is; `execution.StreamKeeper`.

    Args:
        factory: Function that builds the consumer, as `module:function`.
    """

    def __init__(self, factory: str) -> None:
        self._factory = factory
        self._done: tuple[bool, float] | None = None

    def keep(self, *, wanted: bool) -> None:
        """Bring the actor to what is wanted; nothing happens where it is so already.

        Args:
            wanted: Whether it should run.

        Raises:
            Unavailable: The cluster does not answer.
        """
        now_s = time.monotonic()
        if self._done is not None and self._done[0] == wanted and now_s - self._done[1] < _LOOK_EVERY_S:
            return
        handle = find_actor(NAME)
        runs = handle is not None and actor_row(handle)["State"] != DEAD
        if wanted and not runs:
            options = {"name": NAME, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
            with cluster_errors():
                _ACTOR.options(**options).remote(self._factory)
        elif runs and not wanted:
            with cluster_errors():  # in the middle of a step or not: the next one repeats what it could not do
                ray.kill(handle, no_restart=True)
        self._done = (wanted, now_s)
