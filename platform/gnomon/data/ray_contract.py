"""Checks a data contract on Ray Data: parts are judged side by side, and values that must be unique meet by their hash.

Called by `ingestion` for inputs beyond one process; the findings are those of `contract_checks.findings_here`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from gnomon.contracts.columns import EVENT_ID, Dtype
from gnomon.contracts.data_contracts import Unique
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.contract_checks import findings_of, repeats, stored_files, unique_keys, unique_rules
from gnomon.data.contract_reports import Findings, Tally
from gnomon.data.digests import hash_cells
from gnomon.data.ray_ingestion import on_ray
from gnomon.data.source_files import FilePart
from gnomon.data.validation import read_and_judge

_BUCKET_ROWS = 1_000_000
_MOST_BUCKETS = 64


def findings_on_ray(
    parts: Sequence[FilePart], source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, now_us: int
) -> Findings:  # fmt: skip
    """Read and judge parts in tasks; arguments and result as of `findings_here`.

    Args:
        parts: At least one; their files must lie at the same paths on every node.
        source: Whose contract applies.
        schema: Types of its columns.
        offline: Where the values that must be unique are compared.
        now_us: Ingestion time, for rules of rows.

    Returns:
        The tallies of all rules but those of the whole.

    Raises:
        Unavailable: This process is not connected to Ray.
        OperationFailed: A task failed for a reason of its own; Gnomon's errors pass through as they are.
    """
    options = {"parts": parts, "source": source, "schema": dict(schema), "now_us": now_us}
    with on_ray(source):
        numbers = [{"part": number} for number in range(len(parts))]
        data = ray.data.from_items(numbers, override_num_blocks=len(numbers))
        rows = data.map_batches(_part_findings, fn_kwargs=options, batch_size=1, batch_format="pyarrow").take_all()
        total = Findings()
        for row in rows:
            total += _from_json(json.loads(row["findings"]))
        for rule in unique_rules(source):
            stored = stored_files(offline, source, rule)
            rows_met = total.rows_read + sum(pq.read_metadata(path).num_rows for path in stored)
            how = {"rule": rule, "buckets": min(_MOST_BUCKETS, 1 + rows_met // _BUCKET_ROWS)}
            keys = data.map_batches(_part_keys, fn_kwargs=options | how, batch_size=1, batch_format="pyarrow")
            total += Findings(tallies={rule.label(): _repeats(keys, stored, how)})
    return total


def _repeats(keys: Any, stored: Sequence[str], how: Mapping[str, Any]) -> Tally:
    if stored:
        blocks = min(len(stored), _MOST_BUCKETS)
        paths = ray.data.from_items([{"path": path} for path in stored], override_num_blocks=blocks)
        keys = keys.union(paths.map_batches(_stored_keys, fn_kwargs=how, batch_size=1, batch_format="pyarrow"))
    grouped = keys.groupby("bucket", num_partitions=how["buckets"])
    total = Tally()
    for row in grouped.map_groups(_bucket_repeats, batch_format="pyarrow").take_all():
        total += Tally(row["checked"], row["violations"], tuple(row["examples"]))
    return Tally(total.checked, total.violations, tuple(sorted(total.examples)))


def _part_findings(
    numbers: pa.Table, parts: Sequence[FilePart], source: DataSource, schema: Mapping[str, Dtype], now_us: int
) -> pa.Table:  # fmt: skip
    part = parts[numbers["part"][0].as_py()]
    found = findings_of(read_and_judge(part, source, schema, now_us), source)
    return pa.table({"findings": [json.dumps(asdict(found))]})


def _part_keys(
    numbers: pa.Table, parts: Sequence[FilePart], source: DataSource, schema: Mapping[str, Dtype], now_us: int,
    rule: Unique, buckets: int,
) -> pa.Table:  # fmt: skip
    part = parts[numbers["part"][0].as_py()]
    return _bucketed(unique_keys(read_and_judge(part, source, schema, now_us).rows, rule), buckets, new=True)


def _stored_keys(paths: pa.Table, rule: Unique, buckets: int) -> pa.Table:
    rows = pq.read_table(paths["path"][0].as_py(), columns=[EVENT_ID, *rule.column], partitioning=None)
    return _bucketed(unique_keys(rows, rule), buckets, new=False)


def _bucketed(keys: pl.DataFrame, count: int, *, new: bool) -> pa.Table:
    texts = [pa.array(keys[name].to_list(), pa.string()) for name in ("key", "event")]
    buckets = (hash_cells(texts[0]) % np.uint64(count)).astype(np.int64)
    return pa.table([*texts, pa.array([new] * len(keys), pa.bool_()), buckets], names=["key", "event", "new", "bucket"])


def _bucket_repeats(bucket: pa.Table) -> pa.Table:
    columns = {name: pl.Series(values=bucket[name].to_pylist(), dtype=dtype) for name, dtype in _KEYS.items()}
    tally = repeats(pl.DataFrame(columns))
    row = {"checked": tally.checked, "violations": tally.violations, "examples": list(tally.examples)}
    return pa.Table.from_pylist([row], schema=_TALLY)


_KEYS = {"key": pl.String, "event": pl.String, "new": pl.Boolean}
_TALLY = pa.schema([("checked", pa.int64()), ("violations", pa.int64()), ("examples", pa.list_(pa.string()))])


def _from_json(body: Mapping[str, Any]) -> Findings:
    tallies = {
        label: Tally(t["checked"], t["violations"], tuple(t["examples"])) for label, t in body["tallies"].items()
    }
    return Findings(body["rows_read"], body["newest_us"], tallies)
