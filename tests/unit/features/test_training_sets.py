"""Training sets over real Delta tables: which rows take part, what they see, and that they are the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.errors import InvalidDefinition, InvalidInput, NotFound
from gnomon.features.event_columns import times_us, timestamps
from gnomon.features.training_sets import TrainingSet, build_training_set
from gnomon.storage.delta_tables import DeltaTables

S = 1_000_000
SCHEMA = {
    "c": "int64",
    "amount": "float64",
    "n": "int64",
    "city": "string",
    "fraud": "bool",
    "id": "string",
    "at": "timestamp",
}
BIG = 2**53 + 1


def app_of(label: dict[str, Any] | None = None, **model: Any) -> App:
    source = gn.DataSource("pay", path="x.parquet", id="id", event_time="at")
    customer = gn.Entity("customer", key="c")
    spend = gn.FeatureView(
        "spend",
        entity=customer,
        source=source,
        features=[
            gn.Aggregation("*", "count", window="10s", name="rows"),
            gn.Aggregation("amount", "mean", window="10s", name="mean"),
            gn.Column("n"),
        ],
    )
    ratio = gn.RequestFeature(
        "ratio", request={"amount": "float64"}, expression=gn.col("amount") / gn.col("spend.mean")
    )
    shout = gn.RequestFeature(
        "shout", request={"city": "string"}, inputs=("city",), function="app:shout", dtype="string"
    )
    made = gn.Label("fraud", source=source, **{"delay": "5s", **(label or {})})
    learned = gn.Model(
        "m", **{"label": made, "features": ["spend", "ratio", "shout"], "request": {"n": "int64"}, **model}
    )
    return App.of("app", [source, customer, spend, ratio, shout, made, learned]).with_schemas({"pay": SCHEMA})


def resolve(name: str) -> Any:
    assert name == "app:shout"
    return lambda city: np.array([None if c is None else c.upper() for c in city], dtype=object)


def pay(event: float, known: float | None = None, *, c: Any = 1, event_id: str = "", **values: Any) -> dict[str, Any]:
    known_us = int((event if known is None else known) * S)
    base = {"amount": 2.0, "n": BIG, "city": "rom", "fraud": False}
    return (
        base
        | values
        | {
            "c": c,
            EVENT_TIME: int(event * S),
            KNOWN_TIME: known_us,
            INGESTED_AT: known_us,
            EVENT_ID: event_id or f"p{event}",
            DIGEST: f"{event}{known}",
        }
    )


def tables_with(folder: Path, rows: list[dict[str, Any]]) -> DeltaTables:
    types = {
        "c": pa.int64(),
        "amount": pa.float64(),
        "n": pa.int64(),
        "city": pa.string(),
        "fraud": pa.bool_(),
        EVENT_ID: pa.string(),
        DIGEST: pa.string(),
    }
    table = pa.table({name: pa.array([r[name] for r in rows], t) for name, t in types.items()})
    for time in (EVENT_TIME, KNOWN_TIME, INGESTED_AT):
        table = table.append_column(time, timestamps(pa.array([r[time] for r in rows], pa.int64())))
    tables = DeltaTables(folder / "tables")
    tables.append("pay", table, "b")
    return tables


def build(app: App, tables: DeltaTables, as_of_s: float) -> TrainingSet:
    return build_training_set(app, "m", tables, int(as_of_s * S), resolve)


def test_rows_see_what_was_known_at_their_time(tmp_path: Path) -> None:
    rows = [
        pay(1, amount=2.0),
        pay(3, 30, amount=100.0, fraud=True),
        pay(4, amount=4.0, city=None),
        pay(20, c=2, fraud=True),
    ]
    made = build(app_of(), tables_with(tmp_path, rows), 30)
    assert made.table.column_names == [
        "c",
        EVENT_TIME,
        EVENT_ID,
        "spend.rows",
        "spend.mean",
        "spend.n",
        "ratio",
        "shout",
        "n",
        "label",
    ]
    assert made.table.select(
        ["c", "spend.rows", "spend.mean", "spend.n", "ratio", "shout", "n", "label"]
    ).to_pydict() == {
        "c": [1, 1, 1, 2],
        "spend.rows": [1, 1, 2, 1],
        "spend.mean": [2.0, 2.0, 3.0, 2.0],
        "spend.n": [BIG] * 4,
        "ratio": [1.0, 50.0, 4 / 3, 1.0],
        "shout": ["ROM", "ROM", None, "ROM"],
        "n": [BIG] * 4,
        "label": [0.0, 1.0, 0.0, 1.0],
    }
    assert (made.label_rows, made.source_versions) == (4, {"pay": 0})
    assert (made.trained_until_us, made.max_event_us) == (25 * S, 20 * S)


def test_rows_that_may_not_be_learned_from_are_counted_by_reason(tmp_path: Path) -> None:
    rows = [
        pay(1, fraud=None),
        pay(2),
        pay(2, 3, event_id="p2", fraud=True),
        pay(4, 200),
        pay(90),
        pay(95.5),
        pay(96),
        pay(300, 50),
        pay(50, amount=0.0),
        pay(60, 61, event_id="x"),
        pay(60, 101, event_id="x", fraud=True),
    ]
    app = app_of({"where": gn.col("amount") > 1}, history="85s")
    made = build(app, tables_with(tmp_path, rows), 100)
    assert made.table[EVENT_ID].to_pylist() == ["x", "p90"]
    assert made.table["label"].to_pylist() == [0.0, 0.0]
    assert made.dropped == {
        "not_known_yet": 2,
        "superseded": 1,
        "not_final_yet": 3,
        "filtered": 1,
        "null_label": 1,
        "before_history": 1,
    }
    assert build(app, tables_with(tmp_path / "later", rows), 101).table["label"].to_pylist() == [1.0, 0.0, 0.0, 0.0]


def test_no_usable_label_says_when_there_will_be_one(tmp_path: Path) -> None:
    tables = tables_with(tmp_path, [pay(10), pay(11, 12), pay(12, fraud=None)])
    with pytest.raises(
        InvalidInput, match=r"no usable label row at 1970-01-01T00:00:14\+00:00 \(3 not final yet\)"
    ) as caught:
        build(app_of(), tables, 14)
    assert caught.value.hint == "labels become usable 5s after their event: the earliest at 1970-01-01T00:00:15+00:00"
    assert build(app_of(), tables, 15).label_rows == 1


def test_the_same_moment_gives_the_same_bytes(tmp_path: Path) -> None:
    rows = [pay(i % 17, c=i % 3, event_id=f"e{i}", amount=i * 0.1, fraud=i % 5 == 0) for i in range(200)]
    one = build(app_of(), tables_with(tmp_path / "one", rows), 40).table
    two = build(app_of(), tables_with(tmp_path / "two", rows[::-1]), 40).table
    for name, table in (("one", one), ("two", two)):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    order = list(zip(one[EVENT_TIME].to_pylist(), one[EVENT_ID].to_pylist(), strict=True))
    assert order == sorted(order)


def test_labels_may_be_conditions_and_numbers(tmp_path: Path) -> None:
    tables = tables_with(
        tmp_path, [pay(1, amount=3.5), pay(2, amount=None), pay(3, amount=float("nan")), pay(4, amount=1.0)]
    )
    yes = app_of({"positive": gn.col("amount") > 2})
    assert build(yes, tables, 99).table["label"].to_pylist() == [1.0, 0.0]
    number = app_of({"column": "amount"}, task="regression")
    assert build(number, tables, 99).table["label"].to_pylist() == [3.5, 1.0]
    with pytest.raises(InvalidInput, match=r"binary, but label 'fraud' holds \[3.5\]"):
        build(app_of({"column": "amount"}), tables, 99)
    with pytest.raises(InvalidInput, match="column 'city' is string"):
        build(app_of({"column": "city"}), tables, 99)
    with pytest.raises(InvalidInput, match="where is float64, not bool"):
        build(app_of({"where": gn.col("amount") * 2}), tables, 99)


def test_an_input_named_label_is_refused(tmp_path: Path) -> None:
    source = gn.DataSource("src", path="x.csv", id="id", event_time="at")
    view = gn.FeatureView("v", entity=gn.Entity("e", key="k"), source=source, features=[gn.Column("x")])
    model = gn.Model("m", label=gn.Label("y", source=source, delay="1s"), features=[view], request={"label": "string"})
    schema = {"k": "int64", "x": "float64", "y": "bool", "label": "string", "id": "string", "at": "timestamp"}
    app = App.of("app", [model, gn.Entity("e", key="k")]).with_schemas({"src": schema})
    with pytest.raises(InvalidDefinition, match="an input named 'label'"):
        build(app, DeltaTables(tmp_path), 1)


def test_nothing_ingested_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'pay' holds no rows yet"):
        build(app_of(), DeltaTables(tmp_path), 1)


@pytest.mark.cluster
def test_a_training_set_built_on_ray_is_the_same(tmp_path: Path, ray_cluster: Any) -> None:
    rows = [pay(i % 40, i % 40 + i % 3, c=i % 7, event_id=f"e{i % 250}", amount=i * 0.5) for i in range(300)]
    tables = tables_with(tmp_path, rows)
    here = build_training_set(app_of(), "m", tables, 99 * S, resolve)
    there = build_training_set(app_of(), "m", tables, 99 * S, resolve, local_rows=1)
    assert there.table.equals(here.table)


def times_only(*seconds: float) -> TrainingSet:
    table = pa.table({EVENT_TIME: timestamps(np.array([int(s * S) for s in seconds], np.int64))})
    return TrainingSet(table, {}, len(seconds), {}, 0, 0)


def split_counts(made: TrainingSet, holdout: float, purge_s: float = 0) -> tuple[int, int]:
    train, held_out = made.split(holdout, purge_us=int(purge_s * S))
    return train.num_rows, held_out.num_rows


def test_the_holdout_is_later_and_ties_stay_together() -> None:
    assert split_counts(times_only(1, 2, 3, 4, 5), 0.2) == (4, 1)
    assert split_counts(times_only(1, 2, 2, 2, 3), 0.6) == (4, 1)
    assert split_counts(times_only(1, 2, 2, 2), 0.5) == (1, 3)
    assert split_counts(times_only(1, 2), 0.01) == (1, 1)
    train, held_out = times_only(1, 2, 3, 3, 4).split(0.3)
    assert max(train[EVENT_TIME].to_pylist()) < min(held_out[EVENT_TIME].to_pylist())


def test_purged_rows_are_on_neither_side() -> None:
    assert split_counts(times_only(1, 2, 3, 4, 5), 0.2, purge_s=2) == (2, 1)
    assert split_counts(times_only(1, 2, 3, 4, 5), 0.2, purge_s=1) == (3, 1)


@given(
    st.lists(st.integers(0, 60), min_size=2, max_size=40), st.floats(0.01, 0.99), st.integers(0, 20)
)  # fmt: skip
def test_no_label_is_learned_that_was_not_final_when_the_holdout_begins(
    seconds: list[int], holdout: float, delay_s: int
) -> None:  # fmt: skip
    assume(min(seconds) < max(seconds))
    made = times_only(*sorted(seconds))
    first_us = times_us(made.split(holdout)[1], EVENT_TIME).min()
    if min(seconds) * S + delay_s * S >= first_us and delay_s:
        with pytest.raises(InvalidInput, match="was final"):
            made.split(holdout, purge_us=delay_s * S)
        return
    train, held_out = made.split(holdout, purge_us=delay_s * S)
    assert times_us(held_out, EVENT_TIME).min() == first_us
    learned = times_us(train, EVENT_TIME)
    assert not (learned + delay_s * S > first_us).any()
    left_out = times_us(made.table, EVENT_TIME)[len(learned) : len(seconds) - held_out.num_rows]
    assert (left_out + delay_s * S >= first_us).all(), "a label that was final is not learned"


def test_a_delay_longer_than_the_rows_leaves_none_to_learn() -> None:
    with pytest.raises(InvalidInput, match="none of 4 label rows was final 9s before the first of 1 held-out rows"):
        times_only(1, 2, 3, 4, 5).split(0.2, purge_us=9 * S)


@pytest.mark.parametrize("made", [times_only(1), times_only(2, 2, 2)])
def test_rows_of_one_time_cannot_be_split(made: TrainingSet) -> None:
    with pytest.raises(InvalidInput, match="cannot be split by time"):
        made.split(0.2)
