"""What training gets equals what serving reads: through real Delta tables and a real Valkey server, on drawn events.

Events lie far outside, at the edges of and inside the windows; they are corrected, moved to other entities, known late.
The two sides read different parts of the table, so that a rule kept by one of them alone shows here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.feature_world import FeatureWorld, row

import gnomon as gn

ASKED_AT = 100.0
CUSTOMERS = [1, 2, 3, 4]
WINDOWS = [
    gn.Aggregation("*", "count", window="2h", default=-1),
    gn.Aggregation("amount", "sum", window="5h", where=gn.col("amount") > 0),
    gn.Aggregation("amount", "last", window="3h", lag="2h"),
    gn.Aggregation("*", "time_since_last", window="6h"),
]
TILED = [
    gn.Aggregation("amount", "sum", window="7h", tile="2h", where=gn.col("amount") > 0),
    gn.Aggregation("amount", "var", window="5h", tile="1h", lag="2h"),
    gn.Aggregation("note", "last_k", k=2, window="6h", tile="90m"),
    gn.Aggregation("note", "max", window="6h", tile="90m"),
    gn.Aggregation("amount", "approx_quantile", q=0.5, window="12h", tile="5h"),
    gn.Aggregation("note", "approx_count_distinct", window="12h", tile="5h"),
    gn.Aggregation("note", "approx_top_k", k=2, window="12h", tile="5h"),
]
VIEWS: dict[str, dict[str, Any]] = {
    "tiled": {"features": TILED},
    "windows": {"features": WINDOWS},
    "defaults": {"features": WINDOWS, "on_expired": "default"},
    "mixed": {"features": [gn.Column("note"), *WINDOWS[:2]], "max_age": "9h"},
    "columns": {"features": [gn.Column("amount"), gn.Column("note")], "max_age": "9h"},
}


events = st.tuples(
    st.sampled_from("abcdef"),
    st.none() | st.sampled_from(CUSTOMERS[:3]),
    st.sampled_from([0.0, 0.5, 2, 3, 4.5, 5, 6, 7, 9, 40, 90]) | st.floats(0, 12),  # hours before the request
    st.sampled_from([0.0, 0.0, 1.0, 20.0]),  # hours until it was known
    st.none() | st.integers(-2, 9),
)
NULL_OF_OLD = [("a", 1, 90.0, 0.0, 3), ("b", 2, 1.0, 0.0, 4)]
GIVEN_AWAY = [("a", 1, 8.0, 0.0, 3), ("a", 2, 1.0, 0.0, 4)]
KNOWN_IN_TURN = [("a", 1, 90.0, 89.5, 3), ("b", 1, 80.0, 81.0, 3), ("b", 2, 3.0, 0.0, 3)]


@given(st.lists(st.lists(events, min_size=1, max_size=5), min_size=1, max_size=3), st.floats(80, 99))
@example([NULL_OF_OLD], 99.0)
@example([GIVEN_AWAY], 99.0)
@example([KNOWN_IN_TURN, GIVEN_AWAY], 99.0)
@settings(max_examples=50, deadline=None)
def test_training_rows_equal_online_rows(server: str, files: list[list[Any]], earlier: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = FeatureWorld(Path(folder), server, VIEWS)
        for drawn in files:
            hours = [(event_id, who, ASKED_AT - ago, late, n) for event_id, who, ago, late, n in drawn]
            world.ingest(*(row(i, who, at, at + late, amount=n, note=f"n{n}") for i, who, at, late, n in hours))
        for view in VIEWS:
            names = [f"{view}.{f.name}" for f in world.app.get(gn.FeatureView, view).features]
            world.materialize(view, ASKED_AT)
            online = world.read(names, CUSTOMERS, ASKED_AT)
            alone = world.join(names, *((customer, ASKED_AT) for customer in CUSTOMERS))
            with_earlier = world.join(names, *((c, at) for c in CUSTOMERS for at in (earlier, ASKED_AT)))
            for name, column, among in zip(names, alone, with_earlier, strict=True):
                assert column == [None if is_null(v) else v for v in online.values[name]], name
                assert among[1::2] == column, name
        world.online.close()


def is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
