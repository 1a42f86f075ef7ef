"""The point-in-time join on Ray: events are shuffled twice, then every partition is joined by `view_rows`.

Called by `point_in_time` and `materialization` for inputs above `local_rows`. The first shuffle brings all versions of
an event together, so that each learns when it was superseded, even by a version of another entity; the second brings
together the events of an entity. Tasks are pure and read files, so that Ray may repeat any of them. No process holds
more than its files' or its partition's share, and of a partition that one entity makes large a stretch of time
(`time_slices`); what lies between is in Ray's object store, which spills to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_ID
from gnomon.contracts.features import FeatureView
from gnomon.contracts.offline_store import OfflineStore
from gnomon.features.event_columns import Int64s
from gnomon.features.event_order import SUPERSEDED, superseded_us
from gnomon.features.time_slices import time_slices
from gnomon.features.view_events import event_columns, table_rows
from gnomon.features.view_plans import view_keys
from gnomon.features.view_rows import view_values


def join_on_ray(
    app: App, view: FeatureView, names: Sequence[str], offline: OfflineStore, requests: pa.Table, version: int, *,
    partition_rows: int, as_of_us: int | None, chunk_pairs: int,
) -> pa.Table:  # fmt: skip
    """Compute the view's features for every request on the cluster that this process is connected to.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        names: Its features to compute.
        offline: Holds the source's table.
        requests: Key columns and time.
        version: Version of the table.
        partition_rows: Requests and events that a worker should hold at once.
        as_of_us: Look with the knowledge of this moment instead of each row's own.
        chunk_pairs: Bound on pairs held by a worker.

    Returns:
        One column per name, in the order of the requests.
    """
    import ray

    rows = requests.num_rows + table_rows(offline, view.source, version)
    partitions = max(2, -(-rows // partition_rows))
    keys = view_keys(app, view)
    asked = requests.select(list(dict.fromkeys([*keys, *[c for c in requests.column_names if c.startswith("_")]])))
    schema = offline.schema(view.source, version=version)
    asked = pa.table({n: asked[n].cast(schema.field(n).type) if n in keys else asked[n] for n in asked.column_names})
    where = partition_of(asked, keys, partitions)
    of_part = [np.flatnonzero(where == part) for part in range(partitions)]
    join = ray.remote(num_cpus=1)(_join_partition)
    how = ray.put((app.as_json(), view.name, list(names), as_of_us, chunk_pairs, partition_rows))
    pieces = shuffle_events(app, view, names, offline, version, partitions, partition_rows)
    results = [
        join.remote(how, asked.take(pa.array(mine)), *parts) for mine, parts in zip(of_part, pieces, strict=True)
    ]
    table = pa.concat_tables(ray.get(results))
    back = np.empty(requests.num_rows, np.int64)
    back[np.concatenate(of_part)] = np.arange(requests.num_rows)
    return table.take(pa.array(back))


def shuffle_events(
    app: App, view: FeatureView, names: Sequence[str] | None, offline: OfflineStore, version: int, partitions: int,
    read_rows: int,
) -> list[tuple[Any, ...]]:  # fmt: skip
    """Start the two shuffles; return, per partition, references to the tables that make it up.

    A task reads about `read_rows` rows of the files, or one row group where that has more.
    """
    import ray

    schema = offline.schema(view.source, version=version)
    columns = event_columns(app, view, names, schema)
    read = ray.remote(num_cpus=1, num_returns=partitions)(_split_files)
    order = ray.remote(num_cpus=1, num_returns=partitions)(_split_versions)
    groups = _file_groups(offline.files(view.source, version=version), read_rows)
    by_event = [read.remote(paths, schema, columns, partitions) for paths in groups]
    keys = view_keys(app, view)
    by_entity = [order.remote(list(keys), partitions, *parts) for parts in zip(*by_event, strict=True)]
    return list(zip(*by_entity, strict=True))


def run_partitions(
    pieces: Sequence[tuple[Any, ...]], function: Callable[..., pa.Table], arguments: tuple[Any, ...]
) -> Iterator[pa.Table]:  # fmt: skip
    """Run a function over each partition of events and yield the results as they come, few of them at a time."""
    import ray

    task = ray.remote(num_cpus=1)(function)
    shared = ray.put(arguments)
    ahead = max(2, int(ray.cluster_resources().get("CPU", 2)))
    waiting: list[Any] = []
    remaining = list(pieces)
    while remaining or waiting:
        while remaining and len(waiting) < ahead:
            waiting.append(task.remote(shared, *remaining.pop(0)))
        done, waiting = ray.wait(waiting, num_returns=1)
        yield ray.get(done[0])


def partition_of(table: pa.Table, columns: Sequence[str], partitions: int) -> Int64s:
    """Return each row's partition by the hash of some columns; equal values go together on every machine."""
    frame = pl.DataFrame({name: _hashable(table.column(name)) for name in columns})
    if not len(frame):
        return np.zeros(0, np.int64)
    result: Int64s = (frame.hash_rows(seed=0) % partitions).to_numpy().astype(np.int64)
    return result


def _hashable(values: pa.ChunkedArray) -> pl.Series:
    wide = pa.int64() if pa.types.is_integer(values.type) else pa.string()
    return pl.Series(values.cast(wide))


def _file_groups(paths: Sequence[str], read_rows: int) -> list[list[tuple[str, list[int]]]]:
    """Deal row groups out to readers: (path, row groups) of about as many rows as one task should hold."""
    groups: list[list[tuple[str, list[int]]]] = []
    room = 0
    for path in paths:
        footer = pq.read_metadata(path)
        for index in range(footer.num_row_groups):
            rows = footer.row_group(index).num_rows
            if rows > room:
                groups.append([])
                room = max(read_rows, rows)
            if not groups[-1] or groups[-1][-1][0] != path:
                groups[-1].append((path, []))
            groups[-1][-1][1].append(index)
            room -= rows
    return groups


def _split(table: pa.Table, columns: Sequence[str], partitions: int) -> list[pa.Table]:
    where = partition_of(table, columns, partitions)
    order = np.argsort(where, kind="stable")
    edges = np.searchsorted(where[order], np.arange(partitions + 1))
    return [table.take(pa.array(order[edges[i] : edges[i + 1]])) for i in range(partitions)]


def _split_files(
    parts: list[tuple[str, list[int]]], schema: pa.Schema, columns: list[str], partitions: int
) -> list[pa.Table]:  # fmt: skip
    import pyarrow.dataset as ds  # imports pandas, which a join within one process does without

    parquet, disk = ds.ParquetFileFormat(), LocalFileSystem()
    fragments = [parquet.make_fragment(path, disk, row_groups=groups) for path, groups in parts]
    # with the table's schema, so that files from before a column was added hold it as null
    dataset = ds.FileSystemDataset(fragments, schema, parquet, disk)
    return _split(dataset.to_table(columns=columns), [EVENT_ID], partitions)


def _split_versions(keys: list[str], partitions: int, *pieces: pa.Table) -> list[pa.Table]:
    table = pa.concat_tables(pieces)
    table = table.append_column(SUPERSEDED, pa.array(superseded_us(table)))
    return _split(table, keys, partitions)


def _join_partition(
    how: tuple[Mapping[str, Any], str, list[str], int | None, int, int], requests: pa.Table, *pieces: pa.Table
) -> pa.Table:
    body, view_name, names, as_of_us, chunk_pairs, most_rows = how
    app = App.from_json(body)
    view = app.get(FeatureView, view_name)
    found, places = [], [np.zeros(0, np.int64)]
    for mine, events in time_slices(app, view, pa.concat_tables(pieces), requests, most_rows, as_of_us):
        asked = requests.take(pa.array(mine))
        found.append(view_values(app, view, events, asked, names=names, as_of_us=as_of_us, chunk_pairs=chunk_pairs))
        places.append(mine)
    back = np.argsort(np.concatenate(places), kind="stable")
    return pa.concat_tables(found).take(pa.array(back))
