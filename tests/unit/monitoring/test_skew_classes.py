"""Classes of mismatches by their definition: what was served is computed by brute force, and so is what explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import gnomon as gn
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.online_store import Status
from gnomon.monitoring.skew_cells import CLASSES, SkewRows
from gnomon.monitoring.skew_classes import Explanations, classify
from gnomon.monitoring.skew_clocks import explain_by_clock
from gnomon.monitoring.skew_replay import ViewReplay, events_of
from gnomon.monitoring.skew_values import as_logged, same
from gnomon.testing.point_in_time_oracle import view_row
from gnomon.testing.view_cases import TYPES, app_of, events_table

S = 1_000_000
NOW = 1_000 * S
WINDOWS = [gn.Aggregation("*", "count", window="10s"), gn.Aggregation("x", "sum", window="20s")]
COLUMNS = [gn.Column("x"), gn.Column("s")]
TYPE = {"count_10s": pa.int64(), "x_sum_20s": pa.float64(), **TYPES}


@st.composite
def event_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for number in range(draw(st.integers(1, 8))):
        at = draw(st.integers(1, 40))
        known = at + draw(st.integers(0, 30))
        values = dict.fromkeys(TYPES) | {"ts": None, "k": draw(st.integers(1, 2)), "name": "a"}
        values |= {"x": float(draw(st.integers(0, 9))), "s": draw(st.sampled_from("ab"))}
        event = draw(st.sampled_from([f"e{number}", "shared"]))
        times = {EVENT_TIME: at * S, KNOWN_TIME: known * S, INGESTED_AT: known * S}
        rows.append({**values, **times, EVENT_ID: event, DIGEST: f"{number:032}"})
    return rows


def of(view: Any, rows: Sequence[Mapping[str, Any]], k: int, at: int, knowledge: int) -> dict[str, Any]:
    return view_row(view, ["k"], rows, {"k": k}, at, lambda e, row: None, as_of_us=knowledge)


def classes(
    features: list[Any], rows: list[dict[str, Any]], asked: Sequence[tuple[int, int, int]],
    served: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]], moments: Sequence[int] = (),
) -> dict[str, list[str | None]]:  # fmt: skip
    """Classify what was served for (key, time, age), against what was expected."""
    app, view = app_of(("k",), features)
    keys = pa.table({"k": pa.array([k for k, _, _ in asked], pa.int64())})
    events, stored = events_of(app, view, events_table(rows), keys)
    names = [f.name for f in features]
    values = {n: as_logged(pa.array([row[n] for row in served], TYPE[n])) for n in names}
    wanted = {n: as_logged(pa.array([row[n] for row in expected], TYPE[n])) for n in names}
    case = SkewRows(
        keys, np.array([t for _, t, _ in asked], np.int64), np.array([a for _, _, a in asked], np.int64),
        {n: np.full(len(asked), Status.PRESENT, np.int64) for n in names}, values,
        {n: ~same(values[n], wanted[n]) for n in names},
    )  # fmt: skip
    by = Explanations(
        ViewReplay(app, view, events), ViewReplay(app, view, stored), lambda: iter(()),
        np.array(moments, np.int64), NOW, explain_by_clock,
    )  # fmt: skip
    found = classify(case, by)
    return {n: [None if code < 0 else CLASSES[code] for code in codes.tolist()] for n, codes in found.items()}


@settings(deadline=None, max_examples=200)
@given(event_rows(), st.lists(st.tuples(st.integers(1, 2), st.integers(1, 50), st.integers(0, 30)), min_size=1))
def test_what_a_materialization_had_written_is_stale_or_late_and_says_which(
    rows: list[dict[str, Any]], asked: list[tuple[int, int, int]]
) -> None:
    view = app_of(("k",), WINDOWS)[1]
    triples = [(k, t * S, min(age, t) * S) for k, t, age in asked]
    served = [of(view, rows, k, t - a, t - a) for k, t, a in triples]
    expected = [of(view, rows, k, t, t) for k, t, a in triples]
    later = [of(view, rows, k, t - a, t) for k, t, a in triples]
    for name, found in classes(WINDOWS, rows, triples, served, expected).items():
        for i, kind in enumerate(found):
            if served[i][name] == expected[i][name]:
                assert kind is None
            else:
                assert kind == ("late_data" if later[i][name] == expected[i][name] else "stale")


@settings(deadline=None, max_examples=200)
@given(event_rows(), st.lists(st.tuples(st.integers(1, 2), st.integers(1, 50), st.integers(0, 30)), min_size=1))
def test_a_column_of_a_known_materialization_is_explained_by_it(
    rows: list[dict[str, Any]], asked: list[tuple[int, int, int]]
) -> None:
    view = app_of(("k",), [*COLUMNS, gn.Column("ts")])[1]
    for row in rows:
        row["ts"] = row[EVENT_TIME]
    moment = 20 * S
    triples, served, expected = [], [], []
    for k, seconds, _ in asked:
        t = max(seconds * S, moment)
        was, should = of(view, rows, k, moment, moment), of(view, rows, k, t, t)
        triples.append((k, t, -1 if was["ts"] is None else t - was["ts"]))
        served.append(was)
        expected.append(should)
    for name, found in classes(COLUMNS, rows, triples, served, expected, [moment]).items():
        for i, kind in enumerate(found):
            k, t, _ = triples[i]
            late = of(view, rows, k, moment, t)[name] == expected[i][name]
            assert kind == (None if served[i][name] == expected[i][name] else "late_data" if late else "stale")


@settings(deadline=None, max_examples=50)
@given(event_rows(), st.lists(st.tuples(st.integers(1, 2), st.integers(1, 50), st.integers(0, 30)), min_size=1))
def test_a_value_that_never_was_is_unexplained(rows: list[dict[str, Any]], asked: list[tuple[int, int, int]]) -> None:
    view = app_of(("k",), WINDOWS)[1]
    triples = [(k, t * S, min(age, t) * S) for k, t, age in asked]
    expected = [of(view, rows, k, t, t) for k, t, _ in triples]
    served = [{"count_10s": 1000, "x_sum_20s": row["x_sum_20s"]} for row in expected]
    found = classes(WINDOWS, rows, triples, served, expected)
    assert found == {"count_10s": ["unexplained"] * len(triples), "x_sum_20s": [None] * len(triples)}


def rows_of(*rows: tuple[int, int, float], event: str | None = None) -> list[dict[str, Any]]:
    """Return rows of key 1 from (event second, known second, x), of one event where it is named."""
    return [
        {**dict.fromkeys(TYPES), "ts": None, "k": 1, "name": "a", "x": x, "s": "a", EVENT_TIME: at * S,
         KNOWN_TIME: known * S, INGESTED_AT: known * S, EVENT_ID: event or f"e{at}", DIGEST: f"{known:032}"}
        for at, known, x in rows
    ]  # fmt: skip


def kind_of(rows: list[dict[str, Any]], age: int, served: float, expected: float, moments: Sequence[int] = ()) -> Any:
    """Return the class of a column's value that was served at second 30 with an age in seconds."""
    values = [{"x": served, "s": "a"}], [{"x": expected, "s": "a"}]
    return classes(COLUMNS, rows, [(1, 30 * S, age * S)], *values, moments)["x"][0]


def test_a_row_behind_several_newer_ones_is_stale() -> None:
    assert kind_of(rows_of((10, 10, 1.0), (15, 15, 2.0), (16, 16, 3.0)), 20, 1.0, 3.0) == "stale"


def test_a_version_that_became_known_after_its_event_and_was_corrected_is_late_data() -> None:
    assert kind_of(rows_of((10, 12, 1.0), (10, 20, 2.0), event="e"), 20, 1.0, 2.0) == "late_data"


def test_a_value_whose_age_is_that_of_no_row_is_not_stale() -> None:
    rows = rows_of((10, 10, 1.0), (25, 25, 2.0))
    assert kind_of(rows, 20, 1.0, 2.0, [20 * S]) == "stale"
    assert kind_of(rows, 18, 1.0, 2.0, [20 * S]) == "unexplained"


def test_a_row_of_the_future_is_the_clocks() -> None:
    rows = rows_of((1, 1, 1.0), (9, 9, 2.0))
    found = classes(COLUMNS, rows, [(1, 5 * S, -4 * S)], [{"x": 2.0, "s": "a"}], [{"x": 1.0, "s": "a"}])
    assert found == {"x": ["clock"], "s": [None]}
