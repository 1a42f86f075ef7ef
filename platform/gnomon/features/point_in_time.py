"""The point-in-time join: features as they could have been known, for rows of keys and times.

Called by `training_sets` and by monitoring. Few rows are joined in this process; many are partitioned by the hash of
the entity key and joined on Ray by the same function, with bounded memory per worker. Both ways give the same table.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pyarrow as pa

from gnomon.contracts.apps import App
from gnomon.contracts.features import FeatureView
from gnomon.contracts.offline_store import OfflineStore
from gnomon.features.event_columns import times_us
from gnomon.features.view_events import read_view_events, source_version, table_rows
from gnomon.features.view_rows import CHUNK_PAIRS, REQUEST_TIME, view_values

PARTITION_ROWS = 1_000_000
"""Rows of requests and events per partition: some hundred MB in a worker."""


def point_in_time_join(
    app: App, offline: OfflineStore, requests: pa.Table, lookups: Sequence[str], *, local_rows: int,
    versions: Mapping[str, int] | None = None, as_of_us: int | None = None,
    partition_rows: int = PARTITION_ROWS, chunk_pairs: int = CHUNK_PAIRS,
) -> pa.Table:  # fmt: skip
    """Look features up for every request, each as of its own time.

    Args:
        app: An app whose schemas are resolved.
        offline: Holds the sources' tables.
        requests: The key columns of all views, and `REQUEST_TIME`; may hold duplicates and null keys.
        lookups: Features to look up, as `view.feature`.
        local_rows: Up to this many rows (requests and events of a view together) are joined in this process. More are
            joined on Ray where this process is connected to a cluster.
        versions: Version of each source's table; the newest where left out.
        as_of_us: Look with the knowledge of this moment instead of each row's own.
        partition_rows: Rows per partition on Ray.
        chunk_pairs: Bound on the (request, event) pairs held in memory by a process.

    Returns:
        One column per lookup, in their order; one row per request, in their order.

    Raises:
        NotFound: A view, feature or table is absent.
        InvalidInput: A key column is missing or of another type than in the source.
    """
    values: dict[str, pa.ChunkedArray] = {}
    for view_name, names in _by_view(lookups).items():
        view = app.get(FeatureView, view_name)
        version = (versions or {}).get(view.source, -1)
        version = source_version(offline, view.source) if version < 0 else version
        rows = requests.num_rows + table_rows(offline, view.source, version)
        if rows > local_rows and requests.num_rows and on_ray():
            from gnomon.features.distributed_join import join_on_ray

            found = join_on_ray(
                app, view, names, offline, requests, version,
                partition_rows=partition_rows, as_of_us=as_of_us, chunk_pairs=chunk_pairs,
            )  # fmt: skip
        else:
            found = _join_here(app, view, names, offline, requests, version, as_of_us, chunk_pairs)
        values |= {f"{view_name}.{name}": found.column(name) for name in names}
    return pa.table({lookup: values[lookup] for lookup in lookups})


def on_ray() -> bool:
    """Tell whether this process is connected to a Ray cluster; without importing Ray, which takes seconds."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _join_here(
    app: App, view: FeatureView, names: Sequence[str], offline: OfflineStore, requests: pa.Table, version: int,
    as_of_us: int | None, chunk_pairs: int,
) -> pa.Table:  # fmt: skip
    times = times_us(requests, REQUEST_TIME)
    earliest, latest = (int(times.min()), int(times.max())) if len(times) else (0, 0)
    events = read_view_events(
        app, view, offline, version, earliest_us=earliest, latest_us=latest, names=names, digests=False
    )  # fmt: skip
    return view_values(
        app, view, events, requests, names=names, as_of_us=as_of_us, chunk_pairs=chunk_pairs
    )  # fmt: skip


def _by_view(lookups: Sequence[str]) -> dict[str, list[str]]:
    views: dict[str, list[str]] = {}
    for lookup in lookups:
        view, _, feature = lookup.partition(".")
        views.setdefault(view, []).append(feature)
    return {view: list(dict.fromkeys(names)) for view, names in views.items()}
