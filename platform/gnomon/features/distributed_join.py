"""The point-in-time join on Ray: every bucket of the table's layout by entity is read and joined by `view_rows`.

Called by `point_in_time` and `materialization` for inputs above `local_rows`. Where there can be no layout (see
`entity_layout`) events are shuffled twice: first to bring all versions of an event together, so that each learns when
it was superseded, even by a version of another entity; then to bring together the events of an entity. Tasks are pure
and read files, so that Ray may repeat any of them. No process holds more than its files' or its partition's share, and
of a partition that one entity makes large a stretch of time (`time_slices`); what lies between is in Ray's object
store, which spills to disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_ID
from gnomon.contracts.features import FeatureView
from gnomon.contracts.offline_store import OfflineStore
from gnomon.errors import CorruptData
from gnomon.features.entity_layout import bucket_groups, discard_damaged, entity_layout
from gnomon.features.event_columns import Int64s
from gnomon.features.event_order import SUPERSEDED, superseded_us
from gnomon.features.layout_reads import EntityLayout, bucket_events
from gnomon.features.table_parts import Part, deal_parts, partition_of, read_parts, split_rows
from gnomon.features.time_slices import time_slices
from gnomon.features.view_events import event_columns, table_rows
from gnomon.features.view_plans import view_keys
from gnomon.features.view_rows import view_values

_How = tuple[Mapping[str, Any], str, list[str], int | None, int, int]
"""App, view, features, moment of knowledge, pairs in memory, rows of a worker."""


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
    keys = view_keys(app, view)
    asked = requests.select(list(dict.fromkeys([*keys, *[c for c in requests.column_names if c.startswith("_")]])))
    schema = offline.schema(view.source, version=version)
    asked = pa.table({n: asked[n].cast(schema.field(n).type) if n in keys else asked[n] for n in asked.column_names})
    how = (app.as_json(), view.name, list(names), as_of_us, chunk_pairs, partition_rows)
    layout = entity_layout(app, view, names, offline, version, partition_rows)
    if layout is not None:
        try:
            return _join_buckets(layout, keys, event_columns(app, view, names, schema), asked, how)
        except CorruptData as error:
            discard_damaged(layout.folder, error)
    return _join_shuffled(app, view, names, offline, version, asked, how)


def _join_buckets(
    layout: EntityLayout, keys: Sequence[str], columns: Sequence[str], asked: pa.Table, how: _How
) -> pa.Table:  # fmt: skip
    import ray

    most_rows = how[-1]
    bucket = partition_of(asked, keys, layout.segments[0].buckets)
    requests = np.bincount(bucket, minlength=layout.segments[0].buckets)
    by_bucket, edges = np.argsort(bucket, kind="stable"), np.append(0, np.cumsum(requests))
    join, shared = ray.remote(num_cpus=1)(_join_bucket), ray.put((layout, tuple(keys), tuple(columns), how))
    places, results = [], []
    for group in bucket_groups((layout.bucket_rows() + requests).tolist(), most_rows):
        for first in range(edges[group[0]], edges[group[-1] + 1], most_rows):
            mine = by_bucket[first : min(first + most_rows, edges[group[-1] + 1])]
            places.append(mine)
            results.append(join.remote(shared, group, asked.take(pa.array(mine))))
    return _in_order(places, ray.get(results))


def _join_shuffled(
    app: App, view: FeatureView, names: Sequence[str], offline: OfflineStore, version: int, asked: pa.Table, how: _How
) -> pa.Table:  # fmt: skip
    import ray

    rows, partition_rows = asked.num_rows + table_rows(offline, view.source, version), how[-1]
    partitions = max(2, -(-rows // partition_rows))
    where = partition_of(asked, view_keys(app, view), partitions)
    of_part = [np.flatnonzero(where == part) for part in range(partitions)]
    join, shared = ray.remote(num_cpus=1)(_join_partition), ray.put(how)
    pieces = shuffle_events(app, view, names, offline, version, partitions, partition_rows)
    results = [
        join.remote(shared, asked.take(pa.array(mine)), *parts) for mine, parts in zip(of_part, pieces, strict=True)
    ]
    return _in_order(of_part, ray.get(results))


def _in_order(places: Sequence[Int64s], results: Sequence[pa.Table]) -> pa.Table:
    """Return rows that were computed in parts in the order of the whole."""
    back = np.argsort(np.concatenate(places), kind="stable")
    return pa.concat_tables(results).take(pa.array(back))


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
    groups = deal_parts(offline.files(view.source, version=version), read_rows)
    by_event = [read.remote(paths, schema, columns, partitions) for paths in groups]
    keys = view_keys(app, view)
    by_entity = [order.remote(list(keys), partitions, *parts) for parts in zip(*by_event, strict=True)]
    return list(zip(*by_entity, strict=True))


def compute_entities(
    app: App, view: FeatureView, offline: OfflineStore, version: int, partition_rows: int,
    function: Callable[..., pa.Table], arguments: tuple[Any, ...],
) -> Iterator[pa.Table]:  # fmt: skip
    """Run a function over the events of every entity of a view, in partitions that hold whole entities.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        offline: Holds the source's table.
        version: Version of the table.
        partition_rows: Events that a worker should hold at once.
        function: Takes the arguments and tables of events.
        arguments: What it is given first.

    Yields:
        pa.Table: What the function gave, each partition once, in no order and few of them at a time.
    """
    import ray

    layout = entity_layout(app, view, None, offline, version, partition_rows)
    partitions = max(2, -(-table_rows(offline, view.source, version) // partition_rows))
    remaining = set(range(partitions if layout is None else layout.segments[0].buckets))
    if layout is not None:
        columns = event_columns(app, view, None, offline.schema(view.source, version=version))
        shared = ray.put((layout, view_keys(app, view), columns, function, arguments))
        groups = list(bucket_groups(layout.bucket_rows().tolist(), partition_rows))
        try:
            for number, table in _results(_compute_buckets, shared, [(group,) for group in groups]):
                remaining -= set(groups[number])
                yield table
        except CorruptData as error:
            discard_damaged(layout.folder, error)
    if remaining:
        partitions = partitions if layout is None else layout.segments[0].buckets
        pieces = shuffle_events(app, view, None, offline, version, partitions, partition_rows)
        for _, table in _results(function, ray.put(arguments), [pieces[i] for i in sorted(remaining)]):
            yield table


def _results(
    function: Callable[..., pa.Table], shared: Any, calls: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[int, pa.Table]]:  # fmt: skip
    """Call a function in tasks and yield the number of each call and its result as they come, few of them at a time."""
    import ray

    task = ray.remote(num_cpus=1)(function)
    ahead = max(2, int(ray.cluster_resources().get("CPU", 2)))
    waiting: dict[Any, int] = {}
    remaining = list(enumerate(calls))[::-1]
    while remaining or waiting:
        while remaining and len(waiting) < ahead:
            number, call = remaining.pop()
            waiting[task.remote(shared, *call)] = number
        (done,), _ = ray.wait(list(waiting), num_returns=1)
        yield waiting.pop(done), ray.get(done)


def _compute_buckets(
    shared: tuple[EntityLayout, tuple[str, ...], list[str], Callable[..., pa.Table], tuple[Any, ...]],
    buckets: list[int],
) -> pa.Table:  # fmt: skip
    layout, keys, columns, function, arguments = shared
    return function(arguments, bucket_events(layout, keys, buckets, columns))


def _split_files(parts: list[Part], schema: pa.Schema, columns: list[str], partitions: int) -> list[pa.Table]:
    table = read_parts(parts, schema, columns)
    return split_rows(table, partition_of(table, [EVENT_ID], partitions), partitions)


def _split_versions(keys: list[str], partitions: int, *pieces: pa.Table) -> list[pa.Table]:
    table = pa.concat_tables(pieces)
    table = table.append_column(SUPERSEDED, pa.array(superseded_us(table)))
    return split_rows(table, partition_of(table, keys, partitions), partitions)


def _join_bucket(
    shared: tuple[EntityLayout, tuple[str, ...], tuple[str, ...], _How], buckets: list[int], requests: pa.Table
) -> pa.Table:  # fmt: skip
    layout, keys, columns, how = shared
    return _join_partition(how, requests, bucket_events(layout, keys, buckets, columns))


def _join_partition(how: _How, requests: pa.Table, *pieces: pa.Table) -> pa.Table:
    body, view_name, names, as_of_us, chunk_pairs, most_rows = how
    app = App.from_json(body)
    view = app.get(FeatureView, view_name)
    found, places = [], [np.zeros(0, np.int64)]
    for mine, events in time_slices(app, view, pa.concat_tables(pieces), requests, most_rows, as_of_us):
        asked = requests.take(pa.array(mine))
        found.append(view_values(app, view, events, asked, names=names, as_of_us=as_of_us, chunk_pairs=chunk_pairs))
        places.append(mine)
    return _in_order(places, found)
