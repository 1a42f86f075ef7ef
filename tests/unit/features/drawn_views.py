"""Views, rows and requests that hypothesis draws, and the comparison with the brute-force oracle.

Used by the tests of view rows and of the window statistics.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import strategies as st

import gnomon as gn
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.expressions import Binary, ColumnRef, Constant, Unary
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
    if isinstance(expression, Unary):
        value = row_value(expression.of, row)
        return None if value is None else value.lower()
    assert isinstance(expression, Binary)
    left, right = row_value(expression.left, row), row_value(expression.right, row)
    if left is None or right is None:
        return None
    value = {"gt": operator.gt, "mul": operator.mul, "eq": operator.eq}[expression.op](left, right)
    return None if type(value) is int and not -(2**63) <= value < 2**63 else value


TEXT = gn.col("s").apply("lower")
EXPRESSIONS = [gn.col("x") * gn.col("x"), gn.col("x") * 2, gn.col("x") * 0.5]
WHERES = [None, gn.col("x") > 0, gn.col("b").equals(True), gn.col("n") > 1]
EVERY = ["x", "n", "b", "s", "ts"]
LISTED = ["x", "n", "b", "s", EXPRESSIONS[2], TEXT, gn.col("n") * 2]
OPERANDS: dict[str, list[Any]] = {
    "count": ["*", *EVERY, EXPRESSIONS[0], TEXT], "count_distinct": [*EVERY, EXPRESSIONS[1], TEXT],
    "sum": ["x", "n", "b", EXPRESSIONS[0]], "mean": ["x", "b", EXPRESSIONS[1]],
    "min": [*EVERY, EXPRESSIONS[1]], "max": EVERY, "first": EVERY, "last": [*EVERY, EXPRESSIONS[2]],
    "std": ["x", "b", EXPRESSIONS[2]], "var": ["x", "b", EXPRESSIONS[1]], "quantile": ["x", "n", "b", EXPRESSIONS[2]],
    "last_k": LISTED, "top_k": LISTED, "time_since_last": ["*", *EVERY, EXPRESSIONS[0], TEXT],
    "approx_count_distinct": [*EVERY, EXPRESSIONS[1], TEXT], "approx_quantile": ["x", "n", "b", EXPRESSIONS[2]],
    "approx_top_k": LISTED,
}  # fmt: skip
TILES = {"1s": ["0.3s", "0.5s"], "3s": ["1s", "2s", "2.999999s"], "20s": ["1s", "7s"], "520w": ["1w", "400w"]}
UNTILED = ("count_distinct", "quantile", "top_k")
DEFAULTS = {"x": 7.5, "n": BIG, "b": True, "s": "none", "ts": None}


@st.composite
def aggregations(draw: st.DrawFn, function: str, name: str) -> gn.Aggregation:
    """An aggregation of any operand that the function takes, window, lag, tile and filter."""
    parameters: dict[str, Any] = {}
    if function.endswith("quantile"):
        parameters["q"] = draw(st.sampled_from([0.5, 0.25, 0.9]) | st.floats(0.001, 0.999))
    if function.endswith("_k"):
        parameters["k"] = draw(st.sampled_from([1, 2, 3, 100]))
    tiled = function.startswith("approx") or (function not in UNTILED and draw(st.booleans()))
    window = draw(st.sampled_from(sorted(TILES) if tiled else [*TILES, "0.000001s"]))
    return gn.Aggregation(
        draw(st.sampled_from(OPERANDS[function])), function, name=name, where=draw(st.sampled_from(WHERES)),
        window=window, lag=draw(st.sampled_from([None, None, "1s", "4s", "0.000001s"])),
        tile=draw(st.sampled_from(TILES[window])) if tiled else None, **parameters,
    )  # fmt: skip


@st.composite
def view_features(draw: st.DrawFn) -> list[Any]:
    """Some columns with and without defaults, and some aggregations."""
    features: list[Any] = []
    for name in draw(st.lists(st.sampled_from(EVERY), max_size=3)):
        features.append(
            gn.Column(name, name=f"c{len(features)}", default=draw(st.sampled_from([None, DEFAULTS[name]])))
        )
    for function in draw(st.lists(st.sampled_from(sorted(OPERANDS)), min_size=0 if features else 1, max_size=4)):
        features.append(draw(aggregations(function, f"a{len(features)}")))
    return features


def assert_equals_oracle(
    keys: tuple[str, ...], features: list[Any], rows: list[dict[str, Any]], asked: list[dict[str, Any]],
    as_of: int | None, chunk_pairs: int, **view: Any,
) -> None:  # fmt: skip
    """Check types, values and order of every feature; what is summed as floats within rounding, all else exactly."""
    app, made = app_of(keys, features, **view)
    table = view_values(app, made, events_table(rows), requests_table(asked), as_of_us=as_of, chunk_pairs=chunk_pairs)
    assert table.column_names == [f.name for f in made.features]
    assert table.num_rows == len(asked)
    scale = max([1.0, *(x * x if abs(x := row["x"]) > 1 else 1.0 for row in rows if row["x"] is not None)])
    wanted = [view_row(made, keys, rows, r, r[REQUEST_TIME], row_value, as_of_us=as_of) for r in asked]
    for feature in made.features:
        column = table.column(feature.name)
        assert column.type == ARROW_TYPES[feature_dtype(feature, dict(SCHEMA))]
        got = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for mine, theirs in zip(got, wanted, strict=True):
            assert_equal(feature, mine, theirs[feature.name], scale * len(rows))


def assert_equal(feature: Any, got: Any, wanted: Any, scale: float) -> None:
    summed = getattr(feature, "function", "") in ("sum", "mean", "std", "var")
    if summed and isinstance(got, float) and isinstance(wanted, float):
        assert got == pytest.approx(wanted, rel=1e-9, abs=1e-9 * scale), feature
        return
    if getattr(feature, "function", "") == "approx_quantile":
        assert (got is None) == (wanted is None), feature
        return
    assert got == wanted, feature
    assert type(got) is type(wanted), feature
