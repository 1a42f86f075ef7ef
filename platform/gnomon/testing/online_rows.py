"""Layouts, tables and plans in a line each, and reads as plain values; used by the online store's contract suite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME, Dtype
from gnomon.contracts.features import Constant
from gnomon.contracts.layouts import StoredColumn, ViewLayout
from gnomon.contracts.online_store import OnlineRows, OnlineStore, ReadPlan

NOW_US = 1_790_000_000_000_000
_TIMESTAMP = pa.timestamp("us", tz="UTC")
_ARROW = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "timestamp": _TIMESTAMP,
}
_KEY: tuple[tuple[str, Dtype], ...] = (("id", "int64"),)


def layout_of(
    features: Mapping[str, Dtype], view: str = "spend", keys: tuple[tuple[str, Dtype], ...] = _KEY,
    defaults: Mapping[str, Constant] | None = None, **fields: Any,
) -> ViewLayout:  # fmt: skip
    """Return a layout; `fields` replace `max_age_us`, `on_expired` and `version`."""
    columns = tuple(StoredColumn(name, dtype, (defaults or {}).get(name)) for name, dtype in features.items())
    return replace(ViewLayout(view, keys, columns, None, "null", "0a0b0c0d"), **fields)


def table_of(layout: ViewLayout, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows of a layout; times are `at` and `known` in microseconds, `known` being `at` when left out."""
    times = {EVENT_TIME: [r["at"] for r in rows], KNOWN_TIME: [r.get("known", r["at"]) for r in rows]}
    arrays = {name: pa.array(values, pa.int64()).cast(_TIMESTAMP) for name, values in times.items()}
    for name, dtype in (*layout.keys, *((c.name, c.dtype) for c in layout.columns)):
        arrays[name] = pa.array([r.get(name) for r in rows], _ARROW[dtype])
    return pa.table(arrays)


def plan_of(*layouts: ViewLayout) -> ReadPlan:
    """Return a plan of all features of some layouts."""
    features = tuple((v, c) for v, layout in enumerate(layouts) for c in range(len(layout.columns)))
    return ReadPlan(layouts, features, tuple(f"{layouts[v].view}.{layouts[v].columns[c].name}" for v, c in features))


def read(store: OnlineStore, layouts: Sequence[ViewLayout], *ids: Any, now_us: int = NOW_US) -> OnlineRows:
    """Read all features of some layouts for entities named by `id`."""
    return store.read(plan_of(*layouts), [{"id": i} for i in ids], now_us)


def values_of(rows: OnlineRows, name: str) -> list[Any]:
    """Return a column as plain values, NaN as None."""
    return [None if isinstance(v, float) and math.isnan(v) else v for v in rows.values[name].tolist()]
