"""What the stream's cache holds suffices: values computed from it equal those of all rows, whatever was dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.features.drawn_views import UNTILED, VALUES, aggregations

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.features.event_columns import column, entity_table
from gnomon.features.materialization import entity_rows
from gnomon.features.stream_cache import EventCache
from gnomon.features.view_plans import view_keys
from gnomon.testing.view_cases import S, app_of, events_table

FUNCTIONS = ["count", "sum", "mean", "min", "max", "std", "var", "first", "last", "last_k", "time_since_last"]
FUNCTIONS += ["approx_count_distinct", "approx_quantile", "approx_top_k"]
LEFT_OUT = [EVENT_TIME, KNOWN_TIME]  # of the moment, in every row


events = st.builds(
    dict, k=st.sampled_from([0, 0, 0, 1, 1, None]), at=st.integers(0, 48), late=st.sampled_from([0, 0, 0, 1, 20]),
    id=st.integers(0, 40), portion=st.sampled_from([0, 0, 0, 1, 2, 3, 4]), **VALUES,
)  # fmt: skip


def source_row(number: int, event: dict[str, Any]) -> dict[str, Any]:
    """Return a drawn event, in quarters of a second, as a row; later ones are stored later."""
    times = {EVENT_TIME: event["at"] * S // 4, KNOWN_TIME: event["at"] * S // 4 + event["late"] * S}
    values = {name: event[name] for name in (*VALUES, "k")}
    stored = {INGESTED_AT: number, EVENT_ID: f"e{event['id']}", DIGEST: f"{number:04d}"}
    return {**values, **times, **stored, "name": "pq"[event["id"] % 2]}


@st.composite
def folding_features(draw: st.DrawFn) -> list[gn.Aggregation]:
    """Some aggregations with tiles that end while their windows still reach them, and short ones without tiles."""
    features = []
    for number, function in enumerate(draw(st.lists(st.sampled_from(FUNCTIONS), min_size=1, max_size=4))):
        drawn = draw(aggregations(function, f"a{number}")).as_json()
        drawn["lag"] = draw(st.sampled_from([None, None, "1s", "3s"]))
        tiled = function not in UNTILED and (number == 0 or draw(st.booleans()))
        drawn["window"] = draw(st.sampled_from(["20s", "45s"] if tiled else ["2s", "5s"]))
        drawn["tile"] = draw(st.sampled_from(["1s", "2s", "7s"])) if tiled else None
        if tiled or not function.startswith("approx"):
            features.append(gn.Aggregation.model_validate(drawn))
    return features


def take_in(cache: EventCache, new: pa.Table, stored: pa.Table) -> None:
    """Add new rows as `ViewStream` does, with the table of all that is stored in place of the offline store."""
    ids = pc.unique(column(new, EVENT_ID))
    elsewhere = cache.elsewhere(new)
    cache.add(new)
    if len(elsewhere):
        cache.add(stored.filter(pc.is_in(column(stored, EVENT_ID), value_set=elsewhere)))
    if unfolded := cache.unfold(ids):
        wanted = pc.unique(column(stored, EVENT_ID).filter(pa.array(cache.of_tiles(stored, unfolded))))
        cache.add(stored.filter(pc.is_in(column(stored, EVENT_ID), value_set=wanted)))


def values(app: App, view: gn.FeatureView, events: pa.Table, at_us: int, tiles: Any = None) -> dict[Any, Any]:
    found = entity_rows(app, view, events, at_us, tiles or {}).drop_columns(LEFT_OUT).to_pylist()
    return {tuple(row.pop(key) for key in view_keys(app, view)): row for row in found}


@settings(max_examples=150, deadline=None)
@given(
    drawn=st.lists(events, min_size=6, max_size=30), features=folding_features(),
    keys=st.sampled_from([("k",), ("k", "name")]),
    waits=st.lists(st.sampled_from([0, 1, 3, 6, 10]), min_size=3, max_size=6),
)  # fmt: skip
def test_values_from_the_cache_equal_those_from_all_rows(
    drawn: list[dict[str, Any]], features: list[Any], keys: tuple[str, ...], waits: list[int]
) -> None:
    """Rows arrive in some portions; between them time passes, and the cache drops and folds what it can."""
    rows = [source_row(number, event) for number, event in enumerate(sorted(drawn, key=lambda e: e["portion"]))]
    app, view = app_of(keys, features)
    table, portion = events_table(rows), np.sort([event["portion"] for event in drawn])
    cache, at_us = EventCache(app, view, table.slice(0, 0), 10**9), 12 * S
    for part, wait_s in enumerate(waits):
        at_us += wait_s * S
        stored = table.filter(pa.array(portion <= part))
        take_in(cache, table.filter(pa.array(portion == part)), stored)
        entities = entity_table(stored, keys)
        wanted = values(app, view, stored, at_us)
        got = values(app, view, cache.events_of(entities), at_us, cache.tiles_of(entities))
        for entity, row in got.items():
            assert row == wanted[entity]
        empty = {f.name: row_of_nothing(f) for f in features}
        for entity in wanted.keys() - got.keys():  # all that it had has left: an entity that is known and quiet
            assert wanted[entity] == empty
        cache.trim(at_us)


def row_of_nothing(feature: gn.Aggregation) -> int | None:
    return 0 if feature.function in ("count", "count_distinct", "approx_count_distinct") else None
