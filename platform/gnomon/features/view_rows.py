"""Values of a feature view for any entities at any times: the one function behind training sets and materialization.

Called by `point_in_time` and `distributed_join` (training) and by `materialization` (online). What `max_age` and
`on_expired` do is told in `view_expiry`. In short: a column's age counts from its own event; a window is of the time
asked and does not expire in a training set, while online its age counts from the materialization.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.durations import duration_us
from gnomon.contracts.features import Aggregation, AnyFeature, Column, Derived, FeatureView
from gnomon.contracts.layouts import feature_dtype
from gnomon.errors import InvalidInput
from gnomon.features.event_columns import Flags, Int64s, column, times_us
from gnomon.features.event_order import NEVER_US, OrderedEvents, order_events
from gnomon.features.expression_kernels import (
    ARROW_TYPES,
    FLOAT,
    INT,
    NAMES,
    NUMBERS,
    to_float,
    to_int,
    without_nan,
)
from gnomon.features.expressions import evaluate
from gnomon.features.held_tiles import HeldTiles, any_held
from gnomon.features.newest_rows import newest_visible
from gnomon.features.view_expiry import hide_missing, hide_rows
from gnomon.features.view_plans import has_windows, needed_features, source_columns, view_keys
from gnomon.features.window_requests import WindowRequests
from gnomon.features.windows import aggregate

REQUEST_TIME = "_t"
"""Column of a request: the time that its features are of, int64 microseconds since the epoch."""

CHUNK_PAIRS = 2_000_000
"""Pairs of request and event held at once: about 100 MB at the peak."""


@dataclass(frozen=True)
class ViewRows:
    """Values of a view, row by row as requested.

    Attributes:
        values: One column per feature.
        found: Whether the entity has a visible row with event time ≤ t; in a view with an aggregation, whether it ever
            had one that was known by then, even if a correction has given it to another entity since.
        event_us: Event time of the newest visible row; 0 where none is.
        known_us: Its known time.
    """

    values: pa.Table
    found: Flags
    event_us: Int64s
    known_us: Int64s


def view_values(
    app: App, view: FeatureView, events: pa.Table, requests: pa.Table, *,
    names: Sequence[str] | None = None, as_of_us: int | None = None, chunk_pairs: int = CHUNK_PAIRS,
) -> pa.Table:  # fmt: skip
    """Compute the view's features for every request: the same rows in the same order, duplicates kept, nulls explicit.

    A request at time t sees events with event time ≤ t, in the versions that were visible at t (or at `as_of_us`). Of
    equal event times the later-known event counts, then the later-ingested. A null key matches nothing.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        events: Rows of its source with the system columns, in any order; columns that it does not read are ignored.
        requests: Key columns, and `REQUEST_TIME`.
        names: Only these features, in this order; all by default.
        as_of_us: Look with the knowledge of this moment instead of each row's own.
        chunk_pairs: Bound on the (request, event) pairs held in memory.

    Returns:
        One column per feature, as many rows as requests.

    Raises:
        InvalidInput: A column is missing or of another type.
        NotFound: The view has no feature of that name.
    """
    rows = view_rows(
        app, view, events, requests, expire=True, names=names, as_of_us=as_of_us, chunk_pairs=chunk_pairs
    )  # fmt: skip
    return rows.values


def view_rows(
    app: App, view: FeatureView, events: pa.Table, requests: pa.Table, *, expire: bool,
    names: Sequence[str] | None = None, as_of_us: int | Int64s | None = None,
    chunk_pairs: int = CHUNK_PAIRS, tiles: Mapping[int, pa.Table] = MappingProxyType({}),
) -> ViewRows:  # fmt: skip
    """Compute values as `view_values` does, and the time of each row.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        events: Rows of its source.
        requests: Key columns, and `REQUEST_TIME`.
        expire: Apply `max_age`. Without it a view of columns alone gives values as its rows hold them, for a store that
            expires them when they are read; a view with an aggregation expires its columns all the same.
        names: Only these features; all by default.
        as_of_us: Look with the knowledge of this moment, or each row with that of its own.
        chunk_pairs: Bound on pairs in memory.
        tiles: Partials in place of events (see `held_tiles`), by the length of their tiles, which all ended before.

    Returns:
        The values and times.

    Raises:
        InvalidInput: A column is missing or of another type.
        NotFound: The view has no feature of that name.
    """
    features = needed_features(view, names)
    until = times_us(requests, REQUEST_TIME)
    at = until if as_of_us is None else np.full(len(until), as_of_us, np.int64)
    ordered, codes = order_events(events, requests, view_keys(app, view))
    asked = WindowRequests(codes, until, at)
    held = {tile_us: HeldTiles.of(table, requests, view_keys(app, view)) for tile_us, table in tiles.items()}
    newest = _Newest.of(ordered, asked, chunk_pairs)
    known = newest.found | any_held(held, codes)
    seen = _ever_seen(ordered, asked, known, chunk_pairs) if has_windows(view) else known
    old = _too_old(view, newest, until) if expire or has_windows(view) else np.zeros(len(until), np.bool_)
    values = _stored_values(app, view, features, events, ordered, asked, newest, chunk_pairs, held)
    simple = [f for f in features if isinstance(f, Column)]
    derived = [f for f in features if isinstance(f, Derived)]
    if has_windows(view):
        values |= hide_rows(view, simple, values, newest.found, old)
        values |= {f.name: derive(f, values, len(until)) for f in derived}
        values = hide_missing(view, features, values, seen)
    else:
        values |= {f.name: derive(f, values, len(until)) for f in derived}
        values = hide_rows(view, features, values, newest.found, old)
    chosen = [f.name for f in view.features] if names is None else list(names)
    table = pa.Table.from_arrays([values[name] for name in chosen], names=chosen)
    return ViewRows(table, seen, newest.event_us, newest.known_us)


@dataclass(frozen=True)
class _Newest:
    """The newest visible event of each request; position 0 and times 0 where none is found."""

    positions: Int64s
    found: Flags
    event_us: Int64s
    known_us: Int64s

    @classmethod
    def of(cls, ordered: OrderedEvents, asked: WindowRequests, chunk_pairs: int) -> _Newest:
        positions = newest_visible(ordered, asked.codes, asked.until_us, asked.at_us, chunk_pairs)
        found: Flags = positions >= 0
        positions = np.maximum(positions, 0)
        if not len(ordered.rows):
            return cls(positions, found, positions, positions)
        event, known = ordered.event_us[positions], ordered.known_us[positions]
        return cls(positions, found, np.where(found, event, 0), np.where(found, known, 0))


def _ever_seen(ordered: OrderedEvents, asked: WindowRequests, found: Flags, chunk_pairs: int) -> Flags:
    """Tell whether a row of the entity was known, visible still or replaced: who was seen once stays known.

    So a materialization, which looks at all rows, and a stream, which holds only those that still count, agree.
    """
    if found.all():
        return found
    result, open_ = found.copy(), np.flatnonzero(~found)
    lasting = replace(ordered, superseded_us=np.full_like(ordered.known_us, NEVER_US))
    codes, until_us, at_us = asked.codes[open_], asked.until_us[open_], asked.at_us[open_]
    result[open_] = newest_visible(lasting, codes, until_us, at_us, chunk_pairs) >= 0
    return result


def _too_old(view: FeatureView, newest: _Newest, until: Int64s) -> Flags:
    if view.max_age is None:
        return np.zeros(len(until), np.bool_)
    return newest.found & (until - newest.event_us >= duration_us(view.max_age))


def _stored_values(
    app: App, view: FeatureView, features: Sequence[AnyFeature], events: pa.Table, ordered: OrderedEvents,
    asked: WindowRequests, newest: _Newest, chunk_pairs: int, held: Mapping[int, HeldTiles],
) -> dict[str, pa.Array]:  # fmt: skip
    """Compute columns and aggregations; a column without a row is null."""
    schema = dict(app.schemas[view.source])
    columns = ordered_columns(app, view, features, events, ordered)
    statistics = [f for f in features if isinstance(f, Aggregation)]
    dtypes = {f.name: feature_dtype(f, schema) for f in statistics}
    values = aggregate(ordered, asked, statistics, columns, dtypes, chunk_pairs, held)
    positions = pa.array(newest.positions, mask=~newest.found)
    return values | {f.name: columns[f.column].take(positions) for f in features if isinstance(f, Column)}


def ordered_columns(
    app: App, view: FeatureView, features: Sequence[AnyFeature], events: pa.Table, ordered: OrderedEvents
) -> dict[str, pa.Array]:  # fmt: skip
    """Return the source's columns that features read, in the order of the events; NaN is null."""
    schema, rows = app.schemas[view.source], pa.array(ordered.rows)
    return {
        name: without_nan(column(events, name).cast(ARROW_TYPES[schema[name]]).take(rows))
        for name in source_columns(features)
    }


def derive(feature: Derived, values: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """Compute a derived feature from the view's other features.

    Args:
        feature: Which one.
        values: Columns by feature name, at least those that it reads.
        rows: Their length.

    Returns:
        One value per row, of the declared type.

    Raises:
        InvalidInput: The expression's type is not the declared one.
    """
    result = evaluate(feature.expression, values, rows)
    wanted = ARROW_TYPES[feature.dtype]
    if result.type == wanted:
        return result
    if result.type not in NUMBERS or wanted not in NUMBERS:
        raise InvalidInput(
            f"derived feature '{feature.name}' is declared as {feature.dtype}, but it is {NAMES[result.type]}",
            f"declare dtype='{NAMES[result.type]}'",
        )
    if wanted == FLOAT:
        return to_float(result)
    whole = to_int(result)
    return whole if wanted == INT else pc.not_equal(whole, 0)
