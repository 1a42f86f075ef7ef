"""Computes a view's values for all entities at one moment and writes them to the online store.

Called by the materialization job and by `reconcile`'s executor. Recomputed whole each time, so that late rows,
corrections and windows that have emptied all arrive; repeating it is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.online_store import OnlineStore
from gnomon.errors import InvalidDefinition
from gnomon.features.event_columns import times_us, timestamps
from gnomon.features.expression_kernels import ARROW_TYPES
from gnomon.features.point_in_time import PARTITION_ROWS, on_ray
from gnomon.features.time_slices import time_slices
from gnomon.features.view_events import read_view_events, source_version, table_rows
from gnomon.features.view_plans import has_windows, view_keys
from gnomon.features.view_rows import REQUEST_TIME, view_rows

_WRITE_ROWS = 100_000


@dataclass(frozen=True)
class Materialized:
    """What a materialization did.

    Attributes:
        view: Name of the view.
        rows: Entities whose values were computed.
        written_rows: Rows that became the newest of their entity online.
        ignored_rows: Rows that were not newer than what was there.
        as_of_us: The moment that the values are of.
        source_version: Version of the source's table that was read.
        newest_event_us: Greatest time that was written; None where no row was.
    """

    view: str
    rows: int
    written_rows: int
    ignored_rows: int
    as_of_us: int
    source_version: int
    newest_event_us: int | None


def materialize(
    app: App, view_name: str, offline: OfflineStore, online: OnlineStore, as_of_us: int, *,
    local_rows: int = 200_000, partition_rows: int = PARTITION_ROWS,
) -> Materialized:  # fmt: skip
    """Write the newest values of every entity of a view, as known at `as_of_us`.

    Args:
        app: An app whose schemas are resolved.
        view_name: The view.
        offline: Holds the source's table.
        online: Where the values go.
        as_of_us: The moment; events and versions that became known later are not seen.
        local_rows: Up to this many events are computed in this process; more on Ray where this process is connected to
            a cluster, partition by partition.
        partition_rows: Events per partition on Ray.

    Returns:
        The counts. A repetition writes nothing and ignores all.

    Raises:
        NotFound: The view is not defined, or its source has no rows yet.
        Unavailable: The online store does not answer; repeating is safe.
    """
    view = app.get(FeatureView, view_name)
    layout = view_layout(app, view_name)
    version = source_version(offline, view.source)
    rows = written = ignored = 0
    newest: int | None = None
    for table in _entity_tables(app, view, offline, version, as_of_us, local_rows, partition_rows):
        for start in range(0, table.num_rows, _WRITE_ROWS):
            result = online.write(layout, table.slice(start, _WRITE_ROWS))
            written, ignored = written + result.written_rows, ignored + result.ignored_rows
        rows += table.num_rows
        if table.num_rows:
            newest = max(newest or 0, int(times_us(table, EVENT_TIME).max()))
    return Materialized(view_name, rows, written, ignored, as_of_us, version, newest)


def entity_rows(
    app: App, view: FeatureView, events: pa.Table, as_of_us: int,
    tiles: Mapping[int, pa.Table] = MappingProxyType({}),
) -> pa.Table:  # fmt: skip
    """Compute one row per entity, ready for `OnlineStore.write`.

    A view with an aggregation gives every entity that was ever seen a row of the time `as_of_us`, also one whose
    windows are empty, so that its old counts do not stay. A view of columns alone gives the newest visible row of each
    entity, with that row's own times; whether it has expired is told when it is read.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        events: Events of its source, of whole entities.
        as_of_us: The moment.
        tiles: Partials in place of events, as `view_rows` takes them.

    Returns:
        Key columns, `EVENT_TIME`, `KNOWN_TIME` and the view's features.

    Raises:
        InvalidDefinition: A feature has the name of a key column.
    """
    keys = view_keys(app, view)
    if clash := sorted({f.name for f in view.features} & set(keys)):
        raise InvalidDefinition(
            f"feature_view '{view.name}': feature '{clash[0]}' has the name of a key column", "give it another name="
        )
    entities = _entities(app, view, events, keys, as_of_us)
    if tiles:
        seen = [entities, *(table.select(list(keys)).cast(entities.schema) for table in tiles.values())]
        entities = pa.concat_tables(seen).group_by(list(keys), use_threads=False).aggregate([])
    found = view_rows(app, view, events, _at(entities, as_of_us), expire=False, tiles=tiles)
    moment = np.full(entities.num_rows, as_of_us, np.int64)
    event, known = (moment, moment) if has_windows(view) else (found.event_us, found.known_us)
    table = entities.append_column(EVENT_TIME, timestamps(event)).append_column(KNOWN_TIME, timestamps(known))
    for name in found.values.column_names:
        table = table.append_column(name, found.values.column(name))
    return table if has_windows(view) else table.filter(pa.array(found.found))


def _at(entities: pa.Table, as_of_us: int) -> pa.Table:
    return entities.append_column(REQUEST_TIME, pa.array(np.full(entities.num_rows, as_of_us, np.int64)))


def _entities(app: App, view: FeatureView, events: pa.Table, keys: tuple[str, ...], as_of_us: int) -> pa.Table:
    seen = (times_us(events, EVENT_TIME) <= as_of_us) & (times_us(events, KNOWN_TIME) <= as_of_us)
    schema = app.schemas[view.source]
    named = {key: events.column(key).cast(ARROW_TYPES[schema[key]]) for key in keys}
    for key in keys:
        seen &= np.asarray(pc.is_valid(named[key]))
    return pa.table(named).filter(pa.array(seen)).group_by(list(keys), use_threads=False).aggregate([])


def _entity_tables(
    app: App, view: FeatureView, offline: OfflineStore, version: int, as_of_us: int, local_rows: int,
    partition_rows: int,
) -> Iterator[pa.Table]:  # fmt: skip
    rows = table_rows(offline, view.source, version)
    if rows > local_rows and on_ray():
        from gnomon.features.distributed_join import compute_entities

        how = (app.as_json(), view.name, as_of_us, partition_rows)
        yield from compute_entities(app, view, offline, version, partition_rows, _partition_rows, how)
        return
    events = read_view_events(app, view, offline, version, earliest_us=as_of_us, latest_us=as_of_us)
    yield entity_rows(app, view, events, as_of_us)


def _partition_rows(arguments: tuple[Mapping[str, Any], str, int, int], *pieces: pa.Table) -> pa.Table:
    body, view_name, as_of_us, most_rows = arguments
    app, events = App.from_json(body), pa.concat_tables(pieces)
    view = app.get(FeatureView, view_name)
    requests = _at(_entities(app, view, events, view_keys(app, view), as_of_us), as_of_us)
    # One moment is one slice, without the events that matter to none of the windows.
    ((_, slice_events),) = time_slices(app, view, events, requests, most_rows, None)
    return entity_rows(app, view, slice_events, as_of_us)
