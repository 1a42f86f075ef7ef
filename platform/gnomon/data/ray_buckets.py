"""What the tasks of a distributed ingestion do: judge a part, read stored keys, and stage one bucket of ids.

Called by `ray_ingestion` within Ray Data's tasks. Rows, rejects and stored keys travel in one stream, told apart by
their `Kind`, in the columns of both tables: those of rejects are prefixed, so that no column of a source meets them.
What transforms changed travels along, a row for each step with its position as the rule and the count as the line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnomon.contracts.columns import DIGEST, EVENT_ID, Dtype
from gnomon.contracts.offline_store import OfflineStore, StagedFile
from gnomon.contracts.sources import DataSource
from gnomon.data.deduplication import Fresh, drop_known
from gnomon.data.digests import hash_cells
from gnomon.data.source_files import Batch
from gnomon.data.validation import REJECT_FIELDS, read_and_judge, reject_schema, table_schema

KIND = "_kind"
_PREFIX = "_reject_"
_STAGED_FILE = pa.struct(
    [
        ("path", pa.string()), ("rows", pa.int64()), ("size_bytes", pa.int64()), ("min_event_us", pa.int64()),
        ("max_event_us", pa.int64()),
    ]
)  # fmt: skip
_RESULT = pa.schema(
    [
        ("is_reject", pa.bool_()), ("file", _STAGED_FILE), ("duplicates", pa.int64()), ("corrections", pa.int64()),
        ("rules", pa.list_(pa.string())), ("rule_rows", pa.list_(pa.int64())),
    ]
)  # fmt: skip


class Kind(IntEnum):
    """What a row of the stream is."""

    ROW = 0
    REJECT = 1
    STORED_ROW = 2
    STORED_REJECT = 3
    CHANGED = 4


def stream_schema(schema: Mapping[str, Dtype]) -> pa.Schema:
    """Return the columns of the stream: those of the table, of rejects, and the kind."""
    rejects = [(_PREFIX + name, arrow_type) for name, arrow_type in REJECT_FIELDS]
    return pa.schema([*table_schema(schema), *rejects, (KIND, pa.int8())])


def judge_part(
    numbers: pa.Table, batch: Batch, source: DataSource, schema: Mapping[str, Dtype], now_us: int
) -> pa.Table:  # fmt: skip
    """Read and judge the part of the batch whose number is in the one row of `numbers`."""
    part = batch.parts[numbers["part"][0].as_py()]
    judged = read_and_judge(part, source, schema, now_us)
    rejects = judged.rejects.rename_columns(
        {name: _PREFIX + name for name, _ in REJECT_FIELDS} | {name: name for name in table_schema({}).names}
    )
    counts = pa.table(
        {f"{_PREFIX}rule": pa.array(map(str, range(len(judged.changed))), pa.string()),
         f"{_PREFIX}line": pa.array(judged.changed, pa.int64())}
    )  # fmt: skip
    kinds = {Kind.ROW: judged.rows, Kind.REJECT: rejects, Kind.CHANGED: counts}
    return pa.concat_tables([_in_stream(table, kind, stream_schema(schema)) for kind, table in kinds.items()])


def stored_rows(paths: pa.Table, schema: Mapping[str, Dtype], kind: Kind) -> pa.Table:
    """Read ids and digests of the data file in the one row of `paths`."""
    keys = pq.read_table(paths["path"][0].as_py(), columns=[EVENT_ID, DIGEST], partitioning=None)
    return _in_stream(keys, kind, stream_schema(schema))


def changed_in(block: pa.Table, steps: int) -> list[int]:
    """Add up what the steps changed, by position, over the rows of a block that tell of it."""
    total = [0] * steps
    told = _of_kind(block, Kind.CHANGED)
    for position, count in zip(told[f"{_PREFIX}rule"].to_pylist(), told[f"{_PREFIX}line"].to_pylist(), strict=True):
        total[int(position)] += count
    return total


def bucket_of(block: pa.Table, buckets: int) -> pa.Array:
    """Return the bucket of each row, by its id alone."""
    ids = block[EVENT_ID].combine_chunks()
    ids = pa.concat_arrays(ids.chunks) if isinstance(ids, pa.ChunkedArray) else ids
    return pa.array((hash_cells(ids.cast(pa.string())) % np.uint64(buckets)).astype(np.int64))


@dataclass(frozen=True)
class BucketStage:
    """Drops what is known from a bucket and stages the rest; returns what the driver needs to commit it.

    A task that Ray repeats stages its files again; only those that its result names are ever committed.
    """

    table: str
    quarantine: str
    batch_id: str
    schema: Mapping[str, Dtype]
    offline: OfflineStore

    def staged(self, bucket: pa.Table) -> pa.Table:
        """Return one row for the table's rows and one for the rejects."""
        rows = _of_kind(bucket, Kind.ROW).select(table_schema(self.schema).names)
        fresh = drop_known(rows, _of_kind(bucket, Kind.STORED_ROW))
        rejects = _of_kind(bucket, Kind.REJECT)
        named = pa.table(
            [rejects[name] for name in (*table_schema({}).names, *(_PREFIX + name for name, _ in REJECT_FIELDS))],
            schema=reject_schema(),
        ).append_column("batch", pa.array([self.batch_id] * rejects.num_rows, pa.string()))
        fresh_rejects = drop_known(named, _of_kind(bucket, Kind.STORED_REJECT))
        rules = Counter(named["rule"].to_pylist())
        return pa.concat_tables(
            [
                self._result(self.table, fresh, {}, is_reject=False),
                self._result(self.quarantine, Fresh(fresh_rejects.rows, 0, 0), rules, is_reject=True),
            ]
        )

    def _result(self, table: str, fresh: Fresh, rules: Mapping[str, int], *, is_reject: bool) -> pa.Table:
        staged: StagedFile | None = self.offline.stage(table, fresh.rows) if fresh.rows.num_rows else None
        row = {
            "is_reject": is_reject,
            "file": asdict(staged) if staged else None,
            "duplicates": fresh.duplicates,
            "corrections": fresh.corrections,
            "rules": list(rules.keys()),
            "rule_rows": list(rules.values()),
        }
        return pa.Table.from_pylist([row], schema=_RESULT)


def stage_bucket(bucket: pa.Table, stage: BucketStage) -> pa.Table:
    """Stage one bucket; a function, because Ray Data names its operators after functions."""
    return stage.staged(bucket)


def _of_kind(block: pa.Table, kind: Kind) -> pa.Table:
    return block.filter(pc.equal(block[KIND], int(kind)))


def _in_stream(table: pa.Table, kind: Kind, stream: pa.Schema) -> pa.Table:
    columns = []
    for field in stream:
        if field.name == KIND:
            columns.append(pa.array(np.full(table.num_rows, int(kind), dtype=np.int8)))
        elif field.name in table.column_names:
            columns.append(table[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=stream)
