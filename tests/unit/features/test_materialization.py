"""Materialization over real Delta tables into a real Valkey server: what is served equals what would be trained on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.online_store import Status
from gnomon.errors import InvalidDefinition, NotFound
from gnomon.features.event_columns import timestamps
from gnomon.features.materialization import materialize
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.view_rows import REQUEST_TIME, view_values
from gnomon.storage.delta_tables import DeltaTables

S = 1_000_000
SCHEMA = {"k": "int64", "x": "float64", "n": "int64", "s": "string", "id": "string", "at": "timestamp"}
KEYS = [1, 2, 3, 2**53 + 1]


@pytest.fixture
def online(server: str, request: pytest.FixtureRequest) -> Iterator[RedisOnlineStore]:
    store = RedisOnlineStore(server, f"p{abs(hash(request.node.nodeid))}", 5.0)
    yield store
    store.close()


@pytest.fixture
def offline(tmp_path: Path) -> DeltaTables:
    return DeltaTables(tmp_path / "tables")


def app_of(features: list[Any], **view: Any) -> App:
    source = gn.DataSource("src", path="x.parquet", id="id", event_time="at")
    thing = gn.Entity("thing", key="k")
    made = gn.FeatureView("v", entity=thing, source=source, features=features, **view)
    return App.of("app", [source, thing, made]).with_schemas({"src": SCHEMA})


def to_table(rows: list[dict[str, Any]]) -> pa.Table:
    types = {
        "k": pa.int64(),
        "x": pa.float64(),
        "n": pa.int64(),
        "s": pa.string(),
        EVENT_ID: pa.string(),
        DIGEST: pa.string(),
    }
    table = pa.table({name: pa.array([r.get(name) for r in rows], t) for name, t in types.items()})
    for time in (EVENT_TIME, KNOWN_TIME, INGESTED_AT):
        table = table.append_column(time, timestamps(pa.array([r[time] for r in rows], pa.int64())))
    return table


def row(event: float, known: float | None = None, *, k: Any = 1, event_id: str = "", **values: Any) -> dict[str, Any]:
    known_us = int((event if known is None else known) * S)
    return {
        "k": k,
        EVENT_TIME: int(event * S),
        KNOWN_TIME: known_us,
        INGESTED_AT: known_us,
        EVENT_ID: event_id or f"{k}@{event}/{known}",
        DIGEST: "d",
        **values,
    }


def served(app: App, online: RedisOnlineStore, names: list[str], now_s: float, keys: list[Any]) -> list[list[Any]]:
    rows = online.read(read_plan(app, [f"v.{n}" for n in names]), [{"k": k} for k in keys], int(now_s * S))
    columns = [rows.values[f"v.{n}"].tolist() for n in names]
    return [[None if v != v else v for v in column] for column in columns]


WINDOWED = [
    gn.Aggregation("*", "count", window="20s", name="rows"),
    gn.Aggregation("x", "mean", window="20s", name="mean"),
    gn.Aggregation("s", "max", window="50s", name="top"),
    gn.Aggregation("n", "sum", window="5s", name="total", where=gn.col("n") > 0),
    gn.Derived("ratio", gn.col("mean") / gn.col("rows")),
    gn.Aggregation("n", "last_k", k=2, window="20s", lag="60s", name="before"),
    gn.Aggregation("s", "top_k", k=2, window="50s", name="texts"),
    gn.Derived("texts_or_none", gn.col("texts").fill_null("[]"), dtype="string"),
    gn.Aggregation("x", "quantile", q=0.5, window="20s", lag="9s", name="median"),
    gn.Aggregation("n", "time_since_last", window="50s", name="quiet_s"),
]
SIMPLE = [
    gn.Column("n", default=-7),
    gn.Column("s", default="?"),
    gn.Derived("twice", (gn.col("n") * 2).fill_null(0), default=0.5),
]
MIXED = [*WINDOWED, gn.Column("n", default=-7)]


@pytest.mark.parametrize("features", [WINDOWED, SIMPLE, MIXED], ids=["windowed", "simple", "mixed"])
@pytest.mark.parametrize("policy", ["null", "serve", "default"])
def test_what_is_served_equals_what_is_trained_on(
    features: list[Any], policy: str, offline: DeltaTables, online: RedisOnlineStore
) -> None:
    """At every moment of a random history, with late rows and corrections, for every entity seen so far."""
    app = app_of(features, max_age="15s", on_expired=policy)
    view = app.get(FeatureView, "v")
    names = [f.name for f in view.features]
    dice = random.Random(5)
    rows = []
    for i in range(120):
        event = dice.randrange(100)
        values = {
            "x": dice.choice([None, 1.5, -2.0]),
            "n": dice.choice([None, 1, 2**53 + 1]),
            "s": dice.choice([None, "a", "é"]),
        }
        rows.append(
            row(event, event + dice.choice([0, 0, 3, 30]), k=dice.choice([*KEYS[:3], None]), event_id=f"e{i}", **values)
        )
        if dice.random() < 0.3:  # a correction at the same place; moves are for the windowed views
            rows.append({**rows[-1], KNOWN_TIME: rows[-1][KNOWN_TIME] + 5 * S, "n": 77, DIGEST: "e"})
    offline.append("src", to_table(rows), "b")
    for moment in range(10, 140, 10):
        materialize(app, "v", offline, online, moment * S)
        seen = sorted({r["k"] for r in rows if r["k"] and r[EVENT_TIME] <= moment * S and r[KNOWN_TIME] <= moment * S})
        asked = pa.table({"k": seen, REQUEST_TIME: pa.array([moment * S] * len(seen), pa.int64())})
        trained = view_values(app, view, to_table(rows), asked)
        assert served(app, online, names, moment, seen) == [trained[n].to_pylist() for n in names], moment


def test_windows_empty_as_time_passes(offline: DeltaTables, online: RedisOnlineStore) -> None:
    app = app_of(WINDOWED)
    offline.append("src", to_table([row(1, x=3.0, n=2, s="a"), row(9, k=2)]), "b")
    done = materialize(app, "v", offline, online, 9 * S)
    assert (done.rows, done.written_rows, done.ignored_rows, done.as_of_us) == (2, 2, 0, 9 * S)
    assert (done.source_version, done.newest_event_us) == (0, 9 * S)
    assert served(app, online, ["rows", "mean"], 9, [1, 2]) == [[1, 1], [3.0, None]]
    again = materialize(app, "v", offline, online, 9 * S)
    assert (again.rows, again.written_rows, again.ignored_rows) == (2, 0, 2)
    materialize(app, "v", offline, online, 90 * S)
    assert served(app, online, ["rows", "mean", "top"], 90, [1, 2]) == [[0, 0], [None, None], [None, None]]


def test_a_correction_that_moves_an_event_out_of_the_window_counts(
    offline: DeltaTables, online: RedisOnlineStore
) -> None:
    app = app_of(WINDOWED)
    moved = [
        row(100, 100, event_id="e"),
        row(1, 101, event_id="e"),
        row(100, 100, event_id="f"),
        row(300, 101, event_id="f"),
    ]
    offline.append("src", to_table([*moved, row(100, 100, event_id="g"), row(100, 101, event_id="g", k=2)]), "b")
    materialize(app, "v", offline, online, 100 * S)
    assert served(app, online, ["rows"], 100, [1, 2]) == [[3, None]]
    materialize(app, "v", offline, online, 101 * S)
    assert served(app, online, ["rows"], 101, [1, 2]) == [[0, 1]]


def test_columns_keep_their_own_time_and_expire_when_read(offline: DeltaTables, online: RedisOnlineStore) -> None:
    app = app_of([gn.Column("n")], max_age="10s")
    offline.append("src", to_table([row(1, 2, n=5), row(50, 60, n=6)]), "b")
    done = materialize(app, "v", offline, online, 8 * S)
    assert (done.rows, done.newest_event_us) == (1, S)
    plan = read_plan(app, ["v.n"])
    assert online.read(plan, [{"k": 1}], 11 * S - 1).status.tolist() == [[Status.PRESENT]]
    late = online.read(plan, [{"k": 1}], 11 * S)
    assert (late.status.tolist(), late.age_us.tolist()) == ([[Status.EXPIRED]], [[10 * S]])


def test_nothing_is_seen_before_it_is_known(offline: DeltaTables, online: RedisOnlineStore) -> None:
    app = app_of([gn.Column("n")])
    offline.append("src", to_table([row(5, 50, n=5)]), "b")
    done = materialize(app, "v", offline, online, 49 * S)
    assert (done.rows, done.newest_event_us) == (0, None)
    assert materialize(app, "v", offline, online, 50 * S).rows == 1


def test_unusable_views_are_named(offline: DeltaTables, online: RedisOnlineStore) -> None:
    with pytest.raises(NotFound, match="'src' holds no rows yet"):
        materialize(app_of(SIMPLE), "v", offline, online, S)
    offline.append("src", to_table([row(1)]), "b")
    with pytest.raises(InvalidDefinition, match="feature 'k' has the name of a key column"):
        materialize(app_of([gn.Column("n", name="k")]), "v", offline, online, S)


@pytest.mark.cluster
@pytest.mark.parametrize("features", [SIMPLE, MIXED], ids=["simple", "mixed"])
def test_partitions_on_ray_give_the_same_rows(
    features: list[Any], offline: DeltaTables, server: str, ray_cluster: Any
) -> None:
    app = app_of(features)
    dice = random.Random(3)
    rows = [
        row(e := dice.randrange(50), e + dice.randrange(9), k=dice.randrange(40), event_id=f"e{i % 150}", n=i)
        for i in range(300)
    ]
    offline.append("src", to_table(rows[:200]), "a")
    offline.append("src", to_table(rows[200:]), "b")
    names, keys = [f.name for f in app.get(FeatureView, "v").features], list(range(40))
    here, there = RedisOnlineStore(server, "here", 5.0), RedisOnlineStore(server, "there", 5.0)
    counts = materialize(app, "v", offline, here, 55 * S)
    assert materialize(app, "v", offline, there, 55 * S, local_rows=1, partition_rows=100) == counts
    assert served(app, there, names, 55, keys) == served(app, here, names, 55, keys)
    for store in (here, there):
        assert store.clear(view_layout(app, "v")) == counts.rows
        store.close()
