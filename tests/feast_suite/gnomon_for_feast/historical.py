"""Feast's historical features by our point-in-time join. Called by the offline store, when its job is run.

Features of the types that our views have are looked up as they are. A view has no lists, maps or bytes: of those the
number of the row is looked up, and the value taken from that row of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID

from gnomon.contracts.columns import Dtype
from gnomon.features.expression_kernels import TIMESTAMP
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.view_rows import REQUEST_TIME
from gnomon_for_feast.apps import app_of, lookups_of
from gnomon_for_feast.kept_types import dtype_of, given
from gnomon_for_feast.offline_tables import EVERYTHING, ROW
from gnomon_for_feast.sources import GnomonSource

_HERE_ROWS = 10**9
"""Joins stay in this process."""


@dataclass(frozen=True)
class Wanted:
    """What is wanted of one view.

    Attributes:
        view: The view, with its projection.
        source: Its rows in our tables.
        features: Names of its features.
        full_names: Whether the columns of the answer begin with the view's name.
        by_creation: Whether a row is known from its creation on, and not from its event time on.
    """

    view: FeatureView
    source: GnomonSource
    features: Sequence[str]
    full_names: bool
    by_creation: bool

    def keys(self) -> dict[str, str]:
        """Return the raw key columns of the source, each with its column in the entity rows."""
        renamed = self.view.projection.join_key_map
        names = [column.name for column in self.view.entity_columns if column.name != DUMMY_ENTITY_ID]
        return {self.source.raw(name): renamed.get(name, name) for name in names}

    def column(self, feature: str) -> str:
        """Return what a feature is called in the answer."""
        return f"{self.view.projection.name_to_use()}__{feature}" if self.full_names else feature


def with_features(entities: pd.DataFrame, time_column: str, wanted: Sequence[Wanted]) -> pa.Table:
    """Return the entity rows in their order, each with its features as of its time.

    Args:
        entities: Keys, times, and whatever else.
        time_column: The column of times; those without a zone are UTC.
        wanted: Views and features.
    """
    rows = pa.Table.from_pandas(_aware(entities, time_column), preserve_index=False)
    for each in wanted:
        for name, values in _features(rows, time_column, each).items():
            rows = rows.append_column(name, values)
    return rows


def all_entities(wanted: Sequence[Wanted], time_column: str, start: Any, end: Any) -> pd.DataFrame:
    """Return every entity that has a row between two times, at the later of them."""
    frames = []
    for each in wanted:
        keys = each.keys()
        found = each.source.tables.read(each.source.name, list(keys), time_us(start) - 1, time_us(end)).to_pandas()
        if keys:
            frames.append(found[list(keys)].rename(columns=keys).dropna().drop_duplicates())
    entities = reduce(_combine, frames) if frames else pd.DataFrame(index=[0])
    return entities.assign(**{time_column: pd.Timestamp(end)}).reset_index(drop=True)


def _combine(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    shared = [name for name in one.columns if name in other.columns]
    return one.merge(other, how="outer", on=shared) if shared else one.merge(other, how="cross")


def _features(rows: pa.Table, time_column: str, wanted: Wanted) -> Mapping[str, pa.ChunkedArray]:
    source, keys = wanted.source, wanted.keys()
    tables, schema = source.tables, source.tables.schema(source.name)
    raw = {feature: source.raw(feature) for feature in wanted.features}
    typed = {name: dtype_of(schema.field(name).type) for name in raw.values()}
    columns: list[tuple[str, Dtype]] = [(name, dtype) for name, dtype in typed.items() if dtype is not None]
    table = tables.table(source.name, by_creation=wanted.by_creation and bool(source.created_timestamp_column))
    dtypes: dict[str, Dtype] = {
        key: "int64" if dtype_of(schema.field(key).type) == "int64" else "string" for key in keys
    } or {EVERYTHING: "string"}
    app = app_of("view", table, dtypes, [*columns, (ROW, "int64")], wanted.view.ttl)
    lookups = lookups_of("view", [*columns, (ROW, "int64")])
    found = point_in_time_join(
        app, tables.store, _requests(rows, time_column, keys), lookups, local_rows=_HERE_ROWS
    )  # fmt: skip
    values = {
        name: given(found.column(lookup), schema.field(name).type)
        for (name, _), lookup in zip(columns, lookups, strict=False)
    }
    others = [name for name, dtype in typed.items() if dtype is None]
    if others:
        rest = tables.read(source.name, others)
        positions = pc.index_in(found.column(lookups[-1]), value_set=rest.column(ROW), skip_nulls=True)
        values |= {name: rest.column(name).take(positions) for name in others}
    return {wanted.column(feature): values[name] for feature, name in raw.items()}


def _requests(rows: pa.Table, time_column: str, keys: Mapping[str, str]) -> pa.Table:
    times = rows.column(time_column).cast(TIMESTAMP, safe=False)
    named = {raw: rows.column(name) for raw, name in keys.items()}
    if not named:
        named = {EVERYTHING: pa.chunked_array([pa.array([""] * rows.num_rows, pa.string())])}
    return pa.table({**named, REQUEST_TIME: times})


def _aware(entities: pd.DataFrame, time_column: str) -> pd.DataFrame:
    times = [t if t.tzinfo is not None else t.tz_localize("UTC") for t in map(pd.Timestamp, entities[time_column])]
    return entities.assign(**{time_column: pd.to_datetime(pd.Series(times, index=entities.index), utc=True)})


def time_us(moment: Any) -> int:
    """Return a time in microseconds since the epoch; one without a zone is UTC."""
    at = pd.Timestamp(moment)
    return int(np.int64((at if at.tzinfo is not None else at.tz_localize("UTC")).value // 1000))
