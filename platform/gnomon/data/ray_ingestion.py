"""Ingests one batch on Ray Data: parts are read and judged side by side, then compared bucket by bucket of ids.

Called by `ingestion` for inputs beyond one process. The driver never holds a row: tasks judge parts, a hash shuffle
brings all versions of an event together with their stored keys, and each bucket stages its new rows as a durable file.
The driver commits the files, rejects first, in the same order and under the same ids as the local path.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
import ray.data

from gnomon.contracts.columns import EVENT_TIME, Dtype
from gnomon.contracts.offline_store import Commit, OfflineStore, StagedFile
from gnomon.contracts.sources import DataSource
from gnomon.data.appending import until_no_conflict
from gnomon.data.ingest_reports import BatchCounts
from gnomon.data.ray_buckets import BucketStage, Kind, judge_part, stage_bucket, stored_rows
from gnomon.data.source_files import Batch
from gnomon.data.validation import reject_schema, table_schema
from gnomon.errors import GnomonError, OperationFailed, Unavailable

_BUCKET_ROWS = 250_000
_MOST_BUCKETS = 64


def ingest_on_ray(
    batch: Batch, source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, now_us: int,
    noted: Mapping[str, Any],
) -> Commit:  # fmt: skip
    """Ingest a batch; the same rows end in the same tables as on the local path.

    Args:
        batch: Its files must lie at the same paths on every node.
        source: What it is read as.
        schema: Types of its columns.
        offline: Pickled to the tasks, which stage files in it.
        now_us: Ingestion time.
        noted: Kept with the batch's counts.

    Returns:
        The batch's commit, with its counts as the note.

    Raises:
        Unavailable: This process is not connected to Ray.
        Conflict: Other writers to the table left no gap.
        OperationFailed: A task failed for a reason of its own; Gnomon's errors pass through as they are.
    """
    work = _Work(batch, source, dict(schema), offline, now_us, noted)
    with on_ray(source):
        judged = work.judged().materialize()
        extent = work.extent_of(judged)
        return until_no_conflict(lambda: work.committed(judged, extent))


@contextmanager
def on_ray(source: DataSource) -> Iterator[None]:
    """Set up Ray Data for the body, and raise its tasks' own errors instead of Ray's.

    Args:
        source: Named in errors.

    Yields:
        None: The body makes and runs datasets.

    Raises:
        Unavailable: This process is not connected to Ray.
        OperationFailed: A task failed for a reason of its own.
    """
    if not ray.is_initialized():
        raise Unavailable(
            f"source '{source.name}' is too large for one process, and Ray is not connected", "run: gnomon up"
        )
    _configure()
    try:
        yield
    except ray.exceptions.RayError as error:
        raise _own_error(error) from error


@dataclass(frozen=True)
class _Extent:
    """First and last event time of the judged rows in microseconds, where there are any; and what is counted of all."""

    period_us: tuple[int, int] | None
    rows: int
    rejects: int
    changed: tuple[int, ...]


@dataclass(frozen=True)
class _Work:
    batch: Batch
    source: DataSource
    schema: dict[str, Dtype]
    offline: OfflineStore
    now_us: int
    noted: Mapping[str, Any]

    @property
    def quarantine(self) -> str:
        return f"{self.source.name}__quarantine"

    def judged(self) -> Any:
        """Return the dataset of all rows and rejects."""
        numbers = [{"part": number} for number in range(len(self.batch.parts))]
        return ray.data.from_items(numbers, override_num_blocks=len(numbers)).map_batches(
            judge_part,
            fn_kwargs={"batch": self.batch, "source": self.source, "schema": self.schema, "now_us": self.now_us},
            batch_size=1,
            batch_format="pyarrow",
        )

    def extent_of(self, judged: Any) -> _Extent:
        """Summarise each block where it lies, and add up the summaries."""
        steps = len(self.source.transforms)
        blocks = judged.map_batches(
            _block_extent, fn_kwargs={"steps": steps}, batch_size=None, batch_format="pyarrow"
        ).take_all()
        firsts = [block["first_us"] for block in blocks if block["first_us"] is not None]
        lasts = [block["last_us"] for block in blocks if block["last_us"] is not None]
        period_us = (min(firsts), max(lasts)) if firsts else None
        changed = tuple(sum(int(b["changed"][step]) for b in blocks) for step in range(steps))
        return _Extent(period_us, sum(b["rows"] for b in blocks), sum(b["rejects"] for b in blocks), changed)

    def committed(self, judged: Any, extent: _Extent) -> Commit:
        """Compare with the tables as they are now, stage what is new, and commit onto just that state."""
        version = self.offline.version(self.source.name)
        quarantine_version = self.offline.version(self.quarantine)
        data = judged
        if version >= 0 and extent.period_us is not None:
            first_us, last_us = extent.period_us
            files = self.offline.files(self.source.name, after_us=first_us - 1, until_us=last_us, version=version)
            data = self._with_stored(data, files, Kind.STORED_ROW)
        if quarantine_version >= 0 and extent.rejects:
            files = self.offline.files(self.quarantine, version=quarantine_version)
            data = self._with_stored(data, files, Kind.STORED_REJECT)
        staged = self._staged(data, extent)
        if extent.rejects:
            fields = pa.schema([*reject_schema(), ("batch", pa.string())])
            rejects = [row["file"] for row in staged if row["file"] is not None and row["is_reject"]]
            self.offline.commit(
                self.quarantine, fields, [_staged_file(f) for f in rejects], f"{self.batch.id}-quarantine",
                expected_version=quarantine_version,
            )  # fmt: skip
        rows = [_staged_file(row["file"]) for row in staged if row["file"] is not None and not row["is_reject"]]
        rules: Counter[str] = Counter()
        for row in staged:
            rules.update(dict(zip(row["rules"], row["rule_rows"], strict=True)))
        counts = BatchCounts(
            extent.rows + extent.rejects, sum(file.rows for file in rows), sum(row["duplicates"] for row in staged),
            sum(row["corrections"] for row in staged), dict(rules), extent.changed,
        )  # fmt: skip
        return self.offline.commit(
            self.source.name, table_schema(self.schema), rows, self.batch.id, expected_version=version,
            note=counts.note(self.noted),
        )  # fmt: skip

    def _with_stored(self, data: Any, files: list[str], kind: Kind) -> Any:
        if not files:
            return data
        paths = [{"path": path} for path in files]
        blocks = min(len(paths), 4 * _MOST_BUCKETS)
        stored = ray.data.from_items(paths, override_num_blocks=blocks).map_batches(
            stored_rows, fn_kwargs={"schema": self.schema, "kind": kind}, batch_size=1, batch_format="pyarrow"
        )
        return data.union(stored)

    def _staged(self, data: Any, extent: _Extent) -> list[dict[str, Any]]:
        buckets = min(_MOST_BUCKETS, 1 + (extent.rows + extent.rejects) // _BUCKET_ROWS)
        stage = BucketStage(self.source.name, self.quarantine, self.batch.id, self.schema, self.offline)
        grouped = data.map_batches(
            _with_bucket, fn_kwargs={"buckets": buckets}, batch_size=None, batch_format="pyarrow"
        ).groupby("_bucket", num_partitions=buckets)
        rows: list[dict[str, Any]] = grouped.map_groups(
            stage_bucket, fn_kwargs={"stage": stage}, batch_format="pyarrow"
        ).take_all()
        return rows


def _with_bucket(block: pa.Table, buckets: int) -> pa.Table:
    from gnomon.data.ray_buckets import bucket_of

    return block.append_column("_bucket", bucket_of(block, buckets))


def _block_extent(block: pa.Table, steps: int) -> pa.Table:
    import pyarrow.compute as pc

    from gnomon.data.ray_buckets import KIND, changed_in

    rows = block.filter(pc.equal(block[KIND], int(Kind.ROW)))
    ends = pc.min_max(rows[EVENT_TIME].cast(pa.int64())).as_py()
    return pa.table(
        {
            "first_us": pa.array([ends["min"]], pa.int64()),
            "last_us": pa.array([ends["max"]], pa.int64()),
            "rows": [rows.num_rows],
            "rejects": pa.array([pc.sum(pc.equal(block[KIND], int(Kind.REJECT))).as_py() or 0], pa.int64()),
            "changed": pa.array([changed_in(block, steps)], pa.list_(pa.int64())),
        }
    )


def _staged_file(fields: Mapping[str, Any]) -> StagedFile:
    return StagedFile(**fields)


def _configure() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # else what a task raised reaches the driver as text only
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _own_error(error: BaseException) -> GnomonError:
    """Find the error that a task raised on purpose among the causes that Ray wraps around it."""
    seen: BaseException | None = error
    for _ in range(10):
        if isinstance(seen, GnomonError):
            return (
                type(seen)(seen.message, seen.hint, seen.details) if type(seen).__module__ == "gnomon.errors" else seen
            )
        seen = getattr(seen, "cause", None) or (seen.__cause__ if seen is not None else None)
    return OperationFailed(f"ingestion on Ray failed: {str(error).strip().splitlines()[-1]}", "see Ray's logs")
