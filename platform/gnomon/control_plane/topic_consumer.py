"""TopicConsumer: reads the topics of all applied sources, each in a thread. Stepped by `stream_actor`'s actor.

It follows the applied apps: a topic is read from the moment on at which a source of it is applied, by the definition as
it is then, and no longer than that. Another process that does the same at the same time does no harm: positions are
committed with the rows, each once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gnomon.contracts.apps import App
from gnomon.contracts.columns import Dtype
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.parts import Parts
from gnomon.data.topic_readers import FetchLimits
from gnomon.data.topic_streams import TopicStream

_LOOK_EVERY_S = 1.0

OnError = Callable[[str, Exception], None]
"""Told what failed and why; the next step tries again."""


class TopicConsumer:
    """Keeps one thread for each source whose rows come from a topic.

    Args:
        parts: The platform's parts.
        wait_s: After a message, how long others are waited for that share its commit.
        on_error: Told of every failure that a step survived.
    """

    def __init__(self, parts: Parts, wait_s: float, on_error: OnError) -> None:
        self._parts, self._on_error = parts, on_error
        self._limits = FetchLimits(wait_s=wait_s)
        self._read: dict[str, _Reading] = {}

    def step(self) -> float:
        """Begin to read the topics that are applied now, and end to read others.

        Returns:
            Seconds to wait before the next look.
        """
        try:
            wanted = {source.name: (source, app) for app in self._parts.apps() for source in topic_sources(app)}
        except Exception as error:  # noqa: BLE001 - the topics that are read go on
            self._on_error("look for topics", error)
            return _LOOK_EVERY_S
        for name, reading in list(self._read.items()):
            if name not in wanted or reading.identity != _identity(*wanted[name]):
                self._read.pop(name).end()
        for name, (source, app) in wanted.items():
            if name not in self._read:
                self._read[name] = self._begin(source, app)
        return _LOOK_EVERY_S

    def close(self) -> None:
        """End to read all topics."""
        for name in list(self._read):
            self._read.pop(name).end()

    def _begin(self, source: DataSource, app: App) -> _Reading:
        parts = self._parts
        schema: Mapping[str, Dtype] = app.schemas[source.name]
        stream = TopicStream(source, schema, parts.offline, parts.states, parts.clock, self._limits)
        ended = threading.Event()
        thread = threading.Thread(target=_run, args=(stream, ended), name=f"topic-{source.name}", daemon=True)
        thread.start()
        return _Reading(_identity(source, app), thread, ended)


@dataclass(frozen=True)
class _Reading:
    identity: tuple[str, str]
    thread: threading.Thread
    ended: threading.Event

    def end(self) -> None:
        """Stop after the step that is under way, so that two definitions never read side by side."""
        self.ended.set()
        self.thread.join()


def _run(stream: TopicStream, ended: threading.Event) -> None:
    pause_s = 0.0
    while not ended.wait(pause_s):
        pause_s = stream.step()
    stream.close()


def _identity(source: DataSource, app: App) -> tuple[str, str]:
    return source.content_hash(), repr(sorted(app.schemas[source.name].items()))


def topic_sources(app: App) -> list[DataSource]:
    """Return the sources of an app whose rows come from topics."""
    return [source for source in app.all(DataSource) if source.kafka is not None]
