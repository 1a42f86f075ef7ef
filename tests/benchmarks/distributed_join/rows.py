"""The rows of the benchmark `distributed_join`; the same numbers in every environment. Imported by its contestants.

As those of `point_in_time`, but that one entity may have a share of all rows and of all label rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from point_in_time import rows as even

FEATURES = even.FEATURES
BUSY = 0
"""The entity that has a share of the rows."""


def events(scenario: Mapping[str, Any]) -> pa.Table:
    """Return the rows of the view, in the order of time."""
    return _busy(even.events(scenario["events"], 0), scenario["busy"], 1)


def labels(scenario: Mapping[str, Any]) -> pa.Table:
    """Return the rows that ask, in no order."""
    return _busy(even.labels(scenario["labels"], scenario["events"]), scenario["busy"], 2)


def name(scenario: Mapping[str, Any]) -> str:
    """Return what a scenario's rows are called."""
    return f"rows_{scenario['events']}_{round(scenario['busy'] * 100)}"


def distinct(world: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the scenarios whose rows differ, each once."""
    return list({name(scenario): scenario for scenario in world["scenarios"]}.values())


def file(folder: str, scenario: Mapping[str, Any]) -> Path:
    """Return the Parquet file of a scenario's rows."""
    return Path(folder) / f"{name(scenario)}.parquet"


def write_files(world: Mapping[str, Any]) -> None:
    """Write the rows of all scenarios as Parquet files, as Gnomon's tables are compressed."""
    for scenario in distinct(world):
        pq.write_table(events(scenario), file(world["folder"], scenario), compression="zstd")


def _busy(table: pa.Table, share: float, seed: int) -> pa.Table:
    chance = np.random.default_rng([table.num_rows, seed])
    entity = np.where(chance.random(table.num_rows) < share, BUSY, np.asarray(table["entity"]))
    return table.set_column(0, "entity", pa.array(entity))
