"""Ours: `point_in_time_join` over Delta tables, in this process; a contestant of `point_in_time`.

The tables are as ingestion leaves them, with known time, ingestion time, event id and digest, all of which are read:
which version of an event counts depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
from contestant import run, time_runs
from point_in_time.rows import FEATURES, VIEWS, WINDOW_DAYS, check, columns, events, labels, sizes

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.storage.delta_tables import DeltaTables

_SCHEMA = {"id": "string", "entity": "int64", "at": "timestamp", **dict.fromkeys(FEATURES, "float64")}


class GnomonJoin:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._tables: DeltaTables | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the tables, a batch each."""
        tables = DeltaTables(Path(world["folder"]) / "tables")
        for number in sizes(world["scenarios"]):
            for i, view in enumerate(VIEWS):
                tables.append(f"{view}_{number}", stored_rows(events(number, i)), "batch")

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Name the tables."""
        self._tables = DeltaTables(Path(world["folder"]) / "tables")
        return {name: version(name) for name in ("gnomon", "numpy", "pyarrow", "polars")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, Any]:
        """Time joins, from label rows in memory to features in memory."""
        assert self._tables is not None
        tables, app, names = self._tables, _app(scenario["events"]), columns(scenario["what"])
        asked = labels(scenario["labels"], scenario["events"])
        requests = pa.table({"entity": asked["entity"], REQUEST_TIME: asked["at"].cast(pa.int64())})
        lookups = ["first_windows.mean"] if names == ["mean"] else [name.replace("_", ".") for name in names]
        taken, answer = time_runs(
            lambda: point_in_time_join(app, tables, requests, lookups, local_rows=2**62), budget_s
        )  # fmt: skip
        return {**taken, "check": check(answer)}

    def close(self) -> None:
        """Nothing is left open."""


def _app(number: int) -> App:
    entity = gn.Entity("entity", key="entity")
    parts: list[Any] = [entity]
    for view in VIEWS:
        source = gn.DataSource(f"{view}_{number}", path=f"{view}.parquet", id="id", event_time="at")
        features: list[Any] = [gn.Column(name) for name in FEATURES]
        parts += [source, gn.FeatureView(view, entity=entity, source=source, features=features)]
    windows = [gn.Aggregation("a", "mean", window=f"{WINDOW_DAYS}d", name="mean")]
    parts.append(gn.FeatureView("first_windows", entity=entity, source=f"first_{number}", features=windows))
    return App.of("bench", parts).with_schemas({f"{view}_{number}": _SCHEMA for view in VIEWS})


def stored_rows(rows: pa.Table) -> pa.Table:
    """Return rows as ingestion stores them, each an event of its own."""
    number = rows.num_rows
    stored_at = pa.repeat(pa.scalar(1_800_000_000_000_000, pa.int64()), number).cast(pa.timestamp("us", tz="UTC"))
    ids = pa.array([f"e{i:09}" for i in range(number)])
    return pa.table({
        "id": ids, **{name: rows[name] for name in ("entity", "at", *FEATURES)}, EVENT_TIME: rows["at"],
        KNOWN_TIME: rows["at"], INGESTED_AT: stored_at, EVENT_ID: ids,
        DIGEST: pa.array([f"{i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for i in range(number)]),
    })  # fmt: skip


if __name__ == "__main__":
    run(GnomonJoin())
