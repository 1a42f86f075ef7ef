"""Ingestion: files of a source become rows of its table, each exactly once, and bad rows become rows of quarantine.

Called by the client's `ingest` and by the control plane's operation of that name. Small inputs are handled in this
process; larger ones by `ray_ingestion`, with the same functions. Killed at any moment and started again it goes on
where it was: batches that were committed are known by their ids, and the rows of others are compared with the table.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import pyarrow as pa

from gnomon.contracts.clocks import Clock
from gnomon.contracts.columns import Dtype
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.appending import append_new
from gnomon.data.ingest_reports import BatchCounts, IngestReport
from gnomon.data.source_files import Batch, Limits, group_batches, scan_parts
from gnomon.data.source_readers import read_part
from gnomon.data.source_schema import read_schema
from gnomon.data.validation import judge, require_columns

_RAY_BATCH_BYTES = 2**30
_RAY_BATCH_ROWS = 10_000_000

ConnectRay = Callable[[], None]


def quarantine_table(source: str) -> str:
    """Return the name of the table that holds a source's rejects."""
    return f"{source}__quarantine"


def quarantine_batch(batch_id: str) -> str:
    """Return the id under which the rejects of a batch are committed."""
    return f"{batch_id}-quarantine"


def ingest(
    source: DataSource, root: str, offline: OfflineStore, clock: Clock, *, local_rows: int,
    report: Callable[[str], None], schema: Mapping[str, Dtype] | None = None, use_ray: bool | None = None,
    connect_ray: ConnectRay | None = None, limits: Limits | None = None,
) -> IngestReport:  # fmt: skip
    """Bring all rows of a source's files into its table.

    Before any row is committed every file is looked at: one that is empty, cut off or lacks a column stops everything.
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

    Returns:
        The counts. All rows bad is a report as well, with nothing added.

    Raises:
        NotFound: No file is there.
        InvalidInput: A file is empty, lacks a column, or has times without zone where none is declared.
        CorruptData: A file cannot be read; batches before it stay committed.
        Conflict: Other writers to the table left no gap.
        Unavailable: Ray is needed and this process is not connected to it.
        OutOfSpace: The disk is full; the batch is not visible.
    """
    started_s = time.perf_counter()
    columns = dict(schema) if schema else read_schema(source, root)
    limits = limits or Limits()
    parts = scan_parts(source, root, limits)
    for part in parts:
        require_columns(part, source)
    distributed = sum(part.rows for part in parts) > local_rows if use_ray is None else use_ray
    files = len({part.path for part in parts})
    do = _ingest_locally
    if distributed:
        from gnomon.data.ray_ingestion import ingest_on_ray

        if connect_ray is not None:
            connect_ray()
        do = ingest_on_ray
        limits = replace(
            limits,
            batch_bytes=max(limits.batch_bytes, _RAY_BATCH_BYTES),
            batch_rows=max(limits.batch_rows, _RAY_BATCH_ROWS),
        )
    batches = group_batches(source, columns, parts, limits)
    counts: list[BatchCounts] = []
    for number, batch in enumerate(batches, start=1):
        if offline.contains(source.name, batch.id):
            done = BatchCounts(0, 0, 0, 0, {}, -1, repeated=True)
        else:
            done = do(batch, source, columns, offline, clock.now_us())
        counts.append(done)
        report(_progress(source, done, number, len(batches)))
    version = offline.version(source.name)
    elapsed_s = time.perf_counter() - started_s
    return IngestReport.of(source.name, files, counts, version, elapsed_s, distributed=distributed)


def _ingest_locally(
    batch: Batch, source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, now_us: int
) -> BatchCounts:  # fmt: skip
    judged = [judge(read_part(part, schema), part, source, schema, now_us) for part in batch.parts]
    rows = pa.concat_tables([each.rows for each in judged])
    rejects = pa.concat_tables([each.rejects for each in judged])
    if rejects.num_rows:
        named = rejects.append_column("batch", pa.array([batch.id] * rejects.num_rows, pa.string()))
        append_new(offline, quarantine_table(source.name), named, quarantine_batch(batch.id), by_period=False)
    done = append_new(offline, source.name, rows, batch.id, by_period=True)
    if done.repeated:
        return BatchCounts(0, 0, 0, 0, {}, done.version, repeated=True)
    rules = Counter(rejects["rule"].to_pylist())
    return BatchCounts(
        rows.num_rows + rejects.num_rows, done.added, done.duplicates, done.corrections, rules, done.version
    )


def _progress(source: DataSource, done: BatchCounts, number: int, batches: int) -> str:
    start = f"{source.name}: batch {number} of {batches}: "
    if done.repeated:
        return start + "was ingested before"
    quarantined = sum(done.quarantined.values())
    return start + (
        f"{done.rows_read:,} rows read, {done.rows_added:,} added, {done.duplicates:,} already there, "
        f"{quarantined:,} quarantined"
    )
