"""Windows with tiles: their edges, the states of knowledge that partials are made for, and what they cost."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.drawn_views import UNTILED, aggregations, requests_rows, source_rows

import gnomon as gn
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import AggregationFunction
from gnomon.features import tiled_windows
from gnomon.features.event_order import order_events
from gnomon.features.tile_groups import TileGroups
from gnomon.features.tiled_windows import TileChunk, tile_chunks
from gnomon.features.view_rows import REQUEST_TIME, view_values
from gnomon.features.window_edges import WindowEdges
from gnomon.features.window_requests import WindowRequests
from gnomon.testing.view_cases import S, app_of, events_table, requests_table

FUNCTIONS = ["count", "sum", "mean", "min", "max", "std", "var", "first", "last", "last_k", "time_since_last"]
FUNCTIONS += ["approx_count_distinct", "approx_quantile", "approx_top_k"]


def events_at(times: list[float], known: list[float] | None = None, ids: list[str] | None = None) -> pa.Table:
    """Events of entity 1 whose `x` and `n` count up from 0."""
    rows = []
    for i, time in enumerate(times):
        values = {"k": 1, "name": "p", "x": float(i), "n": i, "b": True, "s": "a", "ts": None, INGESTED_AT: i}
        stamps = {EVENT_TIME: int(time * S), KNOWN_TIME: int((known or times)[i] * S)}
        rows.append({**values, **stamps, EVENT_ID: ids[i] if ids else f"e{i}", DIGEST: "d"})
    return events_table(rows)


def counts(feature: gn.Aggregation, events: pa.Table, *times: float) -> list[Any]:
    app, view = app_of(("k",), [feature])
    asked = requests_table([{"k": 1, "name": "p", REQUEST_TIME: int(t * S)} for t in times])
    found: list[Any] = view_values(app, view, events, asked).column(0).to_pylist()
    return found


@pytest.mark.parametrize(
    ("at", "wanted"),
    [(10, 6), (11.999999, 7), (12, 8), (13, 9), (13.999999, 9), (14, 5), (4, 4), (3, 3), (-5, None), (100, 0)],
)
def test_the_far_edge_is_a_multiple_of_the_tile_and_the_near_edge_is_exact(at: float, wanted: int | None) -> None:
    """Events at 1, 2, …, 13: at 10 a window of 6 s begins at 4, and 4 is not in it; from 14 on it begins at 8."""
    feature = gn.Aggregation("*", "count", window="6s", tile="4s", name="f")
    starts = {at: (at - 6) // 4 * 4 for at in (10, 14)}
    assert starts == {10: 4, 14: 8}
    assert counts(feature, events_at([float(n) for n in range(1, 14)]), at) == [wanted]


@settings(max_examples=200, deadline=None)
@given(
    window=st.integers(2, 10**9), lag=st.integers(0, 10**9), share=st.integers(1, 100),
    t=st.integers(-(10**12), 10**12), ago=st.integers(-5, 3 * 10**9),
)  # fmt: skip
def test_edges_agree_with_each_other(window: int, lag: int, share: int, t: int, ago: int) -> None:
    """An event is in the window of a time exactly until it leaves, and never as far back as the reach."""
    edges = WindowEdges(window, lag, max(1, window // share))
    event = t - ago
    inside = edges.after_us(t) < event <= edges.until_us(t)
    assert inside == (event + lag <= t < edges.leaves_us(event))
    assert not inside or ago < edges.reach_us
    assert t - lag - window - edges.tile_us < edges.after_us(t) <= t - lag - window
    assert edges.tile_of(event) * edges.tile_us < event <= (edges.tile_of(event) + 1) * edges.tile_us


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(), function=st.sampled_from(FUNCTIONS), rows=source_rows(), asked=requests_rows,
    as_of=st.none() | st.integers(0, 15 * S),
)  # fmt: skip
def test_a_value_does_not_depend_on_who_else_asks(
    data: st.DataObject, function: str, rows: list[Any], asked: list[Any], as_of: int | None
) -> None:
    """To the bit, sketches too: alone, together, in chunks of any size, and in any order."""
    feature = data.draw(aggregations(function, "f").filter(lambda made: made.tile is not None))
    app, view = app_of(("k",), [feature])
    events = events_table(rows)

    def values(requests: list[Any], chunk_pairs: int) -> list[Any]:
        return view_values(
            app, view, events, requests_table(requests), as_of_us=as_of, chunk_pairs=chunk_pairs
        ).column(0).to_pylist()  # fmt: skip

    together = values(asked, 10**6)
    assert [values([each], 10**6)[0] for each in asked] == together
    assert values(asked, 1) == together
    assert values(asked[::-1], 3)[::-1] == together


def test_a_partial_is_made_once_for_each_state_that_somebody_looks_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tile of four events, one of them corrected much later: a thousand requests see two states of it."""
    made: list[TileChunk] = []
    real = tiled_windows.TileChunk.pieces

    def pieces(chunk: TileChunk, most_events: int) -> Any:
        made.append(chunk)
        return real(chunk, most_events)

    monkeypatch.setattr(tiled_windows.TileChunk, "pieces", pieces)
    events = events_at([1, 2, 3, 4, 3], known=[1, 2, 3, 4, 500], ids=["a", "b", "c", "d", "c"])
    feature = gn.Aggregation("n", "sum", window="2000s", tile="10s")
    found = counts(feature, events, *range(10, 1010))
    assert found == [0 + 1 + 2 + 3] * 490 + [0 + 1 + 4 + 3] * 510
    (chunk,) = made
    assert len(chunk.first) == 2
    assert len(chunk.cells) == 1000


def test_busy_tiles_are_not_gone_over_for_each_request() -> None:
    """100,000 events in a day, 2,000 requests over the next month: pairs with events would be 200 million."""
    dice = np.random.default_rng(3)
    number, day = 100_000, 86_400
    times = np.sort(dice.integers(1, day * S, number))
    stamps = {name: pa.array(times, pa.timestamp("us", tz="UTC")) for name in (EVENT_TIME, KNOWN_TIME, INGESTED_AT)}
    values = dice.normal(size=number)
    events = pa.table({
        "k": np.ones(number, np.int64), "name": ["p"] * number, "x": values, **stamps,
        EVENT_ID: [f"e{n}" for n in range(number)], DIGEST: ["d"] * number,
    })  # fmt: skip
    app, view = app_of(("k",), [gn.Aggregation("x", "sum", window="60d", tile="1h", name="f")])
    asked = pa.table({"k": np.ones(2000, np.int64), REQUEST_TIME: dice.integers(day, 30 * day, 2000) * S})
    found = view_values(app, view, events, asked, chunk_pairs=100_000).column("f").to_numpy()
    by_hour = np.add.reduceat(values, np.flatnonzero(np.diff((times - 1) // (3600 * S), prepend=-1)))
    assert set(found) == {np.add.reduceat(by_hour, [0])[0]}


def test_a_variance_keeps_its_digits_across_tiles() -> None:
    rows = events_at([1, 2, 3, 4, 5])
    big = rows.set_column(rows.column_names.index("x"), "x", pa.array([1e9, 1e9 + 2, 1e9 + 4, 1e9 + 6, 1e9 + 8]))
    assert counts(gn.Aggregation("x", "var", window="60s", tile="2s", name="v"), big, 5) == [10.0]


def test_sums_of_integers_are_exact_across_tiles_and_null_beyond_int64() -> None:
    rows = events_at([1, 2, 3, 4])
    feature = gn.Aggregation("n", "sum", window="60s", tile="1s", name="v")
    sums: list[tuple[list[int], int | None]] = [
        ([2**63 - 1, 1, -1, 0], 2**63 - 1), ([2**63 - 1, 1, 0, 0], None), ([-(2**63), 5, -5, 0], -(2**63))
    ]  # fmt: skip
    for values, wanted in sums:
        big = rows.set_column(rows.column_names.index("n"), "n", pa.array(values, pa.int64()))
        assert counts(feature, big, 4) == [wanted]


def test_every_function_takes_a_tile_or_names_what_does() -> None:
    assert {*FUNCTIONS, *UNTILED} == set(get_args(AggregationFunction))


@settings(max_examples=60, deadline=None)
@given(
    rows=source_rows(), asked=requests_rows, chunk_pairs=st.integers(1, 30), most_cells=st.integers(1, 12),
    tile=st.sampled_from([1, 3 * S]),
)  # fmt: skip
def test_a_chunk_holds_as_many_pairs_and_cells_as_it_may(
    rows: list[Any], asked: list[Any], chunk_pairs: int, most_cells: int, tile: int
) -> None:
    """Or one request alone. Where knowledge changes, a tile is a cell for each state that a request looks into."""
    for row in rows:
        row[KNOWN_TIME], row[EVENT_ID] = row[EVENT_TIME], None
    requests = requests_table(asked)
    ordered, codes = order_events(events_table(rows), requests, ("k",))
    until_us = requests.column(REQUEST_TIME).to_numpy()
    order = np.lexsort((until_us, codes))
    in_order = WindowRequests(codes[order], until_us[order], until_us[order])
    edges = WindowEdges(9 * S, 0, tile)
    tiles = TileGroups.of(ordered, edges, settled=True)
    chunks = list(tile_chunks(ordered, tiles, in_order, edges, chunk_pairs, most_cells))
    assert sum(len(chunk.until_us) for chunk in chunks) == len(asked)
    for chunk in chunks:
        assert len(chunk.cells) <= chunk_pairs or len(chunk.until_us) == 1
        assert len(chunk.first) <= most_cells or len(chunk.until_us) == 1
        assert sorted(set(chunk.cells.tolist())) == list(range(len(chunk.first)))
