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
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.expressions import Binary, ColumnRef, Constant
from gnomon.contracts.layouts import feature_dtype
from gnomon.features.expression_kernels import ARROW_TYPES
from gnomon.features.view_rows import REQUEST_TIME, view_values
from gnomon.testing.point_in_time_oracle import view_row
from gnomon.testing.view_cases import BIG, SCHEMA, S, app_of, events_table, requests_table

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
