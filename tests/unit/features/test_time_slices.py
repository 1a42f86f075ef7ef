"""Joining slice by slice of time gives what joining all at once gives, and holds a slice's rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.drawn_views import requests_rows, source_rows, view_features

import gnomon as gn
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.features.event_order import SUPERSEDED, superseded_us
from gnomon.features.time_slices import time_slices
from gnomon.features.view_rows import REQUEST_TIME, view_values
from gnomon.testing.view_cases import S, app_of, events_table, requests_table

DAY_US = 86_400_000_000


@given(
    source_rows(), requests_rows, view_features(), st.sampled_from([("k",), ("k", "name")]),
    st.sampled_from([1, 3, 8, 1000]), st.none() | st.integers(0, 15 * S),
    st.sampled_from([{}, {"max_age": "4s"}, {"max_age": "4s", "on_expired": "default"}]),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_slices_give_what_all_rows_give(
    rows: list[dict[str, Any]], asked: list[dict[str, Any]], features: list[Any], keys: tuple[str, ...],
    most_rows: int, as_of_us: int | None, policy: dict[str, Any],
) -> None:  # fmt: skip
    app, view = app_of(keys, features, **policy)
    events, requests = events_table(rows), requests_table(asked)
    events = events.append_column(SUPERSEDED, pa.array(superseded_us(events)))
    whole = view_values(app, view, events, requests, as_of_us=as_of_us)
    seen: list[int] = []
    for mine, some in time_slices(app, view, events, requests, most_rows, as_of_us):
        found = view_values(app, view, some, requests.take(pa.array(mine)), as_of_us=as_of_us)
        assert found.equals(whole.take(pa.array(mine)))
        seen += mine.tolist()
    assert sorted(seen) == list(range(len(asked)))


def event(event_id: str, k: int, at: int, known: int, x: float) -> dict[str, Any]:
    values = dict.fromkeys(("name", "n", "b", "s", "ts"))
    return {
        **values, "k": k, "x": x, EVENT_ID: event_id, EVENT_TIME: at * S, KNOWN_TIME: known * S, INGESTED_AT: 0,
        DIGEST: f"{known}",
    }  # fmt: skip


FILLING = [event(f"f{n}", 2, 0, 0, 0.0) for n in range(6)]


@pytest.mark.parametrize(
    ("feature", "rows", "values"),
    [
        (gn.Aggregation("*", "count", window="1s"), [event("a", 1, 1, 1, 5.0), event("a", 2, 2, 2, 5.0)], [0, 0]),
        (gn.Column("x"), [event("b", 1, 0, 0, 4.0), event("a", 1, 1, 1, 5.0), event("a", 1, 1, 10, 6.0)], [5.0, 6.0]),
        (gn.Column("x"), [event("a", 1, 1, 10, 6.0), event("b", 1, 0, 0, 5.0)], [5.0, 6.0]),
    ],
    ids=["given to another entity", "replaced within a slice", "known within a slice"],
)
def test_old_events_that_matter_are_in_the_slice(feature: Any, rows: list[dict[str, Any]], values: list[Any]) -> None:
    app, view = app_of(("k",), [feature])
    events = events_table([*rows, *FILLING])
    events = events.append_column(SUPERSEDED, pa.array(superseded_us(events)))
    requests = requests_table([{"k": 1, "name": None, REQUEST_TIME: at * S} for at in (9, 11)])
    ((mine, some),) = time_slices(app, view, events, requests, 9, None)
    assert mine.tolist() == [0, 1]
    assert some.num_rows < events.num_rows
    assert view_values(app, view, some, requests).column(feature.name).to_pylist() == values


@pytest.mark.parametrize(
    "features",
    [
        [gn.Aggregation("x", "sum", window="7d"), gn.Aggregation("*", "count", window="1d", lag="3d")],
        [gn.Column("x"), gn.Aggregation("x", "sum", window="7d")],
        [gn.Column("x")],
    ],
    ids=["windows", "mixed", "columns"],
)
def test_a_slice_of_one_busy_entity_is_bounded(features: list[Any]) -> None:
    """A year of one entity's events, some known late and some corrected: no slice is much larger than asked for."""
    dice, number, most_rows = np.random.default_rng(5), 60_000, 10_000
    event = np.sort(dice.integers(0, 365 * DAY_US, number))
    known = event + np.where(dice.random(number) < 0.1, dice.integers(0, 2 * DAY_US, number), 0)
    ids = [f"e{n}" for n in dice.integers(0, number * 9 // 10, number)]
    times = {EVENT_TIME: event, KNOWN_TIME: known, INGESTED_AT: known}
    events = pa.table({
        "k": np.ones(number, np.int64), "name": ["p"] * number, "x": np.arange(number, dtype=np.float64),
        "n": np.arange(number), "b": np.ones(number, np.bool_), "s": ["a"] * number,
        **{name: pa.array(of, pa.timestamp("us", tz="UTC")) for name, of in times.items()},
        "ts": pa.array(event, pa.timestamp("us", tz="UTC")), EVENT_ID: ids,
        DIGEST: [f"{n:032x}" for n in range(number)],
    })  # fmt: skip
    events = events.append_column(SUPERSEDED, pa.array(superseded_us(events)))
    app, view = app_of(("k",), features)
    requests = pa.table({"k": np.ones(6000, np.int64), REQUEST_TIME: dice.integers(0, 365 * DAY_US, 6000)})
    whole = view_values(app, view, events, requests)
    sizes = []
    for mine, some in time_slices(app, view, events, requests, most_rows, None):
        found = view_values(app, view, some, requests.take(pa.array(mine)))
        assert found.equals(whole.take(pa.array(mine)))
        sizes.append(len(mine) + some.num_rows)
    assert len(sizes) > 5
    assert max(sizes) <= most_rows
