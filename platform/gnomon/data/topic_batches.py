"""Commits the rows of messages and the position behind them as one version of the source's table.

Called by `topic_ingestion` and `topic_streams`. The rules are those of pushes: rejects first, then what is new by event
id and content. Of two that read the same topic, one commits and the other learns that it was overtaken: every position
is committed once, and nothing twice.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import EVENT_TIME, Dtype
from gnomon.contracts.offline_store import Commit, OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.appending import append_new, until_no_conflict
from gnomon.data.contract_reports import Tally
from gnomon.data.deduplication import drop_known, event_period_us, stored_keys
from gnomon.data.ingest_reports import BatchCounts
from gnomon.data.quarantine_tables import quarantine_table
from gnomon.data.topic_messages import judge_messages
from gnomon.data.topic_positions import NOTE, TopicPosition, commit_id
from gnomon.data.topic_readers import Fetch


@dataclass(frozen=True)
class TopicCommit:
    """What became of messages.

    Attributes:
        position: The stored position, in the same commit as the rows.
        counts: What became of each message.
        tallies: How often each row rule of the contract was checked and broken, by its label.
    """

    position: TopicPosition
    counts: BatchCounts
    tallies: Mapping[str, Tally]


def commit_messages(
    fetch: Fetch, source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, now_us: int,
    further_ids: tuple[str, ...] = (), sleep: Callable[[float], None] = time.sleep,
) -> TopicCommit | None:  # fmt: skip
    """Commit messages with the position behind them.

    Args:
        fetch: Messages, and a position that has the number of the last commit.
        source: Where the rows belong.
        schema: Types of its columns.
        offline: Where the tables are.
        now_us: Becomes the ingestion time.
        further_ids: Other names of the commit.
        sleep: Waits between tries, for seconds.

    Returns:
        What was committed; None where another reader has committed the next position, and no row of this one is in the
        table by this call.

    Raises:
        Conflict: Other writers to the table left no gap; no row is in the table.
        OutOfSpace: The disk is full; the same.
        InvalidDefinition: A rule of the source cannot be applied.
    """
    judged = judge_messages(fetch.messages, source, schema, now_us)
    if judged.rejects.num_rows:
        name = f"kafka-{secrets.token_hex(16)}"  # what an attempt that was cut off has put there is found by its place
        batch = pa.array([name] * judged.rejects.num_rows, pa.string())
        append_new(
            offline, quarantine_table(source.name), judged.rejects.append_column("batch", batch), name, by_period=True,
            sleep=sleep,
        )  # fmt: skip
    position = replace(
        fetch.position, number=fetch.position.number + 1, watermark_us=_watermark(fetch.position, judged.rows)
    )  # fmt: skip
    rules = dict(Counter(judged.rejects["rule"].to_pylist()))
    identity = commit_id(source, position.number)

    def once() -> tuple[Commit, BatchCounts]:
        version = offline.version(source.name)
        known = stored_keys(offline, source.name, version if judged.rows.num_rows else -1, event_period_us(judged.rows))
        fresh = drop_known(judged.rows, known)
        counts = BatchCounts(
            len(fetch.messages), fresh.rows.num_rows, fresh.duplicates, fresh.corrections, rules, judged.changed
        )  # fmt: skip
        note: dict[str, Any] = counts.note({NOTE: position.as_note()})
        return offline.append(
            source.name, fresh.rows, identity, expected_version=version, note=note, further_ids=further_ids
        ), counts  # fmt: skip

    commit, counts = until_no_conflict(once, sleep)
    return None if commit.repeated else TopicCommit(position, counts, judged.tallies)


def _watermark(position: TopicPosition, rows: pa.Table) -> int | None:
    newest = pc.max(rows[EVENT_TIME].cast(pa.int64())).as_py()
    return max((us for us in (position.watermark_us, newest) if us is not None), default=None)
