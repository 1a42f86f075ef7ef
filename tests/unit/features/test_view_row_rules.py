"""The rules of view rows one by one: edges, ties, corrections, expiry, derived features, numbers, refusals."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

import gnomon as gn
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.errors import InvalidInput, NotFound
from gnomon.features.view_rows import REQUEST_TIME, view_rows, view_values
from gnomon.testing.view_cases import S, app_of, events_table, requests_table


def row(
    event: float, known: float | None = None, *, k: Any = 1, event_id: str | None = None, **values: Any
) -> dict[str, Any]:
    base: dict[str, Any] = {
        "k": k,
        "name": "p",
        **dict.fromkeys(("x", "n", "b", "s", "ts")),
        INGESTED_AT: 0,
        DIGEST: "d",
    }
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
    assert table["c"].to_pylist() == [None, 1, 1, 1, 1]  # before its first event the entity is unknown


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
    assert view_values(app, view, events, ask(0, 1, 3, 4))["twice"].to_pylist() == [None, 6.0, -1.0, -1.0]


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


def test_ties_go_to_the_later_known_then_the_later_ingested_event() -> None:
    app, view = app_of(("k",), [gn.Column("n"), gn.Aggregation("n", "first", window="9s", name="first")])
    known_later = [row(1, 2, event_id="a", n=1) | {INGESTED_AT: 5}, row(1, 3, event_id="b", n=2) | {INGESTED_AT: 4}]
    table = view_values(app, view, events_table(known_later), ask(2, 3))
    assert table.to_pydict() == {"n": [1, 2], "first": [1, 1]}
    ingested_later = [row(1, event_id="b", n=1), row(1, event_id="a", n=2) | {INGESTED_AT: 9}]
    assert view_values(app, view, events_table(ingested_later), ask(3)).to_pydict() == {"n": [2], "first": [1]}


def test_versions_go_by_known_time_before_ingestion() -> None:
    app, view = app_of(("k",), [gn.Column("n")])
    versions = [row(1, 2, event_id="e", n=1) | {INGESTED_AT: 9}, row(1, 3, event_id="e", n=2) | {INGESTED_AT: 1}]
    assert view_values(app, view, events_table(versions), ask(1, 2, 3))["n"].to_pylist() == [None, 1, 2]
    same = [row(1, event_id="e", n=1) | {INGESTED_AT: 9}, row(1, event_id="e", n=2) | {INGESTED_AT: 1}]
    assert view_values(app, view, events_table(same), ask(1))["n"].to_pylist() == [1]
