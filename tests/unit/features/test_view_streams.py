"""Streamed values equal materialized ones, bit for bit, on real Delta tables and a real Valkey server."""

from __future__ import annotations

import json
import tempfile
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.feature_world import FeatureWorld, hour, row

import gnomon as gn
from gnomon.contracts.clocks import HandClock
from gnomon.data.push_batches import Push
from gnomon.data.pushing import Pusher, PushLimits
from gnomon.errors import CorruptData
from gnomon.features.materialization import materialize
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.view_streams import ViewStream
from gnomon.testing.memory_stores import MemoryStates

PLENTY = 10**9
CUSTOMERS = [1, 2, 3]
WINDOWS = [
    gn.Aggregation("*", "count", window="2h"),
    gn.Aggregation("amount", "sum", window="5h", where=gn.col("amount") > 0),
    gn.Aggregation("amount", "count_distinct", window="3h"),
    gn.Aggregation("amount", "std", window="8h"),
    gn.Aggregation("amount", "last", window="3h", lag="2h"),
    gn.Aggregation("note", "last_k", k=2, window="4h"),
]
VIEWS: dict[str, dict[str, Any]] = {
    "windows": {"features": WINDOWS, "freshness": "1s"},
    "mixed": {
        "features": [gn.Column("note"), gn.Aggregation("amount", "sum", window="3h")],
        "max_age": "4h", "on_expired": "default", "freshness": "1s",
    },
    "columns": {"features": [gn.Column("amount"), gn.Column("note")], "freshness": "1s"},
}  # fmt: skip


class Streamed:
    """A world whose views are streamed, and its clock."""

    def __init__(self, folder: Path, server: str, limit_bytes: int) -> None:
        self.world = FeatureWorld(folder, server, VIEWS)
        self.clock = HandClock(folder / "stream_clock", hour(100))
        self.states = MemoryStates()
        self.limit_bytes = limit_bytes
        schema = self.world.app.schemas["payments"]
        self.pusher = Pusher(
            lambda name: (self.world.source, schema), self.world.offline, self.clock, PushLimits(wait_s=0)
        )
        self.restart()

    def restart(self) -> None:
        self.streams = {
            name: ViewStream(
                self.world.app, name, self.world.offline, self.world.online, self.states, self.clock, self.limit_bytes
            )
            for name in VIEWS
        }

    def push(self, *rows: dict[str, Any]) -> None:
        lines = "".join(json.dumps(each) + "\n" for each in rows).encode()
        self.pusher.push("payments", Push(lines)).result(timeout=30)

    def step(self) -> None:
        for stream in self.streams.values():
            stream.step()

    def read(self, view: str, store: RedisOnlineStore) -> list[list[Any]]:
        names = [f"{view}.{f.name}" for f in self.world.app.get(gn.FeatureView, view).features]
        plan = read_plan(self.world.app, names)
        rows = store.read(plan, [{"customer": c} for c in CUSTOMERS], self.clock.now_us())
        values = [[None if _null(v) else v for v in rows.values[name]] for name in names]
        return [*values, rows.status.tolist()]


def _null(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def assert_equals_materialized(streamed: Streamed, server: str, view: str) -> None:
    """Compare with the whole view, materialized at the stream's moment into an empty store."""
    position = streamed.states.get("stream", view)
    as_of_us = streamed.clock.now_us()
    with closing(RedisOnlineStore(server, uuid.uuid4().hex, 10.0)) as fresh:
        if streamed.world.offline.version("payments") >= 0:
            materialize(streamed.world.app, view, streamed.world.offline, fresh, as_of_us)
            assert position is not None
        got, wanted = streamed.read(view, streamed.world.online), streamed.read(view, fresh)
    assert got == wanted, view


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
BRINGS_ANOTHER = [([event("0", 1, 5), event("1", 1, 7, 1), event("1", 2, 7, 1)], 1.0, "step")]


@given(
    script=st.lists(rounds, min_size=1, max_size=5), fixed=st.booleans(),
    limit_bytes=st.sampled_from([PLENTY, PLENTY, 600, 1]),
)  # fmt: skip
@example(script=LEAVES_ITS_WINDOW, fixed=True, limit_bytes=PLENTY)
@example(script=LEAVES_ITS_WINDOW, fixed=True, limit_bytes=1)
@example(script=MOVES_TO_ANOTHER, fixed=False, limit_bytes=PLENTY)
@example(script=MOVES_TO_ANOTHER, fixed=False, limit_bytes=1)
@example(script=MOVES_LATER, fixed=False, limit_bytes=PLENTY)
@example(script=COMES_BACK, fixed=True, limit_bytes=1)
@example(script=BRINGS_ANOTHER, fixed=False, limit_bytes=1)
@example(script=NEVER_VISIBLE, fixed=False, limit_bytes=PLENTY)
@example(script=GIVEN_AWAY_OLD, fixed=False, limit_bytes=PLENTY)
@settings(max_examples=60, deadline=None)
def test_streamed_values_equal_materialized_ones(
    server: str, script: list[tuple[list[dict[str, Any]], float, str]], fixed: bool, limit_bytes: int
) -> None:
    """Late, corrected, repeated and moved events; pauses, restarts and evictions in any order.

    With `fixed`, an event keeps its entity and time in all versions, and no two rows agree in both times: without it, a
    view of columns alone cannot be compared, because online an earlier row never replaces a later one, nor one of
    equal times another (as with `materialize`).
    """
    with tempfile.TemporaryDirectory() as folder:
        streamed = Streamed(Path(folder), server, limit_bytes)
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
        for view in VIEWS if fixed else ("windows", "mixed"):
            assert_equals_materialized(streamed, server, view)
        streamed.pusher.close()
        streamed.world.online.close()


def test_a_read_that_failed_is_made_up_for(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evicted entities whose events could not be read are not taken for entities without a past."""
    streamed = Streamed(tmp_path, server, limit_bytes=1)
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
    streamed.pusher.close()
    streamed.world.online.close()
