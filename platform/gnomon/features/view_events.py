"""Reads the events that a view needs, and no more. Called by `point_in_time` and `materialization`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.contracts.offline_store import OfflineStore
from gnomon.errors import NotFound
from gnomon.features.event_columns import Array, times_us
from gnomon.features.event_order import digests_decide
from gnomon.features.view_plans import longest_window_us, needed_features, source_columns, view_keys

_SYSTEM = (EVENT_TIME, KNOWN_TIME, INGESTED_AT, EVENT_ID, DIGEST)


def source_version(offline: OfflineStore, source: str) -> int:
    """Return the newest version of a source's table.

    Args:
        offline: Where the source's table is.
        source: Name of the source, and of its table.

    Returns:
        From 0 on.

    Raises:
        NotFound: Nothing was ever ingested.
    """
    version = offline.version(source)
    if version < 0:
        raise NotFound(f"source '{source}' holds no rows yet", f"ingest it first: gnomon ingest {source}")
    return version


def table_rows(offline: OfflineStore, source: str, version: int) -> int:
    """Return the number of rows in the table's files, from their footers."""
    return sum(pq.read_metadata(path).num_rows for path in offline.files(source, version=version))


def event_columns(app: App, view: FeatureView, names: Sequence[str] | None, schema: pa.Schema) -> list[str]:
    """Return the columns that the view's features (all, or those named) are computed from, system columns included.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        names: Features; None means all.
        schema: Of the source's table.

    Returns:
        Without repeats: keys, times, ingestion time and event id first, then what the features read.

    Raises:
        NotFound: The view has no feature of that name.
    """
    return list(dict.fromkeys([*_skeleton(app, view, schema), *source_columns(needed_features(view, names))]))


def read_view_events(
    app: App, view: FeatureView, offline: OfflineStore, version: int, *, earliest_us: int, latest_us: int,
    names: Sequence[str] | None = None, every_row: bool = False, digests: bool = True,
) -> pa.Table:  # fmt: skip
    """Read a view's events for requests between two times.

    Where only windows are asked for, events outside all of them are read without the columns of the features: as later
    versions of events inside they still matter, because a correction may move an event in time; and the first of each
    entity, because an entity that is known has a count of 0 where one that was never seen has none.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        offline: Where the source's table is.
        version: Version of the table.
        earliest_us: No request is earlier.
        latest_us: No request is later.
        names: Only what these features read.
        every_row: Keep all rows outside too: who follows a table may be brought further versions of any event.
        digests: Read the digests in any case. Otherwise they are read, after all others, only where the order of some
            rows depends on them: they are the greatest part of most tables.

    Returns:
        Rows with the system columns and the columns that the features read.
    """
    schema = offline.schema(view.source, version=version)
    columns, skeleton = event_columns(app, view, names, schema), _skeleton(app, view, schema)
    after_us = None if (window_us := longest_window_us(view)) is None else earliest_us - window_us
    if not digests and DIGEST in columns:
        lean, lean_skeleton = ([name for name in some if name != DIGEST] for some in (columns, skeleton))
        events = _read(view, offline, version, lean, lean_skeleton, after_us, latest_us, every_row)
        if not digests_decide(events):
            return events
        del events
    return _read(view, offline, version, columns, skeleton, after_us, latest_us, every_row)


def _read(
    view: FeatureView, offline: OfflineStore, version: int, columns: list[str], skeleton: list[str],
    after_us: int | None, latest_us: int, every_row: bool,
) -> pa.Table:  # fmt: skip
    """Read whole rows inside the windows, the skeleton of the others; without windows all rows are whole."""
    if after_us is None:
        return offline.read(view.source, columns=columns, version=version)
    inside = offline.read(view.source, columns=columns, after_us=after_us, until_us=latest_us, version=version)
    before = offline.read(view.source, columns=skeleton, until_us=after_us, version=version)
    after = offline.read(view.source, columns=skeleton, after_us=latest_us, version=version)
    if not every_row:
        first = np.zeros(before.num_rows, np.bool_)
        first[_first_of_entities(before, [name for name in skeleton if name not in _SYSTEM])] = True
        before = before.filter(pc.or_(_of_events(before, inside), pa.array(first)))
        after = after.filter(_of_events(after, inside))
    return pa.concat_tables([inside, before, after], promote_options="default")


def _of_events(rows: pa.Table, inside: pa.Table) -> pa.ChunkedArray:
    """Tell which rows are versions of events inside; the hash table is built of the smaller side."""
    ids, known = rows.column(EVENT_ID), inside.column(EVENT_ID)
    if len(ids) < len(known):
        known = known.filter(pc.is_in(known, value_set=ids))
    return pc.is_in(ids, value_set=known)


def _first_of_entities(rows: pa.Table, keys: Sequence[str]) -> Array:
    """Return the positions of each entity's first known row, and of its first that was known and stored."""
    known, stored = times_us(rows, KNOWN_TIME), times_us(rows, INGESTED_AT)
    frame = pl.DataFrame({key: pl.Series(values=rows.column(key)) for key in keys}).with_columns(
        pl.Series(KNOWN_TIME, known), pl.Series(INGESTED_AT, np.maximum(known, stored))
    )
    first = frame.with_row_index(EVENT_ID).group_by(keys).agg(
        pl.col(EVENT_ID).get(pl.col(time).arg_min()).alias(time) for time in (KNOWN_TIME, INGESTED_AT)
    )  # fmt: skip
    return np.concatenate([first[KNOWN_TIME].to_numpy(), first[INGESTED_AT].to_numpy()])


def _skeleton(app: App, view: FeatureView, schema: pa.Schema) -> list[str]:
    digest = [DIGEST] if DIGEST in schema.names else []
    return list(dict.fromkeys([*view_keys(app, view), EVENT_TIME, KNOWN_TIME, INGESTED_AT, EVENT_ID, *digest]))
