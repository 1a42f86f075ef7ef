"""Which rows a view's windows read: those inside, and the versions of them that lie outside, whichever are more."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.features.event_columns import timestamps
from gnomon.features.view_events import read_view_events
from gnomon.storage.delta_tables import DeltaTables

S = 1_000_000


def _app() -> App:
    source = gn.DataSource("pay", path="x.parquet", id="id", event_time="at")
    customer = gn.Entity("customer", key="c")
    sums = gn.FeatureView(
        "sums", entity=customer, source=source, features=[gn.Aggregation("x", "sum", window="10s", name="total")]
    )
    return App.of("app", [source, customer, sums]).with_schemas(
        {"pay": {"c": "int64", "x": "float64", "id": "string", "at": "timestamp"}}
    )


def _stored(rows: list[tuple[str | None, int]]) -> pa.Table:
    times = timestamps(pa.array([at * S for _, at in rows], pa.int64()))
    return pa.table({
        "c": [1] * len(rows), "x": [1.0] * len(rows), EVENT_ID: pa.array([name for name, _ in rows], pa.string()),
        EVENT_TIME: times, KNOWN_TIME: times, INGESTED_AT: timestamps(pa.array([0] * len(rows), pa.int64())),
        DIGEST: [f"{i:032x}" for i in range(len(rows))],
    })  # fmt: skip


@pytest.mark.parametrize(("inside", "outside"), [(2, 50), (50, 2), (3, 3), (5, 0)])
def test_versions_outside_the_windows_are_read_and_no_other_rows(tmp_path: Path, inside: int, outside: int) -> None:
    tables = DeltaTables(tmp_path)
    here: list[tuple[str | None, int]] = [(f"e{i}", 100) for i in range(inside)]
    before = [(f"b{i}", 50) for i in range(outside)]
    after = [(f"a{i}", 150) for i in range(outside)]
    tables.append("pay", _stored([*here, *before, *after, ("e0", 40), ("e1", 160)]), "one")
    tables.append("pay", _stored([("e1", 41), ("other", 42)]), "two")
    app = _app()
    found = read_view_events(
        app, app.get(FeatureView, "sums"), tables, tables.version("pay"), earliest_us=105 * S, latest_us=120 * S
    )
    pairs = zip(found[EVENT_ID].to_pylist(), found[EVENT_TIME].cast(pa.int64()).to_pylist(), strict=True)
    assert sorted((name, at // S) for name, at in pairs) == sorted([*here, ("e0", 40), ("e1", 41), ("e1", 160)])


@pytest.mark.parametrize(
    ("rows", "decides"),
    [
        ([("a", 100), ("b", 100)], False),
        ([("a", 100), ("a", 101), ("b", 100)], False),
        ([("a", 100), ("b", 100), ("a", 100)], True),
        ([("a", 100), (None, 100)], True),
    ],
)
def test_digests_are_read_only_where_they_decide(
    tmp_path: Path, rows: list[tuple[str | None, int]], decides: bool
) -> None:
    tables = DeltaTables(tmp_path)
    tables.append("pay", _stored(rows), "one")
    app = _app()
    view = app.get(FeatureView, "sums")
    times = {"earliest_us": 105 * S, "latest_us": 120 * S}
    found = read_view_events(app, view, tables, tables.version("pay"), **times, digests=False)
    assert (DIGEST in found.column_names) is decides
    assert found.num_rows == len(rows)
    assert DIGEST in read_view_events(app, view, tables, tables.version("pay"), **times).column_names
