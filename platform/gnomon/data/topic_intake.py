"""TopicIntake: brings the messages of a topic into its source's table, step by step.

Used by `topic_ingestion` up to the end of the topic, and by `topic_streams` without end. Nothing is read ahead of what
is committed but what the client holds, which is bounded; so a table that takes no rows makes the reading wait.
"""

from __future__ import annotations

from collections.abc import Mapping

from gnomon.contracts.clocks import Clock
from gnomon.contracts.columns import Dtype
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.topic_batches import TopicCommit, commit_messages
from gnomon.data.topic_positions import TopicPosition, stored_position
from gnomon.data.topic_readers import Fetch, FetchLimits, PositionLost, TopicReader


class TopicIntake:
    """Reads one topic from the stored position on. For one thread; close it.

    Args:
        source: Of format `kafka`.
        schema: Types of its columns.
        offline: Where its tables are.
        clock: Gives the ingestion time.
        limits: How much is committed at once.

    Attributes:
        position: Behind the last message that was committed; the stored one, or none yet, before the first step.
    """

    def __init__(
        self, source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, clock: Clock,
        limits: FetchLimits | None = None,
    ) -> None:  # fmt: skip
        self._source, self._schema, self._offline, self._clock = source, schema, offline, clock
        self._limits = limits or FetchLimits()
        self._reader: TopicReader | None = None
        self._begun = self._moved = False
        self.position = TopicPosition()

    def close(self) -> None:
        """End the connections; the next step makes new ones and begins at what is stored."""
        if self._reader is not None:
            self._reader.close()
        self._reader, self._begun = None, False

    def begin(self) -> None:
        """Begin at the stored position, where that has not been done.

        Raises:
            InvalidInput: The client cannot be made.
            NotFound: There is no such topic.
            Forbidden: It may not be read.
            Unavailable: No broker answers.
        """
        if self._reader is None:
            self._reader = TopicReader(self._source)
        if not self._begun:
            stored = stored_position(self._source, self._offline)
            self.position = self._reader.begin(stored)
            self._moved, self._begun = self.position != stored, True

    def look_again(self) -> None:
        """Notice whether the topic has other partitions, or is another one; raises as `begin`, and is as slow."""
        if self._reader is not None and self._begun and self._reader.has_changed():
            self._begun = False

    def spans(self) -> Mapping[int, tuple[int, int]]:
        """Return, by partition, the offset of the first message that is kept and the one after the last."""
        return {} if self._reader is None else self._reader.spans()

    def step(self, most_wait_s: float, further_ids: tuple[str, ...] = ()) -> TopicCommit | None:
        """Read messages and commit them.

        Where reading began elsewhere than at what is stored, that is committed first: nothing that comes from then on
        can be missed.

        Args:
            most_wait_s: How long to wait for a first message.
            further_ids: Other names of the commit.

        Returns:
            What was committed; None where nothing came, or another reader was faster.

        Raises:
            InvalidInput: The client cannot be made, or a rule of the source cannot be applied.
            NotFound: There is no such topic.
            Forbidden: It may not be read.
            Unavailable: No broker answers.
            CorruptData: Messages are damaged at the broker.
            Conflict: Other writers to the table left no gap.
            OutOfSpace: The disk is full.
        """
        self.begin()
        assert self._reader is not None, "`begin` makes one"
        fetch = Fetch((), self.position)
        if not self._moved:
            try:
                fetch = self._reader.read(self.position, self._limits, most_wait_s)
            except PositionLost:
                self._begun = False
                return None
            if not fetch.messages:
                self.position = fetch.position
                return None
        done = commit_messages(
            fetch, self._source, self._schema, self._offline, self._clock.now_us(), further_ids
        )  # fmt: skip
        if done is None:
            self._begun = False
            return None
        self.position, self._moved = done.position, False
        return done
