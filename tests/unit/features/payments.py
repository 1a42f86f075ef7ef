"""Payments of a few customers and shops, with corrections, and what the brute-force oracle says about views of them.

Used by the tests of the join and of the layouts by entity.
"""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.features.event_columns import timestamps
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.testing.point_in_time_oracle import view_row

S = 1_000_000
LOOKUPS = (
    "spend.n", "sums.total", "newest.amount", "sums.both", "sums.rows", "pair.rows", "spend.quiet_s", "spend.before",
    "spend.amounts", "spend.median",
)  # fmt: skip


def payments_app() -> App:
    """An app of four views over `pay`: by customer, by shop and by both."""
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
    """Return rows as a table, with or without the column `amount`."""
    columns = {"c": pa.int64(), "shop": pa.string(), EVENT_ID: pa.string(), DIGEST: pa.string()}
    columns |= {"amount": pa.int64()} if amounts else {}
    table = pa.table({name: pa.array([r[name] for r in rows], t) for name, t in columns.items()})
    for time in (EVENT_TIME, KNOWN_TIME, INGESTED_AT):
        table = table.append_column(time, timestamps(pa.array([r[time] for r in rows], pa.int64())))
    return table


def label_requests(number: int, seed: int = 2) -> list[dict[str, Any]]:
    """Requests of known and unknown customers and shops; some ask twice."""
    dice = random.Random(seed)
    rows = [
        {"c": dice.choice([None, 1, 2, 3, 9, 2**53, 2**53 + 1]), "shop": dice.choice([None, "a", "b", "z"]),
         REQUEST_TIME: dice.randrange(350 * S)} for _ in range(number)
    ]  # fmt: skip
    return rows + rows[:3]


def requests_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return requests as a table."""
    types = {"c": pa.int64(), "shop": pa.string(), REQUEST_TIME: pa.int64()}
    return pa.table({name: pa.array([r[name] for r in rows], t) for name, t in types.items()})


def oracle(app: App, rows: list[dict[str, Any]], asked: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return what the lookups should give."""
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
