"""The join over real Delta tables: in this process and on a real Ray cluster it gives the oracle's table."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.errors import NotFound
from gnomon.features.distributed_join import partition_of
from gnomon.features.event_columns import timestamps
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.point_in_time_oracle import view_row

S = 1_000_000
LOOKUPS = (
    "spend.n", "sums.total", "newest.amount", "sums.both", "sums.rows", "pair.rows", "spend.quiet_s", "spend.before",
    "spend.amounts", "spend.median",
)  # fmt: skip


def payments_app() -> App:
    source = gn.DataSource("pay", path="x.parquet", id="id", event_time="at")
    customer, shop = gn.Entity("customer", key="c"), gn.Entity("shop", key="shop")
    spend = gn.FeatureView("spend", entity=customer, source=source, features=[
        gn.Aggregation("*", "count", window="60s", name="n"),
        gn.Aggregation("*", "time_since_last", window="60s", name="quiet_s"),
        gn.Aggregation("amount", "last_k", k=3, window="60s", lag="90s", name="before"),
        gn.Aggregation("amount", "top_k", k=2, window="60s", name="amounts"),
        gn.Aggregation("amount", "quantile", q=0.5, window="60s", lag="10s", name="median"),
    ])  # fmt: skip
    sums = gn.FeatureView("sums", entity=customer, source=source, features=[
        gn.Aggregation("amount", "sum", window="30s", name="total"),
        gn.Aggregation("*", "count", window="100s", name="rows"),
        gn.Derived("both", gn.col("total") + gn.col("rows")),
    ])  # fmt: skip
    newest = gn.FeatureView("newest", entity=shop, source=source, features=[gn.Column("amount")], max_age="40s")
    pair = gn.FeatureView(
        "pair",
        entity=[customer, shop],
        source=source,
        features=[gn.Aggregation("*", "count", window="500s", name="rows")],
    )
    schema = {"c": "int64", "shop": "string", "amount": "int64", "id": "string", "at": "timestamp"}
    return App.of("app", [source, customer, shop, spend, sums, newest, pair]).with_schemas({"pay": schema})


def payment_rows(number: int, seed: int = 1) -> list[dict[str, Any]]:
    """Payments of which a third are corrections, some to another customer, shop or time."""
    dice = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(number):
        event = dice.randrange(300)
        corrects = rows and dice.random() < 0.33
        rows.append({
            "c": dice.choice([1, 2, 3, 2**53, 2**53 + 1]), "shop": dice.choice(["a", "b", None]),
            "amount": dice.choice([None, 1, 5, 2**53 + 1]), EVENT_TIME: event * S,
            KNOWN_TIME: (event + dice.choice([0, 0, 1, 50])) * S, INGESTED_AT: dice.randrange(3),
            EVENT_ID: dice.choice(rows)[EVENT_ID] if corrects else f"p{i}", DIGEST: f"{i:032x}",
        })  # fmt: skip
    return rows


def to_table(rows: list[dict[str, Any]], *, amounts: bool = True) -> pa.Table:
    columns = {"c": pa.int64(), "shop": pa.string(), EVENT_ID: pa.string(), DIGEST: pa.string()}
    columns |= {"amount": pa.int64()} if amounts else {}
    table = pa.table({name: pa.array([r[name] for r in rows], t) for name, t in columns.items()})
    for time in (EVENT_TIME, KNOWN_TIME, INGESTED_AT):
        table = table.append_column(time, timestamps(pa.array([r[time] for r in rows], pa.int64())))
    return table


def label_requests(number: int, seed: int = 2) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    rows = [
        {"c": dice.choice([None, 1, 2, 3, 9, 2**53, 2**53 + 1]), "shop": dice.choice([None, "a", "b", "z"]),
         REQUEST_TIME: dice.randrange(350 * S)} for _ in range(number)
    ]  # fmt: skip
    return rows + rows[:3]


def requests_table(rows: list[dict[str, Any]]) -> pa.Table:
    types = {"c": pa.int64(), "shop": pa.string(), REQUEST_TIME: pa.int64()}
    return pa.table({name: pa.array([r[name] for r in rows], t) for name, t in types.items()})


def oracle(app: App, rows: list[dict[str, Any]], asked: list[dict[str, Any]]) -> dict[str, list[Any]]:
    keys = {"spend": ["c"], "sums": ["c"], "newest": ["shop"], "pair": ["c", "shop"]}
    found: dict[str, list[Any]] = {lookup: [] for lookup in LOOKUPS}
    for request in asked:
        values: dict[str, Any] = {}
        for view, names in keys.items():
            row = view_row(app.get(FeatureView, view), names, rows, request, request[REQUEST_TIME], lambda *_: None)
            values |= {f"{view}.{feature}": value for feature, value in row.items()}
        total = values["sums.total"]
        values["sums.both"] = None if total is None else float(total + values["sums.rows"])
        for lookup in LOOKUPS:
            found[lookup].append(values[lookup])
    return found


@pytest.fixture
def offline(tmp_path: Path) -> tuple[DeltaTables, list[dict[str, Any]]]:
    """A table of three commits, the first from before the column `amount` was added."""
    rows = payment_rows(400)
    for row in rows[:50]:
        row["amount"] = None
    tables = DeltaTables(tmp_path / "tables")
    tables.append("pay", to_table(rows[:50], amounts=False), "b0")
    tables.append("pay", to_table(rows[50:200]), "b1")
    tables.append("pay", to_table(rows[200:]), "b2")
    return tables, rows


def test_local_join_equals_the_oracle(offline: tuple[DeltaTables, list[dict[str, Any]]]) -> None:
    tables, rows = offline
    app, asked = payments_app(), label_requests(200)
    found = point_in_time_join(app, tables, requests_table(asked), LOOKUPS, local_rows=1_000_000)
    assert found.column_names == list(LOOKUPS)
    assert found.to_pydict() == oracle(app, rows, asked)


def test_events_that_only_a_lagged_window_reaches_are_read(offline: tuple[DeltaTables, list[dict[str, Any]]]) -> None:
    """No request is early, so that a reader that forgot the lag would leave out what `spend.before` is about."""
    tables, rows = offline
    app, asked = payments_app(), [r | {REQUEST_TIME: (340 + i % 5) * S} for i, r in enumerate(label_requests(40))]
    found = point_in_time_join(app, tables, requests_table(asked), ["spend.before"], local_rows=10**6)
    wanted = oracle(app, rows, asked)
    assert found["spend.before"].to_pylist() == wanted["spend.before"]
    assert any(wanted["spend.before"])


@pytest.mark.cluster
def test_join_on_ray_equals_the_local_join(offline: tuple[DeltaTables, list[dict[str, Any]]], ray_cluster: Any) -> None:
    tables, rows = offline
    app, asked = payments_app(), label_requests(200)
    requests = requests_table(asked)
    here = point_in_time_join(app, tables, requests, LOOKUPS, local_rows=1_000_000)
    there = point_in_time_join(app, tables, requests, LOOKUPS, local_rows=10, partition_rows=100)
    assert there.to_pydict() == here.to_pydict() == oracle(app, rows, asked)
    assert there.schema == here.schema


@pytest.mark.cluster
def test_one_entity_with_most_rows_joins_on_ray_as_locally(tmp_path: Path, ray_cluster: Any) -> None:
    """Nearly all events and requests are of one customer, so that its partition is joined in slices of time."""
    rows = [row | {"c": 1 if i % 10 else row["c"]} for i, row in enumerate(payment_rows(1200))]
    tables = DeltaTables(tmp_path / "tables")
    tables.append("pay", to_table(rows), "b0")
    app, requests = payments_app(), requests_table([r | {"c": 1} for r in label_requests(300)])
    here = point_in_time_join(app, tables, requests, LOOKUPS, local_rows=1_000_000)
    there = point_in_time_join(app, tables, requests, LOOKUPS, local_rows=10, partition_rows=150)
    assert there.equals(here)


def test_older_versions_of_the_table_can_be_joined(offline: tuple[DeltaTables, list[dict[str, Any]]]) -> None:
    tables, rows = offline
    app, asked = payments_app(), label_requests(60)
    found = point_in_time_join(app, tables, requests_table(asked), LOOKUPS, local_rows=10**6, versions={"pay": 1})
    assert found.to_pydict() == oracle(app, rows[:200], asked)


def test_no_requests_give_no_rows(offline: tuple[DeltaTables, list[dict[str, Any]]]) -> None:
    tables, _ = offline
    found = point_in_time_join(payments_app(), tables, requests_table([]), LOOKUPS, local_rows=10**6)
    assert (found.num_rows, found.column_names) == (0, list(LOOKUPS))


def test_a_source_that_was_never_ingested_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'pay' holds no rows yet"):
        point_in_time_join(payments_app(), DeltaTables(tmp_path), requests_table([]), LOOKUPS, local_rows=1)


def test_partitions_go_by_value_not_by_type() -> None:
    wide = pa.table(
        {"a": pa.array([1, 2, None, 7], pa.int64()), "b": pa.array(["x", None, "y", ""], pa.large_string())}
    )
    narrow = pa.table(
        {"a": pa.array([1, 2, None, 7], pa.int32()), "b": pa.array(["x", None, "y", ""]).dictionary_encode()}
    )
    assert partition_of(wide, ["a", "b"], 13).tolist() == partition_of(narrow, ["a", "b"], 13).tolist()
    assert len(set(partition_of(pa.table({"a": list(range(100))}), ["a"], 13).tolist())) == 13
