"""The actors of the stream consumer and the topic consumer: shells that step one for ever. Kept by the control plane.

Detached, and restarted by Ray whenever their processes die; a new process goes on from the stored positions.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

import ray

from gnomon.runtime.entry_points import entry_point
from gnomon.runtime.ray_actors import DEAD, NAMESPACE, actor_row, cluster_errors, find_actor
from gnomon.telemetry.logs import logger

NAME = "stream-consumer"
"""Name of the actor in the namespace `gnomon`."""

TOPICS = "topic-consumer"
"""Name of the other one."""

_LOOK_EVERY_S = 5.0
"""Pause between two looks at an actor that is as it should be; Ray itself restarts one that dies."""


class Consumer(Protocol):
    """What is stepped: `streaming.StreamConsumer` or `topic_consumer.TopicConsumer`."""

    def step(self) -> float:
        """Do what there is to do; return the seconds to wait before the next step."""
        ...


class StreamActor:
    """Steps a consumer in a thread of its own.

    Args:
        factory: Function that builds the consumer, as `module:function`; called without arguments.
    """

    def __init__(self, factory: str) -> None:
        self._consumer: Consumer = entry_point(factory)()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            time.sleep(pause_s)
            try:
                pause_s = self._consumer.step()
            except Exception as error:  # noqa: BLE001 - see below
                # The edge of the thread: if it ended, nothing would ever come in again.
                logger().error("a step of a consumer failed", exc_info=error)
                pause_s = 1.0


class TopicActor(StreamActor):
    """The same under another name, so that the two processes are told apart."""


_RESTARTED = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0, max_concurrency=2)
_ACTORS = {NAME: _RESTARTED(StreamActor), TOPICS: _RESTARTED(TopicActor)}


class RayStreamKeeper:
    """Starts a consumer's actor while there is something for it, and ends it when not; `execution.StreamKeeper`.

    Args:
        factory: Function that builds the consumer, as `module:function`.
        name: Which of the actors: `NAME` or `TOPICS`.
    """

    def __init__(self, factory: str, name: str = NAME) -> None:
        self._factory, self._name = factory, name
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
        handle = find_actor(self._name)
        runs = handle is not None and actor_row(handle)["State"] != DEAD
        if wanted and not runs:
            options = {"name": self._name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
            with cluster_errors():
                _ACTORS[self._name].options(**options).remote(self._factory)
        elif runs and not wanted:
            with cluster_errors():  # in the middle of a step or not: the next one repeats what it could not do
                ray.kill(handle, no_restart=True)
        self._done = (wanted, now_s)
