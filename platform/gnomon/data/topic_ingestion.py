"""Reads a topic to the end that it has now: `gnomon ingest` of a source whose rows come from one.

Called by `ingestion`. It takes the same steps as the consumer that runs all the time, and may run beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing

from gnomon.contracts.clocks import Clock
from gnomon.contracts.columns import Dtype
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.contract_reports import Findings, rule_results
from gnomon.data.ingest_reports import BatchCounts, IngestReport, Memory, read_as
from gnomon.data.topic_intake import TopicIntake
from gnomon.errors import Unavailable

_WAIT_S = 1.0
_SILENT_S = 30.0


def ingest_topic(
    source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, clock: Clock, ingestion: str,
    report: Callable[[str], None],
) -> IngestReport:  # fmt: skip
    """Bring the messages that a topic holds now into the source's table.

    Args:
        source: Of format `kafka`.
        schema: Types of its columns.
        offline: Where its tables are.
        clock: Gives the ingestion time.
        ingestion: Names the ingestion; the same again, after a kill, counts what it has committed.
        report: Gets a line of progress for each batch.

    Returns:
        The counts of all attempts, and of the last one what became of the row rules. What the running consumer brought
        meanwhile is in its own commits.

    Raises:
        InvalidInput: The client cannot be made, or a rule of the source cannot be applied.
        NotFound: There is no such topic.
        Forbidden: It may not be read.
        CorruptData: Messages are damaged at the broker; batches before them stay committed.
        Unavailable: No broker answers, or messages that are there do not come for 30 s.
        Conflict: Other writers to the table left no gap.
        OutOfSpace: The disk is full.
    """
    started_s = time.perf_counter()
    counts: list[BatchCounts] = []
    findings = Findings()
    while (commit := offline.committed(source.name, _name(ingestion, len(counts)))) is not None:
        counts.append(BatchCounts(**commit.note["counts"]))
    with closing(TopicIntake(source, schema, offline, clock)) as intake:
        intake.begin()
        ends = {partition: high for partition, (_, high) in intake.spans().items()}
        heard_s = time.monotonic()
        while (left := _left(intake, ends)) or intake.position.number < 0:
            before = intake.position
            done = intake.step(_WAIT_S, (_name(ingestion, len(counts)),))
            if done is not None:
                counts.append(done.counts)
                findings += Findings(tallies=done.tallies)
                report(_progress(source, done.counts, _left(intake, ends)))
            if intake.position != before:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > _SILENT_S:
                raise Unavailable(f"source '{source.name}': {left} messages of {source.place()} do not come")
    version = offline.version(source.name)
    memory = Memory(read_as(source, schema), None, None, True, None, version)
    return IngestReport.of(
        source, 0, counts, time.perf_counter() - started_s, distributed=False, drift=(), memory=memory,
        contract=rule_results(source, findings.tallies),
    )  # fmt: skip


def _left(intake: TopicIntake, ends: Mapping[int, int]) -> int:
    """Return how many offsets of each partition are before the end that it had."""
    return sum(max(0, end - intake.position.next_offsets.get(partition, 0)) for partition, end in ends.items())


def _name(ingestion: str, number: int) -> str:
    return f"ingest:{ingestion}:{number}"


def _progress(source: DataSource, done: BatchCounts, left: int) -> str:
    quarantined = sum(done.quarantined.values())
    return (
        f"{source.name}: {done.rows_read:,} messages read, {done.rows_added:,} added, "
        f"{done.duplicates:,} already there, {quarantined:,} quarantined; {left:,} left"
    )
