"""view_values equals the brute-force oracle on every input that hypothesis finds, whatever the chunk size and order."""

from __future__ import annotations

import math
import operator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.expressions import Binary, ColumnRef, Constant
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import feature_dtype
from gnomon.errors import InvalidInput, NotFound
from gnomon.features.event_columns import timestamps
from gnomon.features.expression_kernels import ARROW_TYPES
from gnomon.features.view_rows import REQUEST_TIME, view_rows, view_values
from gnomon.testing.point_in_time_oracle import view_row

S = 1_000_000
BIG = 2**53 + 1
SCHEMA = {
    "k": "int64",
    "name": "string",
    "id": "string",
    "at": "timestamp",
    "x": "float64",
    "n": "int64",
    "b": "bool",
    "s": "string",
    "ts": "timestamp",
}
TYPES = {"x": pa.float64(), "n": pa.int64(), "b": pa.bool_(), "s": pa.string(), "k": pa.int64(), "name": pa.string()}

seconds = st.integers(0, 12)
VALUES = {
    "x": st.none() | st.sampled_from([0.0, -1.5, 2.25, 1e9 + 0.1, 1e9, math.nan]) | st.floats(-1e6, 1e6),
    "n": st.none() | st.integers(-3, 3) | st.sampled_from([BIG, BIG + 1, 2**62, 2**63 - 1, -(2**63)]),
    "b": st.none() | st.booleans(),
    "s": st.none() | st.sampled_from(["a", "b", "B", "", "é"]),
    "ts": st.none() | st.sampled_from([0, S, 5 * S + 1]),
}
KEYS = {"k": st.none() | st.sampled_from([1, 2, BIG, BIG - 1]), "name": st.none() | st.sampled_from(["p", "q"])}


@st.composite
def source_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows with ties, nulls, corrections (equal ids), late rows (known after the event) and rows known early."""
    row = st.fixed_dictionaries(
        {
            **KEYS,
            **VALUES,
            EVENT_TIME: seconds.map(lambda s: s * S),
            KNOWN_TIME: seconds.map(lambda s: s * S),
            INGESTED_AT: st.integers(0, 2),
            EVENT_ID: st.none() | st.sampled_from([f"e{i}" for i in range(12)]),
        }
    )
    rows = draw(st.lists(row, max_size=24))
    for i, r in enumerate(rows):
        r[DIGEST] = f"{(i * 7919) % 97:04d}{i:04d}"
    return rows


requests_rows = st.lists(
    st.fixed_dictionaries({**KEYS, REQUEST_TIME: st.integers(0, 15 * S) | seconds.map(lambda s: s * S)}), max_size=8
)


def events_table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {c: pa.array([r[c] for r in rows], t) for c, t in TYPES.items()}
    columns["ts"] = pa.array([r["ts"] for r in rows], pa.int64()).cast(ARROW_TYPES["timestamp"])
    for time in (EVENT_TIME, KNOWN_TIME, INGESTED_AT):
        columns[time] = timestamps(pa.array([r[time] for r in rows], pa.int64()))
    for text in (EVENT_ID, DIGEST):
        columns[text] = pa.array([r[text] for r in rows], pa.string())
    return pa.table(columns)


def requests_table(rows: list[dict[str, Any]]) -> pa.Table:
    types = {"k": pa.int64(), "name": pa.string(), REQUEST_TIME: pa.int64()}
    return pa.table({c: pa.array([r[c] for r in rows], t) for c, t in types.items()})


def app_of(keys: tuple[str, ...], features: list[Any], **view: Any) -> tuple[App, FeatureView]:
    source = gn.DataSource("src", path="x.parquet", id="id", event_time="at")
    made = gn.FeatureView("v", entity=gn.Entity("thing", key=keys), source=source, features=features, **view)
    return App.of("app", [source, made, gn.Entity("thing", key=keys)]).with_schemas({"src": SCHEMA}), made


def row_value(expression: Any, row: Any) -> Any:
    """Evaluate the few operators that these tests use, for one row, nulls as in SQL."""
    if isinstance(expression, ColumnRef):
        value = row[expression.name]
        return None if isinstance(value, float) and math.isnan(value) else value
    if isinstance(expression, Constant):
        return expression.value
    assert isinstance(expression, Binary)
    left, right = row_value(expression.left, row), row_value(expression.right, row)
    if left is None or right is None:
        return None
    return {"gt": operator.gt, "mul": operator.mul, "eq": operator.eq}[expression.op](left, right)


EXPRESSIONS = [gn.col("x") * gn.col("x"), gn.col("x") * 2, gn.col("x") * 0.5]
WHERES = [None, gn.col("x") > 0, gn.col("b").equals(True), gn.col("n") > 1]
OPERANDS: dict[str, list[Any]] = {
    "count": ["*", "x", "n", "b", "s", "ts", EXPRESSIONS[0]], "sum": ["x", "n", "b", EXPRESSIONS[0]],
    "count_distinct": ["x", "n", "b", "s", "ts", EXPRESSIONS[1]], "mean": ["x", "b", EXPRESSIONS[1]],
    "min": ["x", "n", "b", "s", "ts", EXPRESSIONS[1]], "max": ["x", "n", "b", "s", "ts"],
    "first": ["x", "n", "b", "s", "ts"], "last": ["x", "n", "b", "s", "ts", EXPRESSIONS[2]],
    "std": ["x", "b", EXPRESSIONS[2]],
}  # fmt: skip
DEFAULTS = {"x": 7.5, "n": BIG, "b": True, "s": "none", "ts": None}


@st.composite
def view_features(draw: st.DrawFn) -> list[Any]:
    features: list[Any] = []
    for name in draw(st.lists(st.sampled_from(["x", "n", "b", "s", "ts"]), max_size=3)):
        features.append(
            gn.Column(name, name=f"c{len(features)}", default=draw(st.sampled_from([None, DEFAULTS[name]])))
        )
    for function in draw(st.lists(st.sampled_from(sorted(OPERANDS)), min_size=0 if features else 1, max_size=4)):
        window = draw(st.sampled_from(["1s", "3s", "20s", "0.000001s"]))
        features.append(
            gn.Aggregation(
                draw(st.sampled_from(OPERANDS[function])),
                function,
                window=window,
                name=f"a{len(features)}",
                where=draw(st.sampled_from(WHERES)),
            )
        )
    return features


def assert_equal(feature: Any, got: Any, wanted: Any, scale: float) -> None:
    if (
        isinstance(got, float)
        and isinstance(wanted, float)
        and getattr(feature, "function", "") in ("sum", "mean", "std")
    ):
        assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9 * scale), feature
        return
    assert got == wanted, feature
    assert type(got) is type(wanted), feature


@settings(max_examples=400, deadline=None)
@given(
    rows=source_rows(),
    asked=requests_rows,
    features=view_features(),
    keys=st.sampled_from([("k",), ("name",), ("k", "name")]),
    max_age=st.sampled_from([None, "2s", "0s"]),
    policy=st.sampled_from(["null", "serve", "default", "reject"]),
    as_of=st.none() | seconds.map(lambda s: s * S),
    chunk_pairs=st.sampled_from([1, 7, 10_000]),
)
def test_equals_the_brute_force_oracle(
    rows: list[dict[str, Any]],
    asked: list[dict[str, Any]],
    features: list[Any],
    keys: tuple[str, ...],
    max_age: str | None,
    policy: str,
    as_of: int | None,
    chunk_pairs: int,
) -> None:
    app, view = app_of(keys, features, max_age=max_age, on_expired=policy)
    table = view_values(app, view, events_table(rows), requests_table(asked), as_of_us=as_of, chunk_pairs=chunk_pairs)
    assert table.column_names == [f.name for f in view.features]
    assert table.num_rows == len(asked)
    scale = max([1.0, *(x * x if abs(x := row["x"]) > 1 else 1.0 for row in rows if row["x"] is not None)])
    for feature in view.features:
        column = table.column(feature.name)
        assert column.type == ARROW_TYPES[feature_dtype(feature, dict(SCHEMA))]  # type: ignore[arg-type]
        got = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        wanted = [
            view_row(view, keys, rows, request, request[REQUEST_TIME], row_value, as_of_us=as_of)[feature.name]
            for request in asked
        ]
        for mine, theirs in zip(got, wanted, strict=True):
            assert_equal(feature, mine, theirs, scale * len(rows))


@settings(max_examples=60, deadline=None)
@given(rows=source_rows(), asked=requests_rows, seed=st.randoms(use_true_random=False))
def test_order_of_the_files_does_not_matter(rows: list[dict[str, Any]], asked: list[dict[str, Any]], seed: Any) -> None:
    app, view = app_of(
        ("k",), [gn.Column("n"), gn.Aggregation("s", "last", window="9s"), gn.Aggregation("x", "first", window="9s")]
    )
    shuffled = list(rows)
    seed.shuffle(shuffled)
    first = view_values(app, view, events_table(rows), requests_table(asked))
    assert first.equals(view_values(app, view, events_table(shuffled), requests_table(asked)))


def row(
    event: float, known: float | None = None, *, k: Any = 1, event_id: str | None = None, **values: Any
) -> dict[str, Any]:
    base: dict[str, Any] = {"k": k, "name": "p", **dict.fromkeys(VALUES), INGESTED_AT: 0, DIGEST: "d"}
    known_us = int((event if known is None else known) * S)
    return (
        base
        | {EVENT_TIME: int(event * S), KNOWN_TIME: known_us, EVENT_ID: event_id or f"{event}-{known}-{values}"}
        | values
    )


def ask(*times: float, k: Any = 1) -> pa.Table:
    return requests_table([{"k": k, "name": "p", REQUEST_TIME: int(t * S)} for t in times])


def test_window_is_open_on_the_left_and_closed_on_the_right() -> None:
    app, view = app_of(("k",), [gn.Aggregation("*", "count", window="2s", name="c")])
    table = view_values(app, view, events_table([row(1), row(3)]), ask(0.999999, 1, 3, 2.999999, 3.000001))
    assert table["c"].to_pylist() == [0, 1, 1, 1, 1]


def test_a_corrected_event_leaves_its_old_entity_and_time() -> None:
    app, view = app_of(("k",), [gn.Column("n"), gn.Aggregation("n", "sum", window="100s", name="total")])
    events = events_table(
        [row(1, 1, event_id="e", n=5), row(2, 6, event_id="e", k=2, n=8), row(9, 7, event_id="e", k=1, n=3)]
    )
    table = view_values(app, view, events, ask(5, 6, 8, 9))
    assert table.to_pydict() == {"n": [5, None, None, 3], "total": [5, None, None, 3]}
    assert view_values(app, view, events, ask(6, 7, k=2)).to_pydict() == {"n": [8, None], "total": [8, None]}


def test_a_newer_null_replaces_an_older_value() -> None:
    app, view = app_of(("k",), [gn.Column("n", default=4)], on_expired="default", max_age="5s")
    assert view_values(app, view, events_table([row(1, n=1), row(2, n=None)]), ask(0, 1, 2, 8))["n"].to_pylist() == [
        4,
        1,
        None,
        4,
    ]


def test_derived_features_expire_with_the_row_and_follow_windows() -> None:
    ratio = gn.Derived("twice", (gn.col("x") * 2).fill_null(-1))
    app, view = app_of(("k",), [gn.Column("x"), ratio], max_age="2s")
    events = events_table([row(1, x=3.0)])
    assert view_values(app, view, events, ask(0, 1, 2.9, 3), names=["twice"])["twice"].to_pylist() == [
        None,
        6.0,
        6.0,
        None,
    ]
    app, view = app_of(
        ("k",),
        [gn.Aggregation("x", "mean", window="2s", name="m"), gn.Derived("twice", (gn.col("m") * 2).fill_null(-1))],
    )
    assert view_values(app, view, events, ask(0, 1, 3, 4))["twice"].to_pylist() == [-1.0, 6.0, -1.0, -1.0]


def test_rows_hold_their_own_time_when_nothing_expires() -> None:
    app, view = app_of(("k",), [gn.Column("n")], max_age="1s")
    rows = view_rows(app, view, events_table([row(1, 2, n=5)]), ask(1, 50), expire=False)
    assert rows.values["n"].to_pylist() == [None, 5]
    assert (rows.found.tolist(), rows.event_us.tolist(), rows.known_us.tolist()) == ([False, True], [0, S], [0, 2 * S])


def test_many_late_rows_of_one_entity_are_jumped_over() -> None:
    late = [row(i, i + 1000, n=i, event_id=f"e{i}") for i in range(2000)]
    app, view = app_of(("k",), [gn.Column("n")])
    table = view_values(app, view, events_table(late), ask(*range(900, 2000, 7)), chunk_pairs=100)
    assert table["n"].to_pylist() == [t - 1000 if t >= 1000 else None for t in range(900, 2000, 7)]


def test_a_deviation_keeps_its_digits_beside_a_large_mean() -> None:
    app, view = app_of(("k",), [gn.Aggregation("x", "std", window="9s", name="sd")])
    table = view_values(app, view, events_table([row(1, x=1e9), row(2, x=1e9 + 1), row(3, x=1e9 + 2)]), ask(3))
    assert table["sd"].to_pylist() == [1.0]


def test_infinities_that_cancel_give_null() -> None:
    app, view = app_of(
        ("k",), [gn.Aggregation("x", "sum", window="9s", name="t"), gn.Aggregation("x", "max", window="9s", name="m")]
    )
    table = view_values(app, view, events_table([row(1, x=math.inf), row(2, x=-math.inf)]), ask(3))
    assert table.to_pydict() == {"t": [None], "m": [math.inf]}


def test_unfit_requests_are_refused() -> None:
    app, view = app_of(("k",), [gn.Column("n")])
    events = events_table([row(1, n=1)])
    with pytest.raises(InvalidInput, match="no column 'k'"):
        view_values(app, view, events, pa.table({REQUEST_TIME: pa.array([1])}))
    with pytest.raises(InvalidInput, match="key column 'k' is string"):
        view_values(app, view, events, pa.table({"k": ["1"], REQUEST_TIME: [1]}))
    with pytest.raises(InvalidInput, match="nulls"):
        view_values(app, view, events, pa.table({"k": [1], REQUEST_TIME: pa.array([None], pa.int64())}))
    with pytest.raises(NotFound, match="'m'"):
        view_values(app, view, events, ask(1), names=["m"])
