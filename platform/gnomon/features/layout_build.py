"""Builds one segment of a table's layout by entity on Ray: rows are shuffled once, sorted and written by bucket.

Called by `entity_layout`. Before the rows are written, `event_versions` finds which of them have other versions, so
that each is stored with the time at which it was superseded; what the new rows supersede in earlier segments is written
as patches. Tasks are pure but for the files that they write, each under a name of its own, so that Ray may repeat any.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.features.event_columns import Int64s
from gnomon.features.event_order import NEVER_US, SUPERSEDED
from gnomon.features.event_versions import ROW, Reader, find_versions
from gnomon.features.layout_segments import Patch, Piece, Segment, building, publish_segment, segment_name
from gnomon.features.table_parts import Part, deal_parts, partition_of, split_rows
from gnomon.storage.durable_files import disk_errors, sync_file

_GROUP_ROWS = 131_072


@dataclass(frozen=True)
class Plan:
    """What a segment is to be made of.

    Attributes:
        folder: Of the layout's segments.
        parents: Segments that it stands on, the first one first.
        keys: Key columns.
        buckets: Number of buckets.
        schema: Of the table.
        columns: Columns to keep, with `EVENT_ID` and the times; without the digest.
        paths: Files of the table whose rows it is to hold.
        table_files: The same, relative to the table.
        rows: Rows in them.
        partition_rows: Rows that a worker should hold at once.
    """

    folder: Path
    parents: tuple[Segment, ...]
    keys: tuple[str, ...]
    buckets: int
    schema: pa.Schema
    columns: tuple[str, ...]
    paths: tuple[str, ...]
    table_files: tuple[str, ...]
    rows: int
    partition_rows: int


def build_segment(plan: Plan) -> Segment | None:
    """Build and publish a segment on the cluster that this process is connected to.

    Args:
        plan: What it is made of.

    Returns:
        The segment; None where it cannot stand on its parents, because only the digests decide on the order of an
        earlier version and a new one.

    Raises:
        OutOfSpace: The disk is full; nothing is left of the segment.
        Forbidden: The folder cannot be written.
        CorruptData: A file of a parent is damaged; `layout` in its details names the segment.
    """
    earlier = [(segment, file) for segment in plan.parents for file in _data_files(segment)]
    new = [Reader(parts, plan.schema) for parts in deal_parts(plan.paths, plan.partition_rows)]
    old = [Reader(_all_groups(plan.folder / s.name / file), _id_schema(plan.schema), s.name) for s, file in earlier]
    known_rows = sum(segment.rows for segment in plan.parents)
    shares = max(2, -(-(plan.rows + known_rows) // (2 * plan.partition_rows)))
    versions = find_versions([*new, *old], shares, few=plan.rows <= plan.partition_rows)
    if versions is None:
        return None
    with building(plan.folder) as temp:
        columns = {name: str(plan.schema.field(name).type) for name in plan.columns}
        parent = plan.parents[-1].name if plan.parents else ""
        name = segment_name(parent, plan.keys, plan.buckets, columns, plan.table_files)
        written = _write_buckets(plan, temp, new, versions[: len(new)])
        patched = _write_patches(temp, earlier, versions[len(new) :])
        segment = Segment(
            name, parent, plan.keys, plan.buckets, columns, tuple(sorted(plan.table_files)), plan.rows,
            {file: size for file, size, _ in [*written, *patched]},
            tuple(piece for _, _, pieces in written for piece in pieces), tuple(patch for _, _, patch in patched),
        )  # fmt: skip
        return publish_segment(temp, plan.folder, segment)


def _write_buckets(plan: Plan, temp: Path, new: Sequence[Reader], versions: Sequence[Sequence[Any]]) -> list[Any]:
    import ray

    writers = min(max(2, -(-plan.rows // plan.partition_rows)), max(2, plan.buckets))
    spread = ray.remote(num_cpus=1, num_returns=writers)(_spread)
    write = ray.remote(num_cpus=1)(_write)
    how = ray.put((list(plan.keys), plan.buckets, writers, list(plan.columns)))
    pieces = [spread.remote(how, reader, *tables) for reader, tables in zip(new, versions, strict=True)]
    results = ray.get([write.remote(how, str(temp), *parts) for parts in zip(*pieces, strict=True)])
    return [result for result in results if result is not None]


def _write_patches(temp: Path, earlier: Sequence[tuple[Segment, str]], versions: Sequence[Sequence[Any]]) -> list[Any]:
    import ray

    write = ray.remote(num_cpus=1)(_write_patch)
    asked = [
        write.remote(str(temp), s.name, f, *tables) for (s, f), tables in zip(earlier, versions, strict=True) if tables
    ]
    return [result for result in ray.get(asked) if result is not None]


def _data_files(segment: Segment) -> list[str]:
    return list(dict.fromkeys(piece.file for piece in segment.pieces))


def _all_groups(path: Path) -> list[Part]:
    return [(str(path), list(range(pq.read_metadata(path).num_row_groups)))]


def _id_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([schema.field(name) for name in (EVENT_ID, KNOWN_TIME, INGESTED_AT)])


def _spread(how: tuple[list[str], int, int, list[str]], reader: Reader, *versions: pa.Table) -> list[pa.Table]:
    """Return, per writer, the reader's rows; with one more column where one of them has other versions."""
    keys, buckets, writers, columns = how
    table = reader.read(columns)
    found = pa.concat_tables(versions) if versions else None
    if found is not None and found.num_rows:
        superseded = np.full(table.num_rows, NEVER_US, np.int64)
        superseded[np.asarray(found.column(ROW))] = np.asarray(found.column(SUPERSEDED))
        table = table.append_column(SUPERSEDED, pa.array(superseded))
    return split_rows(table, partition_of(table, keys, buckets) * writers // buckets, writers)


def _write(
    how: tuple[list[str], int, int, list[str]], folder: str, *pieces: pa.Table
) -> tuple[str, int, list[Piece]] | None:  # fmt: skip
    """Write the rows by (bucket, keys, event time, known time, ingestion time, event id) to a durable file."""
    keys, buckets, _, columns = how
    table = pa.concat_tables(pieces, promote_options="default").combine_chunks()
    if not table.num_rows:
        return None
    if SUPERSEDED not in table.column_names:
        table = table.append_column(SUPERSEDED, pa.array(np.full(table.num_rows, NEVER_US, np.int64)))
    bucket = partition_of(table, keys, buckets)
    order = _layout_order(table, keys, bucket)
    superseded, bucket = table.column(SUPERSEDED).fill_null(NEVER_US), bucket[order]
    table = table.select(columns).append_column(SUPERSEDED, superseded)
    path = Path(folder) / f"rows-{uuid.uuid4().hex}.parquet"
    found: list[Piece] = []
    with disk_errors(path), pq.ParquetWriter(path, table.schema, **_parquet(table.schema)) as writer:
        group, starts = 0, np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(bucket)], strict=True):
            for begin in range(start, end, _GROUP_ROWS):
                rows = order[begin : min(begin + _GROUP_ROWS, end)]
                writer.write_table(table.take(pa.array(rows)), row_group_size=_GROUP_ROWS)
            groups = tuple(range(group, group + -(-(end - start) // _GROUP_ROWS)))
            found.append(Piece(int(bucket[start]), path.name, start, groups, end - start))
            group += len(groups)
    sync_file(path)
    return path.name, path.stat().st_size, found


def _layout_order(table: pa.Table, keys: Sequence[str], bucket: Int64s) -> Int64s:
    """Return the order by bucket, keys and event time; of rows that tie in these by what else decides.

    But for digests: of versions of one event that became known and were stored at once all but one are never visible.
    """
    order = _sorted([pl.Series(bucket), *(_series(table, name) for name in (*keys, EVENT_TIME))])
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for each in (pl.Series(bucket), *(_series(table, name) for name in (*keys, EVENT_TIME))):
        values = each.gather(order)
        same &= values.slice(1).eq_missing(values.slice(0, len(same))).to_numpy()
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    if not len(tied):
        return order
    group, among = pl.Series(np.cumsum(np.append(True, ~same))[tied]), order[tied]
    rest = table.select([KNOWN_TIME, INGESTED_AT, EVENT_ID]).take(pa.array(among))
    order[tied] = among[_sorted([group, *(_series(rest, name) for name in rest.column_names)])]
    return order


def _series(table: pa.Table, name: str) -> pl.Series:
    return pl.Series(values=table.column(name))


def _sorted(columns: Sequence[pl.Series]) -> Int64s:
    frame = pl.DataFrame({f"by{i}": column for i, column in enumerate(columns)})
    result: Int64s = frame.select(pl.arg_sort_by(frame.columns)).to_series().to_numpy().astype(np.int64)
    return result


def _parquet(schema: pa.Schema) -> dict[str, Any]:
    """Return how files are written: read often and made anew at will, so that reading fast counts more than size."""
    few = [f.name for f in schema if pa.types.is_string(f.type)] + [SUPERSEDED, INGESTED_AT]
    return {"compression": "lz4", "use_dictionary": [name for name in few if name != EVENT_ID],
            "write_statistics": False, "write_page_checksum": True}  # fmt: skip


def _write_patch(folder: str, segment: str, of: str, *tables: pa.Table) -> tuple[str, int, Patch] | None:
    table = pa.concat_tables(tables).select([ROW, SUPERSEDED])
    table = table.filter(pa.array(np.asarray(table.column(SUPERSEDED)) < NEVER_US)).sort_by(ROW)
    if not table.num_rows:
        return None
    path = Path(folder) / f"patch-{uuid.uuid4().hex}.parquet"
    with disk_errors(path):
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)
    sync_file(path)
    return path.name, path.stat().st_size, Patch(segment, of, path.name)
