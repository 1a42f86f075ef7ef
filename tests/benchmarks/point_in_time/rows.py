"""The rows of the benchmark `point_in_time`; the same numbers in every environment. Imported by its contestants.

A view has 20 rows per entity, spread over 60 days, each at a time of its own. One label row in 100 asks for an entity
that no view has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

VIEWS = ("first", "second", "third")
FEATURES = ("a", "b", "c")
WINDOW_DAYS = 7
_SPAN_US = 60 * 86_400_000_000
_BEGIN_US = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_TIME = pa.timestamp("us", tz="UTC")


def events(number: int, view: int) -> pa.Table:
    """Return a view's rows in the order of time: `entity`, `at`, and its features, multiples of 1/8."""
    chance = np.random.default_rng([number, view])
    step = _SPAN_US // number
    at = _BEGIN_US + np.arange(number) * step + chance.integers(0, step, number)
    values = {feature: chance.integers(0, 8_000, number) / 8.0 for feature in FEATURES}
    entity = chance.integers(0, max(number // 20, 1), number)
    return pa.table({"entity": entity, "at": pa.array(at).cast(_TIME), **values})


def labels(number: int, of_events: int) -> pa.Table:
    """Return the rows that ask, in no order: `entity`, `at`."""
    chance = np.random.default_rng([number, of_events, 7])
    entities = max(of_events // 20, 1)
    entity = np.where(chance.random(number) < 0.01, entities + 1, chance.integers(0, entities, number))
    at = _BEGIN_US + chance.integers(0, _SPAN_US, number)
    return pa.table({"entity": entity, "at": pa.array(at).cast(_TIME)})


def sizes(scenarios: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return how many rows the views of the scenarios have, each once."""
    return sorted({scenario["events"] for scenario in scenarios})


def file(folder: str, number: int, view: str) -> Path:
    """Return the Parquet file of a view."""
    return Path(folder) / f"{view}_{number}.parquet"


def write_files(world: Mapping[str, Any]) -> None:
    """Write the views of all scenarios as Parquet files, as Gnomon's tables are compressed."""
    for number in sizes(world["scenarios"]):
        for i, view in enumerate(VIEWS):
            pq.write_table(events(number, i), file(world["folder"], number, view), compression="zstd")


def columns(what: str) -> list[str]:
    """Return the columns of an answer, in order."""
    return ["mean"] if what.startswith("mean") else [f"{view}_{feature}" for view in VIEWS for feature in FEATURES]


def check(answer: pa.Table) -> str:
    """Return what tells two answers apart: rows, nulls, and a digest of all values in row order."""
    digest = hashlib.sha256()
    nulls = 0
    for column in answer.columns:
        nulls += column.null_count
        digest.update(np.asarray(pc.fill_null(column.cast(pa.float64()), -1.0)).astype("<f8").tobytes())
    return f"{answer.num_rows} rows, {nulls} nulls, {digest.hexdigest()[:16]}"
