"""Pushed rows: judged by the rules of ingestion, and committed together with those of other pushes, each exactly once.

Called by `pushing`, which gathers the pushes of a source. A push whose batch id was committed before adds nothing and
gets its earlier counts again; rows are recognised by event id and content besides, whoever sent them.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from gnomon.contracts.columns import Dtype
from gnomon.contracts.offline_store import Commit, OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.appending import append_new, until_no_conflict
from gnomon.data.contract_reports import require_rows_kept
from gnomon.data.deduplication import drop_known, event_period_us, stored_keys
from gnomon.data.json_rows import parse_object, read_json_lines
from gnomon.data.quarantine_tables import quarantine_batch, quarantine_table
from gnomon.data.source_files import FilePart
from gnomon.data.text_steps import as_written
from gnomon.data.validation import Judged, judge
from gnomon.errors import Conflict, GnomonError

_PUSH = "_push"
_ORIGIN, _LABEL = "pushed", "the push"
MOST_REASONS = 100
"""Rejected rows that an answer lists; all are in quarantine."""
_LOOKED_AT = 100


@dataclass(frozen=True)
class Push:
    """Rows that one caller sent.

    Attributes:
        lines: One JSON object a line.
        batch_id: Names them, so that a resend is known; empty where the caller gave none.
    """

    lines: bytes
    batch_id: str = ""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the lines."""
        return hashlib.sha256(self.lines).hexdigest()

    @property
    def stored_id(self) -> str:
        """Return the batch id as it is committed: apart from those of ingested files."""
        return f"push:{self.batch_id}"


@dataclass(frozen=True)
class RejectedRow:
    """A row in quarantine: its line from 1, the rule that it breaks and why."""

    line: int
    rule: str
    reason: str


@dataclass(frozen=True)
class PushReport:
    """What became of a push; `accepted` + `duplicates` + `quarantined` is the number of its rows.

    Attributes:
        source: Name of the source.
        batch_id: As given.
        accepted: Rows that are new in the table, durably.
        duplicates: Rows that the table, or the push, held already.
        quarantined: Rows that broke a rule; durably in quarantine.
        rejects: The first `MOST_REASONS` of them; of a repeated push, those that break a rule as the rules are now.
        repeated: The batch id had been committed before; the counts are those of that time.
        version: Version of the table that holds the rows.
        undeclared: Members of the first `_LOOKED_AT` rows that are no columns of the source, sorted; they are not read.
    """

    source: str
    batch_id: str
    accepted: int
    duplicates: int
    quarantined: int
    rejects: tuple[RejectedRow, ...]
    repeated: bool
    version: int
    undeclared: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def commit_pushes(
    pushes: Sequence[Push], source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, now_us: int,
    sleep: Callable[[float], None],
) -> list[PushReport | GnomonError]:  # fmt: skip
    """Commit pushes as one version of the source's table.

    Args:
        pushes: No batch id twice among them.
        source: Where the rows belong.
        schema: Types of its columns.
        offline: Where the tables are.
        now_us: Becomes the ingestion time.
        sleep: Waits between tries, for seconds.

    Returns:
        A report for each push, in order, or the error of one that is wrong as a whole: the others do not suffer.

    Raises:
        Conflict: Other writers to the table left no gap; nothing of any push is in the table.
        OutOfSpace: The disk is full; the same.
    """
    judged = [_judge(push, source, schema, now_us) for push in pushes]
    group_id = f"push-{secrets.token_hex(16)}"
    rejects = [each.rejects for each in judged if isinstance(each, Judged) and each.rejects.num_rows]
    if rejects:
        table = pa.concat_tables(rejects)
        named = table.append_column("batch", pa.array([group_id] * table.num_rows, pa.string()))
        append_new(
            offline, quarantine_table(source.name), named, quarantine_batch(group_id), by_period=False, sleep=sleep
        )

    def once() -> list[PushReport | GnomonError]:
        return _commit_once(pushes, judged, source.name, offline, group_id)

    return [
        replace(answer, undeclared=_undeclared(push.lines, schema)) if isinstance(answer, PushReport) else answer
        for push, answer in zip(pushes, until_no_conflict(once, sleep), strict=True)
    ]


def _undeclared(lines: bytes, schema: Mapping[str, Dtype]) -> tuple[str, ...]:
    found: set[str] = set()
    for line in lines.split(b"\n", _LOOKED_AT)[:_LOOKED_AT]:
        with contextlib.suppress(ValueError):  # what is no object is in quarantine
            found |= parse_object(line).keys()
    return tuple(sorted(found - schema.keys()))


def _judge(push: Push, source: DataSource, schema: Mapping[str, Dtype], now_us: int) -> Judged | GnomonError:
    size_bytes = len(push.lines)
    part = FilePart(_ORIGIN, push.digest, "jsonl", 0, size_bytes, 1, size_bytes, 0, (), (0, 0), _LABEL)
    try:
        judged = judge(read_json_lines(push.lines, as_written(source, schema), 1), part, source, schema, now_us)
        require_rows_kept(source, judged.tallies)
        return judged
    except GnomonError as error:
        return error


def _commit_once(
    pushes: Sequence[Push], judged: Sequence[Judged | GnomonError], table: str, offline: OfflineStore, group_id: str
) -> list[PushReport | GnomonError]:
    version = offline.version(table)
    answers: dict[int, PushReport | GnomonError] = {}
    fresh: list[pa.Table] = []
    for number, (push, each) in enumerate(zip(pushes, judged, strict=True)):
        done = offline.committed(table, push.stored_id) if push.batch_id else None
        if done is not None:
            answers[number] = _repeated(push, each, done, table)
        elif isinstance(each, GnomonError):
            answers[number] = each
        else:
            mark = pa.array(np.full(each.rows.num_rows, number, np.int32))
            fresh.append(each.rows.append_column(_PUSH, mark))
    if fresh:
        kept = drop_known(rows := pa.concat_tables(fresh), stored_keys(offline, table, version, event_period_us(rows)))
        counts = np.bincount(np.asarray(kept.rows[_PUSH]), minlength=len(pushes))
        new = [number for number in range(len(pushes)) if number not in answers]
        reports = {n: _report(pushes[n], judged[n], table, int(counts[n]), version + 1) for n in new}
        named = {n: pushes[n] for n in new if pushes[n].batch_id}
        offline.append(
            table, kept.rows.drop_columns([_PUSH]), group_id, expected_version=version,
            note={"pushes": {push.batch_id: _noted(push, reports[n]) for n, push in named.items()}},
            further_ids=[push.stored_id for push in named.values()],
        )  # fmt: skip
        answers |= reports
    return [answers[number] for number in range(len(pushes))]


def _report(push: Push, judged: Judged | GnomonError, table: str, accepted: int, version: int) -> PushReport:
    assert isinstance(judged, Judged), "wrong pushes have their error as the answer"
    return PushReport(
        table, push.batch_id, accepted, judged.rows.num_rows - accepted, judged.rejects.num_rows, _shown(judged),
        repeated=False, version=version,
    )  # fmt: skip


def _shown(judged: Judged) -> tuple[RejectedRow, ...]:
    shown = judged.rejects.sort_by("line").slice(0, MOST_REASONS).select(["line", "rule", "reason"])
    return tuple(RejectedRow(**row) for row in shown.to_pylist())


def _noted(push: Push, report: PushReport) -> list[Any]:
    return [push.digest, report.accepted, report.duplicates, report.quarantined]


def _repeated(push: Push, judged: Judged | GnomonError, done: Commit, table: str) -> PushReport | GnomonError:
    digest, accepted, duplicates, quarantined = done.note["pushes"][push.batch_id]
    if digest != push.digest:
        return Conflict(
            f"batch '{push.batch_id}' of source '{table}' was pushed before with other rows",
            "name every batch anew; a resend has the same rows in the same order",
        )
    # By the rules as they are now it may be refused whole; it was not, then.
    rejects = () if isinstance(judged, GnomonError) else _shown(judged)
    return PushReport(
        table, push.batch_id, accepted, duplicates, quarantined, rejects, repeated=True, version=done.version
    )  # fmt: skip
