"""TopicPosition: how far a topic was read into its table, kept in the notes of the table's own commits.

Written by `topic_batches` and read by `topic_readers`' callers. Rows and position are one commit, so that whoever is
killed goes on exactly behind the rows that are in the table; a table that is restored from a backup brings its position
along. The commits of a topic form a chain: each has the number after the last, and a number is given once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.kafka_clients import topic_of

NOTE = "kafka"
"""Key of the position in the note of a commit."""


@dataclass(frozen=True)
class TopicPosition:
    """Where the reading of a topic stands.

    Attributes:
        number: Number of the commit that holds it, from 0; -1 before the first.
        next_offsets: By partition, the offset of the first message that was not read.
        cluster: Id of the cluster that the offsets belong to; empty where it gives none.
        topic_id: Id of the topic, another one when the topic was deleted and made anew; empty where there is none.
        lost: By partition, how many offsets were no longer kept when they were to be read.
        skipped: By partition, how many offsets between those that were read gave no message: marks of transactions, and
            what a compacted topic has deleted.
        rereads: How often a partition was begun anew, because its offsets had lost their meaning.
        watermark_us: Greatest event time among the rows read; None before the first.
    """

    number: int = -1
    next_offsets: Mapping[int, int] = field(default_factory=dict)
    cluster: str = ""
    topic_id: str = ""
    lost: Mapping[int, int] = field(default_factory=dict)
    skipped: Mapping[int, int] = field(default_factory=dict)
    rereads: int = 0
    watermark_us: int | None = None

    def as_note(self) -> dict[str, Any]:
        """Return what is kept with the commit."""
        return asdict(self)

    @classmethod
    def from_note(cls, note: Mapping[str, Any]) -> Self:
        """Read what `as_note` returned; JSON has made texts of the partitions."""
        counts = ("next_offsets", "lost", "skipped")
        return cls(**{**note, **{name: {int(p): int(n) for p, n in note[name].items()} for name in counts}})


def commit_id(source: DataSource, number: int) -> str:
    """Return the batch id of a commit of the chain; another topic of the same source has a chain of its own."""
    return f"kafka:{topic_of(source).topic}:{number}"


def stored_position(source: DataSource, offline: OfflineStore) -> TopicPosition:
    """Find the newest position of a source's topic, in logarithmically many look-ups.

    Args:
        source: Of format `kafka`.
        offline: Where its table is.

    Returns:
        The position; one with the number -1 where nothing of the topic was committed.
    """

    def committed(number: int) -> bool:
        return offline.contains(source.name, commit_id(source, number))

    if not committed(0):
        return TopicPosition()
    known, step = 0, 1
    while committed(known + step):
        known, step = known + step, step * 2
    while step := step // 2:
        if committed(known + step):
            known += step
    done = offline.committed(source.name, commit_id(source, known))
    assert done is not None, "what was committed stays committed"
    return TopicPosition.from_note(done.note[NOTE])
