"""Every statistic of a window equals its brute force: on what hypothesis draws, on many rows, and on its own rules."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.drawn_views import (
    OPERANDS,
    UNTILED,
    aggregations,
    assert_equal,
    assert_equals_oracle,
    requests_rows,
    row_value,
    seconds,
    source_rows,
)

import gnomon as gn
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.tiles import SKETCHES
from gnomon.errors import InvalidInput
from gnomon.features import window_lists
from gnomon.features.view_rows import REQUEST_TIME, view_values
from gnomon.testing.point_in_time_oracle import view_row
from gnomon.testing.view_cases import BIG, S, app_of, events_table, requests_table


@pytest.mark.parametrize("function", sorted(OPERANDS))
@settings(max_examples=50, deadline=None)
@given(data=st.data(), rows=source_rows(), asked=requests_rows)
def test_equals_the_oracle(function: str, data: st.DataObject, rows: list[Any], asked: list[Any]) -> None:
    features = [data.draw(aggregations(function, f"a{i}")) for i in range(3)]
    as_of = data.draw(st.none() | seconds.map(lambda s: s * S))
    chunk_pairs = data.draw(st.sampled_from([1, 7, 10_000]))
    assert_equals_oracle(("k",), features, rows, asked, as_of, chunk_pairs)


def many_rows(number: int, entities: int, seed: int) -> list[dict[str, Any]]:
    """Rows with ties, nulls, NaN, late rows and, for one in ten, a correction, which may be of another entity."""
    dice = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(number):
        corrects = bool(rows) and dice.random() < 0.1
        event = dice.randrange(1000)
        rows.append({
            "k": dice.choice([None, *[dice.randrange(entities) for _ in range(20)]]), "name": "p",
            "x": dice.choice([None, math.nan, 0.5, dice.gauss(0, 100), dice.gauss(0, 100)]),
            "n": dice.choice([None, BIG, dice.randrange(5), dice.randrange(5)]), "b": dice.choice([None, True, False]),
            "s": dice.choice([None, "a", "b", "ä", '"']), "ts": dice.choice([None, 5 * S]), EVENT_TIME: event * S,
            KNOWN_TIME: (event + dice.choice([0, 0, 1, 300])) * S, INGESTED_AT: 0,
            EVENT_ID: rows[dice.randrange(len(rows))][EVENT_ID] if corrects else f"e{i}", DIGEST: f"{i:08d}",
        })  # fmt: skip
    return rows


def test_a_hundred_thousand_rows_equal_the_oracle() -> None:
    """The oracle sees, for each request, all versions of the events of which any version was of the entity."""
    positive = gn.col("x") > 0
    sliding: list[dict[str, Any]] = [{"window": "50s"}, {"window": "200s", "lag": "100s", "where": positive}]
    tiled = [{**window, "tile": "30s"} for window in sliding]
    parameters: dict[str, Any] = {"quantile": {"q": 0.9}, "last_k": {"k": 3}, "top_k": {"k": 2}}
    parameters |= {"approx_quantile": {"q": 0.9}, "approx_top_k": {"k": 2}}
    columns = {"last_k": "n", "top_k": "s", "first": "s", "time_since_last": "*", "count": "*", "sum": "n"}
    columns["approx_top_k"] = "s"
    features = [
        gn.Aggregation(columns.get(f, "x"), f, name=f"{f}_{i}", **window, **parameters.get(f, {}))
        for i, window in enumerate([*sliding, *tiled])
        for f in sorted(OPERANDS)
        if f not in (UNTILED if "tile" in window else SKETCHES.values())
    ]
    entities, dice = 2_000, random.Random(4)
    rows = many_rows(100_000, entities, 3)
    versions, ids = defaultdict(list), defaultdict(set)
    for row in rows:
        versions[row[EVENT_ID]].append(row)
        ids[row["k"]].add(row[EVENT_ID])
    asked: list[dict[str, Any]] = [
        {"k": dice.choice([None, entities + 1, *[dice.randrange(entities) for _ in range(50)]]), "name": "p",
         REQUEST_TIME: dice.randrange(1100) * S} for _ in range(3_000)
    ]  # fmt: skip
    app, view = app_of(("k",), features)
    found = view_values(app, view, events_table(rows), requests_table(asked), chunk_pairs=10_000).to_pylist()
    for request, got in zip(asked, found, strict=True):
        near = [row for event in ids[request["k"]] for row in versions[event]]
        wanted = view_row(view, ["k"], near, request, request[REQUEST_TIME], row_value)
        for feature in features:
            assert_equal(feature, got[feature.name], wanted[feature.name], 1e6)
    assert all(any(row[f.name] is not None for row in found) for f in features)


def rows_of(values: dict[str, Any], times: list[float], known: list[float] | None = None) -> pa.Table:
    """Rows of entity 1 at the given seconds, in order."""
    columns = {name: list(column) for name, column in values.items()}
    rows = []
    for i, time in enumerate(times):
        row = dict.fromkeys(("x", "n", "b", "s", "ts")) | {name: column[i] for name, column in columns.items()}
        row |= {"k": 1, "name": "p", EVENT_TIME: int(time * S), KNOWN_TIME: int((known or times)[i] * S)}
        rows.append(row | {INGESTED_AT: 0, EVENT_ID: f"e{i}", DIGEST: "d"})
    return events_table(rows)


def values_at(features: list[Any], events: pa.Table, *times: float) -> dict[str, list[Any]]:
    app, view = app_of(("k",), features)
    asked = requests_table([{"k": 1, "name": "p", REQUEST_TIME: int(t * S)} for t in times])
    found: dict[str, list[Any]] = view_values(app, view, events, asked).to_pydict()
    return found


@settings(max_examples=100, deadline=None)
@given(numbers=st.lists(st.floats(-1e150, 1e150), min_size=1, max_size=30), q=st.floats(1e-6, 1 - 1e-6))
def test_a_quantile_is_numpys_to_the_bit(numbers: list[float], q: float) -> None:
    feature = gn.Aggregation("x", "quantile", q=q, window="100s", name="f")
    found = values_at([feature], rows_of({"x": numbers}, list(range(len(numbers)))), 50)
    assert found["f"] == [float(np.quantile(np.array(numbers), q))]


@pytest.mark.parametrize(
    ("numbers", "q", "wanted"),
    [
        ([1.0, 2.0, math.inf], 0.5, 2.0),
        ([1.0, math.inf], 0.7, math.inf),
        ([-math.inf, 1.0], 0.7, -math.inf),
        ([-math.inf, math.inf], 0.5, None),
        ([math.inf, math.inf], 0.3, math.inf),
        ([-1.5e308, 1.5e308], 0.5, 0.0),
    ],
)
def test_a_quantile_beside_an_infinity_is_what_it_must_be(numbers: list[float], q: float, wanted: Any) -> None:
    feature = gn.Aggregation("x", "quantile", q=q, window="100s", name="f")
    assert values_at([feature], rows_of({"x": numbers}, list(range(len(numbers)))), 50)["f"] == [wanted]


def test_a_variance_keeps_its_digits_beside_a_large_mean() -> None:
    feature = gn.Aggregation("x", "var", window="9s", name="v")
    assert values_at([feature], rows_of({"x": [1e9, 1e9 + 2, 1e9 + 4]}, [1, 2, 3]), 1, 3)["v"] == [None, 4.0]


def test_lists_are_json_with_every_digit() -> None:
    last = {
        name: gn.Aggregation(name, "last_k", k=9, window="99s", name=f"{name}_last") for name in ("x", "n", "b", "s")
    }
    moment = 1_767_225_600 * S + 1
    last["ts"] = gn.Aggregation("ts", "last_k", k=1, window="99s", name="ts_last")
    values = {
        "x": [0.1, math.nan, -0.0, math.inf, -math.inf, 1e-7], "n": [2**63 - 1, None, -(2**63), BIG, 0, 1],
        "b": [True, False, None, True, True, True], "s": ['"', "\\", "\n", "é☃", "", None],
        "ts": [None, None, None, None, None, moment],
    }  # fmt: skip
    found = {
        name: texts[0] for name, texts in values_at(list(last.values()), rows_of(values, [1, 2, 3, 4, 5, 6]), 9).items()
    }
    assert found["x_last"] == '[1e-07,"-Infinity","Infinity",-0.0,0.1]'
    assert json.loads(found["n_last"]) == [1, 0, BIG, -(2**63), 2**63 - 1]
    assert found["b_last"] == "[true,true,true,false,true]"
    assert json.loads(found["s_last"]) == ["", "é☃", "\n", "\\", '"']
    assert found["ts_last"] == '["2026-01-01T00:00:00.000001Z"]'


def test_equally_frequent_values_come_in_their_own_order() -> None:
    values = {
        "s": ["b", "B", "a", "b", None, "a"],
        "n": [10, 9, 9, 10, -1, None],
        "x": [0.0, -0.0, 1.0, 1.0, None, -1.0],
    }
    features = [gn.Aggregation(name, "top_k", k=2, window="99s", name=name) for name in values]
    found = values_at(features, rows_of(values, [1, 2, 3, 4, 5, 6]), 9)
    assert found == {"s": ['["a","b"]'], "n": ["[9,10]"], "x": ["[0.0,1.0]"]}


def test_lists_that_no_column_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_lists, "_MOST_BYTES", 30)
    feature = gn.Aggregation("n", "last_k", k=9, window="99s", name="f")
    with pytest.raises(InvalidInput, match=r"the lists of aggregation 'f' take \d+ bytes, above 30"):
        values_at([feature], rows_of({"n": [1, 2]}, [1, 2]), *range(20))


def test_time_since_last_counts_to_the_time_asked_from_the_newest_row_with_a_value() -> None:
    features = [
        gn.Aggregation("*", "time_since_last", window="10s", name="row"),
        gn.Aggregation("n", "time_since_last", window="10s", name="value"),
        gn.Aggregation("*", "time_since_last", window="10s", lag="4s", name="lagged"),
    ]
    found = values_at(features, rows_of({"n": [5, None]}, [1, 3.000001]), 0, 1, 4, 5, 11, 17.000001)
    assert found["row"] == [None, 0.0, 0.999999, 1.999999, 7.999999, None]
    assert found["value"] == [None, 0.0, 3.0, 4.0, None, None]
    assert found["lagged"] == [None, None, None, 4.0, 7.999999, None]


def test_a_lagged_window_ends_before_the_time_asked_but_knows_what_is_known_then() -> None:
    """Labels that become known three seconds later: without a lag the window is blind at its end."""
    events = rows_of({"n": [1, 1, 1]}, [1, 2, 3], known=[4, 5, 6])
    fresh = gn.Aggregation("n", "count", window="2s", name="fresh")
    lagged = gn.Aggregation("n", "count", window="2s", lag="3s", name="lagged")
    found = values_at([fresh, lagged], events, 3, 4, 5, 6, 7, 8)
    assert found == {"fresh": [None, 0, 0, 0, 0, 0], "lagged": [None, 1, 2, 2, 1, 0]}


@pytest.mark.parametrize(("as_of", "wanted"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_the_knowledge_of_a_moment_inside_the_lag_hides_what_came_after_it(as_of: int, wanted: int) -> None:
    """Also of rows that are known at once, for which nothing is looked up where the moment is late enough."""
    app, view = app_of(("k",), [gn.Aggregation("*", "count", window="9s", lag="2s", name="c")])
    asked = requests_table([{"k": 1, "name": "p", REQUEST_TIME: 5 * S}])
    found = view_values(app, view, rows_of({}, [1, 2, 3, 4]), asked, as_of_us=as_of * S)
    assert found["c"].to_pylist() == [wanted]


def test_a_share_is_a_derived_feature_and_null_where_there_is_no_whole() -> None:
    features = [
        gn.Aggregation("x", "sum", window="3s", name="all"),
        gn.Aggregation("x", "sum", window="3s", where=gn.col("b").equals(True), name="night"),
        gn.Derived("share", gn.col("night") / gn.col("all")),
        gn.Derived("share_or_none", (gn.col("night") / gn.col("all")).fill_null(0.0)),
    ]
    events = rows_of({"x": [3.0, 1.0, 0.0], "b": [True, False, True]}, [1, 2, 9])
    found = values_at(features, events, 0, 1, 2, 4, 9)
    assert found["share"] == [None, 1.0, 0.75, None, None]
    assert found["share_or_none"] == [None, 1.0, 0.75, 0.0, 0.0]  # at 0 the entity is unknown, which is not 0
