"""Streamed values equal materialized ones, bit for bit, on real Delta tables and a real Valkey server."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.feature_world import hour, row
from tests.unit.features.streamed_views import CUSTOMERS, Streamed, assert_equals_materialized

import gnomon as gn
from gnomon.errors import CorruptData
from gnomon.features import view_streams
from gnomon.features.view_streams import ViewStream

PLENTY = 10**9
WINDOWS = [
    gn.Aggregation("*", "count", window="2h"),
    gn.Aggregation("amount", "sum", window="5h", where=gn.col("amount") > 0),
    gn.Aggregation("amount", "count_distinct", window="3h"),
    gn.Aggregation("amount", "std", window="8h"),
    gn.Aggregation("amount", "last", window="3h", lag="2h"),
    gn.Aggregation("note", "last_k", k=2, window="4h"),
]
TILED = [
    gn.Aggregation("*", "count", window="4h", tile="1h"),
    gn.Aggregation("amount", "sum", window="5h", tile="1h", where=gn.col("amount") > 0),
    gn.Aggregation("amount", "mean", window="5h", lag="1h", tile="1h"),
    gn.Aggregation("amount", "std", window="7h", tile="2h"),
    gn.Aggregation("amount", "max", window="7h", tile="2h", lag="30m"),
    gn.Aggregation("note", "min", window="6h", tile="90m"),
    gn.Aggregation("note", "first", window="6h", tile="1h"),
    gn.Aggregation("note", "last_k", k=2, window="6h", tile="1h"),
    gn.Aggregation("amount", "approx_quantile", q=0.4, window="6h", tile="1h"),
    gn.Aggregation("note", "approx_count_distinct", window="6h", tile="2h"),
    gn.Aggregation("note", "approx_top_k", k=2, window="6h", tile="1h"),
]
VIEWS: dict[str, dict[str, Any]] = {
    "tiled": {"features": TILED, "freshness": "1s"},
    "tiled_and_not": {"features": [*TILED[:3], *TILED[6:8], WINDOWS[0], WINDOWS[2], WINDOWS[5]], "freshness": "1s"},
    "tiled_beside_column": {"features": [gn.Column("note"), *TILED[:2]], "freshness": "1s", "max_age": "4h"},
    "windows": {"features": WINDOWS, "freshness": "1s"},
    "mixed": {
        "features": [gn.Column("note"), gn.Aggregation("amount", "sum", window="3h")],
        "max_age": "4h", "on_expired": "default", "freshness": "1s",
    },
    "columns": {"features": [gn.Column("amount"), gn.Column("note")], "freshness": "1s"},
}  # fmt: skip


amounts = st.none() | st.sampled_from([0, 1, 7, -3, 10**15])
notes = st.none() | st.sampled_from(["a", "b", "ü"])
places = st.integers(0, 7)  # hours before the clock
events = st.builds(
    dict, id=st.integers(0, 5).map(str), customer=st.none() | st.sampled_from(CUSTOMERS), ago=places,
    known_after=st.sampled_from([0, 0, 0, 1, 3]), amount=amounts, note=notes,
)  # fmt: skip
rounds = st.tuples(
    st.lists(events, min_size=1, max_size=4),
    st.sampled_from([0.0, 0.01, 1.0, 2.5]),
    st.sampled_from(["step"] * 4 + ["", "restart"]),
)


def event(event_id: str, customer: int | None, amount: int, ago: int = 0, known_after: int = 0) -> dict[str, Any]:
    return {"id": event_id, "customer": customer, "ago": ago, "known_after": known_after, "amount": amount, "note": "a"}


LEAVES_ITS_WINDOW = [([event("1", 1, 7)], 2.5, "step"), ([event("2", 2, 7)], 2.5, "step")]
MOVES_TO_ANOTHER = [
    ([event("1", 1, 7)], 0.01, "step"), ([event("1", 2, 9)], 0.01, "step"), ([event("2", 1, 1)], 0.0, "step"),
]  # fmt: skip
MOVES_LATER = [([event("1", 1, 7), event("1", 2, 9, known_after=1)], 0.0, "step"), ([event("2", 3, 7)], 1.0, "step")]
COMES_BACK = [([event("1", 1, 7), event("2", 2, 1)], 0.01, "step"), ([event("3", 1, 9)], 0.01, "step")]

GIVEN_AWAY_OLD = [
    ([event("1", 1, 7, 7)], 1.0, ""),
    ([event("2", 2, 7)], 0.0, "step"),
    ([event("1", 2, 7)], 0.0, "step"),
]
NEVER_VISIBLE = [
    ([event("3", 1, 5, 9), event("4", 2, 5, 9)], 0.0, "step"),
    ([event("1", 1, 7), event("1", 2, 9), event("2", 1, 9), event("2", 2, 7)], 0.0, "step"),
]
LATE_IN_A_FOLDED_TILE = [
    ([event("1", 1, 7, 4), event("2", 1, 3, 4), event("3", 2, 5, 4)], 0.5, "step"),
    ([event("4", 1, 9, 4)], 0.01, "step"),
    ([event("1", 2, 6, 4)], 1.0, "step"),
]
BRINGS_ANOTHER = [([event("0", 1, 5), event("1", 1, 7, 1), event("1", 2, 7, 1)], 1.0, "step")]


@given(
    script=st.lists(rounds, min_size=1, max_size=5), fixed=st.booleans(),
    limit_bytes=st.sampled_from([PLENTY, PLENTY, 600, 1]), trims=st.just(True) | st.booleans(),
)  # fmt: skip
@example(script=LEAVES_ITS_WINDOW, fixed=True, limit_bytes=PLENTY, trims=True)
@example(script=LEAVES_ITS_WINDOW, fixed=True, limit_bytes=1, trims=True)
@example(script=MOVES_TO_ANOTHER, fixed=False, limit_bytes=PLENTY, trims=True)
@example(script=MOVES_TO_ANOTHER, fixed=False, limit_bytes=1, trims=True)
@example(script=MOVES_LATER, fixed=False, limit_bytes=PLENTY, trims=True)
@example(script=COMES_BACK, fixed=True, limit_bytes=1, trims=True)
@example(script=BRINGS_ANOTHER, fixed=False, limit_bytes=1, trims=True)
@example(script=NEVER_VISIBLE, fixed=False, limit_bytes=PLENTY, trims=True)
@example(script=GIVEN_AWAY_OLD, fixed=False, limit_bytes=PLENTY, trims=True)
@example(script=LATE_IN_A_FOLDED_TILE, fixed=False, limit_bytes=PLENTY, trims=True)
@example(script=LATE_IN_A_FOLDED_TILE, fixed=False, limit_bytes=1, trims=True)
@settings(max_examples=20, deadline=None)
def test_streamed_values_equal_materialized_ones(
    server: str, script: list[tuple[list[dict[str, Any]], float, str]], fixed: bool, limit_bytes: int, trims: bool
) -> None:
    """Late, corrected, repeated and moved events; pauses, restarts and evictions in any order.

    With `fixed`, an event keeps its entity and time in all versions, and no two rows agree in both times: without it, a
    view of columns alone cannot be compared, because online an earlier row never replaces a later one, nor one of
    equal times another (as with `materialize`). With `trims`, every step drops and folds what it can.
    """
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        if trims:
            patch.setattr(view_streams, "_TRIM_EVERY_US", 0)
        streamed = Streamed(Path(folder), server, VIEWS, limit_bytes)
        sent, now, places_of = 0, 100.0, dict[str, tuple[Any, float]]()
        for sends, wait_h, then in script:
            rows = []
            for e in sends:
                place = (e["customer"], now - e["ago"])
                customer, at = places_of.setdefault(e["id"], place) if fixed else place
                at, sent = at - int(e["id"]) / 100 if fixed else at, sent + 1
                values = {name: e[name] for name in ("amount", "note")}
                rows.append(row(e["id"], customer, at, at + e["known_after"] + sent / 1e4 * fixed, **values))
            streamed.push(*rows)
            if then == "step":
                streamed.step()
            elif then == "restart":
                streamed.restart()
            now += wait_h
            streamed.clock.set(hour(now))
        streamed.clock.set(hour(now + 0.5))
        streamed.step()
        for view in VIEWS if fixed else [name for name in VIEWS if name != "columns"]:
            assert_equals_materialized(streamed, server, view)
        streamed.close()


def test_a_read_that_failed_is_made_up_for(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evicted entities whose events could not be read are not taken for entities without a past."""
    streamed = Streamed(tmp_path, server, VIEWS, limit_bytes=1)
    streamed.push(*(row(f"old{n}", CUSTOMERS[0], 99 - n / 4, amount=n, note="a") for n in range(1, 4)))
    streamed.step()
    streamed.clock.set(hour(100.1))
    streamed.push(row("new", CUSTOMERS[0], 100.05, amount=9, note="b"))

    def broken(stream: ViewStream, version: int, as_of_us: int) -> Any:
        raise CorruptData("the disk is gone for a moment")

    with monkeypatch.context() as patch:
        patch.setattr(ViewStream, "_read_events", broken)
        with pytest.raises(CorruptData):
            streamed.streams["windows"].step()
    streamed.step()
    for view in VIEWS:
        assert_equals_materialized(streamed, server, view)
    streamed.close()
