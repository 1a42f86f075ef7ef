"""Ingestion: files of a source become rows of its table, each exactly once, and bad rows become rows of quarantine.

Called by the client's `ingest` and by the control plane's operation of that name. Small inputs are handled in this
process; larger ones by `ray_ingestion`, with the same functions. Killed at any moment and started again it goes on
where it was: batches that were committed are known by their ids, which keep their counts for the report, and the rows
of others are compared with the table.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from gnomon.contracts.clocks import Clock
from gnomon.contracts.columns import Dtype
from gnomon.contracts.offline_store import Commit, OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.appending import append_new
from gnomon.data.contract_checks import Ingestion, check_contract, findings_here, rows_of
from gnomon.data.contract_reports import require_kept
from gnomon.data.deduplication import Fresh
from gnomon.data.extraction import Cursor, extract
from gnomon.data.ingest_reports import BatchCounts, IngestReport, Memory, read_as
from gnomon.data.quarantine_tables import quarantine_batch, quarantine_table
from gnomon.data.schema_drift import schema_drift
from gnomon.data.source_files import Batch, FilePart, Limits, group_batches, scan_parts
from gnomon.data.source_schema import found_types, read_schema, types_in
from gnomon.data.text_steps import columns_in_files
from gnomon.data.validation import read_and_judge, require_columns
from gnomon.errors import GnomonError

_RAY_BATCH_BYTES = 2**30
_RAY_BATCH_ROWS = 10_000_000

ConnectRay = Callable[[], None]


def ingest(
    source: DataSource, root: str, offline: OfflineStore, clock: Clock, *, local_rows: int,
    report: Callable[[str], None], schema: Mapping[str, Dtype] | None = None, use_ray: bool | None = None,
    connect_ray: ConnectRay | None = None, limits: Limits | None = None, ingestion_id: str = "",
    previous: Mapping[str, Any] | None = None, work_folder: Path | None = None,
) -> IngestReport:  # fmt: skip
    """Bring all rows of a source's files into its table; of a topic, the messages up to its present end.

    Before any row is committed every file is looked at: one that is empty, cut off or lacks a column stops everything.
    So does a broken rule of the source's contract; what is checked is what is committed.
    A batch commits its rejects first and then its rows, so that whoever is killed in between repeats the batch, and
    neither is doubled: rejects are known by file content and line, rows by event id and content.

    Args:
        source: What to read.
        root: Folder that a relative path starts from.
        offline: Where the tables `<source>` and `<source>__quarantine` are.
        clock: Gives the ingestion time, and what is in the future.
        local_rows: More rows than this, as far as the files tell beforehand, are handled on Ray.
        report: Gets a line of progress for each batch.
        schema: Column types of the applied app; read from the files when left out.
        use_ray: Overrides the choice by size.
        connect_ray: Called before Ray is used, to connect this process to its cluster.
        limits: How much is handled at once.
        ingestion_id: Names the ingestion; the same again, after a kill, counts the batches that it has committed.
        previous: The `memory` in the report of the ingestion before; without it a table or a database is read whole,
            and row counts and columns are compared with nothing.
        work_folder: Where rows of tables and databases are put first; of more than one machine's when Ray is used.

    Returns:
        The counts of all attempts of the ingestion. All rows bad is a report as well, with nothing added.

    Raises:
        NotFound: No file is there.
        InvalidInput: A file is empty, lacks a column, or has times without zone where none is declared.
        ContractViolated: A rule of severity `fail` is broken; no row and no reject of the ingestion is in any table.
        CorruptData: A file cannot be read; batches before it stay committed.
        Conflict: Other writers to the table left no gap.
        Unavailable: Ray is needed and this process is not connected to it.
        OutOfSpace: The disk is full; the batch is not visible.
    """
    started_s = time.perf_counter()
    columns = dict(schema) if schema else read_schema(source, root)
    limits, ingestion = limits or Limits(), ingestion_id or secrets.token_hex(16)
    if source.kafka is not None:
        return _ingest_topic(source, columns, offline, clock, ingestion, report)
    before = Memory.of(previous, read_as(source, columns), offline.version(source.name))
    folder = (work_folder or Path(tempfile.gettempdir())) / f"extract-{source.name}-{ingestion}"
    try:
        found = _find(source, root, folder, before, clock.now_us(), limits)
        for part in found.parts:
            require_columns(part, source)
        rows = sum(part.rows for part in found.parts)
        distributed = bool(rows) and (rows > local_rows if use_ray is None else use_ray)
        if distributed:
            if connect_ray is not None:
                connect_ray()
            limits = _ray_limits(limits)
        run = _Run(source, columns, offline, clock, ingestion, group_batches(source, columns, found.parts, limits))
        results = run.contract(before.rows_comparable(before.cursor is not None), distributed=distributed)
        counts = run.commit(results, report, distributed=distributed)
    except GnomonError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return IngestReport.of(
        source, len({part.path for part in found.parts}), counts, time.perf_counter() - started_s,
        distributed=distributed, contract=results, memory=run.memory(found, before),
        drift=schema_drift(source, columns_in_files(source, columns), found.types, before.types) if found.parts else (),
    )  # fmt: skip


def _ingest_topic(
    source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, clock: Clock, ingestion: str,
    report: Callable[[str], None],
) -> IngestReport:  # fmt: skip
    from gnomon.data.topic_ingestion import ingest_topic  # brings in what is needed for topics alone

    return ingest_topic(source, schema, offline, clock, ingestion, report)


def _ray_limits(limits: Limits) -> Limits:
    size_bytes, rows = max(limits.batch_bytes, _RAY_BATCH_BYTES), max(limits.batch_rows, _RAY_BATCH_ROWS)
    return replace(limits, batch_bytes=size_bytes, batch_rows=rows)


@dataclass(frozen=True)
class _Found:
    """What an ingestion is to bring in: parts, types of their columns, and where the next one begins."""

    parts: list[FilePart]
    types: Mapping[str, str]
    cursor: Cursor | None = None


def _find(source: DataSource, root: str, folder: Path, before: Memory, now_us: int, limits: Limits) -> _Found:
    if not source.is_extracted():
        return _Found(scan_parts(source, root, limits), found_types(source, root))
    done = extract(source, root, folder, before.cursor, now_us)
    return _Found(done.parts(source, limits), types_in(done.files), done.cursor)


@dataclass(frozen=True)
class _Run:
    """One ingestion at work, once its batches are known."""

    source: DataSource
    schema: Mapping[str, Dtype]
    offline: OfflineStore
    clock: Clock
    ingestion: str
    batches: list[Batch]

    def contract(self, rows_before: int | None, *, distributed: bool) -> list[dict[str, Any]]:
        """Check the contract, unless this ingestion was killed after its contract had been found kept."""
        if not self.source.contract:
            return []
        for commit in self._commits():
            if commit.note.get("ingestion") == self.ingestion and "contract" in commit.note:
                return list(commit.note["contract"])
        check = findings_here
        if distributed:
            from gnomon.data.ray_contract import findings_on_ray

            check = findings_on_ray
        now_us = self.clock.now_us()
        work = Ingestion(self.source, self.schema, self.batches, self.offline, now_us, rows_before)
        results = check_contract(work, check)
        require_kept(self.source, results)
        return results

    def commit(
        self, contract: list[dict[str, Any]], report: Callable[[str], None], *, distributed: bool
    ) -> list[BatchCounts]:  # fmt: skip
        """Commit the batches that are not committed yet, each with what becomes of its rows."""
        do = _ingest_locally
        if distributed:
            from gnomon.data.ray_ingestion import ingest_on_ray

            do = ingest_on_ray
        noted: dict[str, Any] = {"ingestion": self.ingestion, **({"contract": contract} if contract else {})}
        counts: list[BatchCounts] = []
        for number, batch in enumerate(self.batches, start=1):
            commit = self.offline.committed(self.source.name, batch.id) or do(
                batch, self.source, self.schema, self.offline, self.clock.now_us(), noted
            )
            counts.append(BatchCounts.of(commit, self.ingestion))
            report(_progress(self.source, counts[-1], number, len(self.batches)))
        return counts

    def memory(self, found: _Found, before: Memory) -> Memory:
        """Return what the next ingestion is to know; the rows are those of all batches, whoever committed them."""
        return Memory(
            read_as(self.source, self.schema), found.types if found.parts else before.types,
            sum(rows_of(commit) for commit in self._commits()), before.cursor is not None, found.cursor,
            self.offline.version(self.source.name),
        )  # fmt: skip

    def _commits(self) -> list[Commit]:
        commits = (self.offline.committed(self.source.name, batch.id) for batch in self.batches)
        return [commit for commit in commits if commit is not None]


def _ingest_locally(
    batch: Batch, source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, now_us: int,
    noted: Mapping[str, Any],
) -> Commit:  # fmt: skip
    judged = [read_and_judge(part, source, schema, now_us) for part in batch.parts]
    rows = pa.concat_tables([each.rows for each in judged])
    rejects = pa.concat_tables([each.rejects for each in judged])
    if rejects.num_rows:
        named = rejects.append_column("batch", pa.array([batch.id] * rejects.num_rows, pa.string()))
        append_new(offline, quarantine_table(source.name), named, quarantine_batch(batch.id), by_period=False)
    rules, read = dict(Counter(rejects["rule"].to_pylist())), rows.num_rows + rejects.num_rows
    changed = [sum(counts) for counts in zip(*(each.changed for each in judged), strict=True)]

    def note(fresh: Fresh) -> Mapping[str, Any]:
        return BatchCounts(read, fresh.rows.num_rows, fresh.duplicates, fresh.corrections, rules, changed).note(noted)

    return append_new(offline, source.name, rows, batch.id, by_period=True, note=note)


def _progress(source: DataSource, done: BatchCounts, number: int, batches: int) -> str:
    start = f"{source.name}: batch {number} of {batches}: "
    if done.repeated:
        return start + "was ingested before"
    quarantined = sum(done.quarantined.values())
    return start + (
        f"{done.rows_read:,} rows read, {done.rows_added:,} added, {done.duplicates:,} already there, "
        f"{quarantined:,} quarantined"
    )
