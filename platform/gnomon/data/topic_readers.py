"""TopicReader: reads the messages of a topic from a position on, and notices when a position has lost its meaning.

Used by `topic_ingestion` up to the end of a topic, and by `topic_streams` without end. It reads all partitions by
itself and joins no group: offsets are kept with the table, and two readers exclude each other there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gnomon.contracts.sources import DataSource
from gnomon.data.kafka_clients import ANSWER_S, as_error, kafka_errors, open_admin, open_consumer, topic_of
from gnomon.data.topic_positions import TopicPosition
from gnomon.errors import CorruptData, GnomonError, Unavailable, did_you_mean
from gnomon.telemetry.logs import logger

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

_CHUNK = 500
_ID_S = 1.0
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
_DAMAGED = ("_BAD_COMPRESSION", "_BAD_MSG", "_UNDERFLOW")
_PASSING = ("_ALL_BROKERS_DOWN", "_TRANSPORT", "_TIMED_OUT")


class PositionLost(Exception):
    """The broker does not hold what the position names: `begin` has to look what is left."""


@dataclass(frozen=True)
class TopicShape:
    """What makes offsets comparable: the cluster, the topic's own id, and the partitions."""

    cluster: str
    topic_id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class Fetch:
    """Messages in the order of each partition, and the position behind them."""

    messages: Sequence[Message]
    position: TopicPosition


@dataclass(frozen=True)
class FetchLimits:
    """How much is read at once.

    Attributes:
        wait_s: After the first message, how long others are waited for.
        rows: Messages after which no more are taken.
        size_bytes: The same in bytes of their values.
    """

    wait_s: float = 0.02
    rows: int = 20_000
    size_bytes: int = 8 * 2**20


class TopicReader:
    """Reads one topic. For one thread; close it.

    Args:
        source: Of format `kafka`.

    Raises:
        InvalidInput: The client cannot be made: the package, a variable or a property is wrong.
    """

    def __init__(self, source: DataSource) -> None:
        self._source, self._topic = source, topic_of(source).topic
        self._down, self._has_ids = False, True
        self._said: GnomonError | None = None
        self._consumer = open_consumer(source, self._on_error)
        self._admin = open_admin(source)
        self._shape: TopicShape | None = None
        self._spans: dict[int, tuple[int, int]] = {}

    def close(self) -> None:
        """End the connections."""
        self._consumer.close()

    def shape(self) -> TopicShape:
        """Ask the cluster for the topic.

        Returns:
            What it is now.

        Raises:
            NotFound: There is no such topic.
            Forbidden: It may not be read, or the broker does not know us.
            Unavailable: No broker answers.
        """
        with self._errors():
            cluster = self._consumer.list_topics(self._topic, timeout=ANSWER_S)
            self._down, self._said = False, None
            found = cluster.topics[self._topic]
            if found.error is not None:
                error = as_error(self._source, found.error)
                if error.code == "not_found":
                    known = self._consumer.list_topics(timeout=ANSWER_S).topics
                    error.hint = did_you_mean(self._topic, known) or error.hint
                raise error
        if not found.partitions:
            raise Unavailable(f"source '{self._source.name}': topic '{self._topic}' has no partitions yet")
        return TopicShape(str(cluster.cluster_id or ""), self._topic_id(), tuple(sorted(found.partitions)))

    def begin(self, position: TopicPosition) -> TopicPosition:
        """Read from a position on.

        Args:
            position: The stored one.

        Returns:
            The position that is really begun at: with the partitions that came, and without what is no longer kept.

        Raises:
            NotFound: There is no such topic.
            Forbidden: It may not be read.
            Unavailable: No broker answers.
        """
        from confluent_kafka import TopicPartition

        self._shape = shape = self.shape()
        begun = self._on_this_topic(position, shape)
        is_first = position.number < 0
        self._spans = {partition: self._ask_span(partition) for partition in shape.partitions}
        for partition, (low, high) in self._spans.items():
            at = begun.next_offsets.get(partition)
            if at is None:
                is_late = is_first and topic_of(self._source).start == "latest"
                begun = _moved(begun, partition, high if is_late else low)
            elif at < low:
                lost = begun.lost.get(partition, 0) + low - at
                begun = replace(_moved(begun, partition, low), lost={**begun.lost, partition: lost})
                self._warn("messages were deleted before they were read", partition, at, count=low - at)
            elif at > high:
                begun = replace(_moved(begun, partition, low), rereads=begun.rereads + 1)
                self._warn("the partition is shorter than what was read of it: it is read anew", partition, at)
        with self._errors():
            self._consumer.assign([TopicPartition(self._topic, p, at) for p, at in begun.next_offsets.items()])
        return begun

    def has_changed(self) -> bool:
        """Ask the cluster whether the topic is another one, or has other partitions, than when reading began.

        Returns:
            True where reading has to begin again; an id that is not told counts as the same.

        Raises:
            NotFound: There is no such topic any more.
            Forbidden: It may not be read any more.
            Unavailable: No broker answers.
        """
        now, before = self.shape(), self._shape
        if before is None or not (now.topic_id and before.topic_id):
            return before is None or (now.cluster, now.partitions) != (before.cluster, before.partitions)
        return now != before

    def read(self, position: TopicPosition, limits: FetchLimits, most_wait_s: float) -> Fetch:
        """Read the messages behind a position.

        Args:
            position: Behind the last message that was read.
            limits: How much at once.
            most_wait_s: How long to wait for a first message.

        Returns:
            The messages, none where none came, and the position behind them.

        Raises:
            PositionLost: The messages at the position are no longer kept.
            NotFound: There is no such topic any more.
            Forbidden: It may not be read any more.
            CorruptData: Messages are damaged at the broker.
            Unavailable: No broker answers.
        """
        with self._errors():
            first = self._consumer.poll(most_wait_s)
            events = [] if first is None else [first, *self._consumer.consume(_CHUNK - 1, limits.wait_s)]
            size_bytes = sum(len(event.value() or b"") for event in events)
            while events and len(events) % _CHUNK == 0 and len(events) < limits.rows and size_bytes < limits.size_bytes:
                more = self._consumer.consume(_CHUNK, limits.wait_s)
                size_bytes += sum(len(event.value() or b"") for event in more)
                events += more
        if not events and self._down:
            self.shape()  # which tells why, where it is really down
        return self._sorted_out(events, position)

    def spans(self) -> Mapping[int, tuple[int, int]]:
        """Return, by partition, the offset of the first message that is kept and the one after the last."""
        from confluent_kafka import TopicPartition

        for partition, known in self._spans.items():
            found = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            low, high = (new if new >= 0 else old for new, old in zip(found or (-1, -1), known, strict=True))
            self._spans[partition] = (low, high)
        return self._spans

    def _sorted_out(self, events: Sequence[Message], position: TopicPosition) -> Fetch:
        messages = []
        offsets, skipped = dict(position.next_offsets), dict(position.skipped)
        for event in events:
            error, partition, offset = event.error(), event.partition(), event.offset()
            if error is not None and error.name() in ("_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"):
                raise PositionLost
            if error is not None and error.name() in _DAMAGED:
                raise self._damaged(error, partition or 0, offset or 0)
            if error is not None and error.name() != "_PARTITION_EOF":
                raise as_error(self._source, error)
            assert partition is not None, "only errors are of no partition"
            assert offset is not None, "only errors have no offset"
            if offset > offsets[partition]:
                skipped[partition] = skipped.get(partition, 0) + offset - offsets[partition]
            offsets[partition] = max(offsets[partition], offset)
            if error is None:
                messages.append(event)
                offsets[partition] += 1
        return Fetch(messages, replace(position, next_offsets=offsets, skipped=skipped))

    def _damaged(self, error: KafkaError, partition: int, offset: int) -> CorruptData:
        place = topic_of(self._source).partition_place(partition)
        return CorruptData(
            f"source '{self._source.name}': messages of {place}, from offset {offset} on, are damaged at the broker: "
            f"{error.str()}",
            "restore them, or delete them at the broker: then reading goes on, and they count as lost",
        )

    def _on_this_topic(self, position: TopicPosition, shape: TopicShape) -> TopicPosition:
        """Return the position as far as its offsets are of this topic of this cluster."""
        known = replace(
            position, cluster=shape.cluster or position.cluster, topic_id=shape.topic_id or position.topic_id
        )  # fmt: skip
        differs = _differ(position.cluster, shape.cluster) or _differ(position.topic_id, shape.topic_id)
        if position.number >= 0 and differs:
            logger().warning("the topic is another one: it is read from its beginning", source=self._source.name)
            return replace(known, next_offsets={}, rereads=position.rereads + 1)
        kept = {p: at for p, at in position.next_offsets.items() if p in shape.partitions}
        return replace(known, next_offsets=kept)

    def _topic_id(self) -> str:
        """Return the topic's own id; empty where the broker gives none, or does not tell."""
        from confluent_kafka import KafkaException, TopicCollection

        if not self._has_ids:
            return ""
        asked = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=_ID_S)
        try:
            found = str(asked[self._topic].result(ANSWER_S).topic_id)
        except (KafkaException, TimeoutError):
            self._has_ids = False  # it is not asked in vain again and again: that would hold up the messages
            return ""
        return "" if found == _NO_ID else found

    def _ask_span(self, partition: int) -> tuple[int, int]:
        from confluent_kafka import TopicPartition

        with self._errors():
            found = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=ANSWER_S)
        if found is None:
            raise Unavailable(f"source '{self._source.name}': partition {partition} of '{self._topic}' has no leader")
        low, high = found
        return low, high

    def _on_error(self, error: KafkaError) -> None:
        name = error.name()
        self._down = self._down or name != "_TRANSPORT"  # one connection of several may end without harm
        if self._said is None or name not in _PASSING:
            self._said = as_error(self._source, error)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the client's exceptions into ours; where no broker answers, into what a connection said before."""
        try:
            with kafka_errors(self._source):
                yield
        except Unavailable as error:
            self._consumer.poll(0)  # which hands over what connections said; a message in it is read again
            raise (self._said or error) from None

    def _warn(self, what: str, partition: int, at: int, **facts: int) -> None:
        low, high = self._spans[partition]
        logger().warning(
            what, source=self._source.name, topic=self._topic, partition=partition, position=at, first_kept=low,
            end=high, **facts,
        )  # fmt: skip


def _moved(position: TopicPosition, partition: int, offset: int) -> TopicPosition:
    return replace(position, next_offsets={**position.next_offsets, partition: offset})


def _differ(known: str, found: str) -> bool:
    return bool(known and found) and known != found
