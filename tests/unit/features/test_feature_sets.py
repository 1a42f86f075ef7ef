"""Feature sets as of a moment: they hold what a materialization at that moment serves, for all seen by then."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.feature_world import FeatureWorld, hour, row

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import to_us
from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.errors import InvalidInput, NotFound
from gnomon.features.event_columns import timestamps
from gnomon.features.feature_sets import FeatureSet, build_feature_set
from gnomon.storage.delta_tables import DeltaTables

NOW = 100.0
VIEWS: dict[str, dict[str, Any]] = {
    "windows": {
        "features": [
            gn.Aggregation("*", "count", window="5h", name="rows", default=-1),
            gn.Aggregation("amount", "sum", window="9h", name="total"),
            gn.Aggregation("note", "top_k", k=2, window="20h", name="notes"),
            gn.Derived("mean", gn.col("total") / gn.col("rows")),
        ],
        "on_expired": "default",
    },
    "columns": {"features": [gn.Column("amount"), gn.Column("note", default="?")], "max_age": "9h"},
    "served": {"features": [gn.Column("note")], "max_age": "2h", "on_expired": "serve"},
    "defaults": {"features": [gn.Column("note", default="?")], "max_age": "2h", "on_expired": "default"},
}
LOOKUPS = [f"{view}.{feature.name}" for view, fields in VIEWS.items() for feature in fields["features"]]

events = st.tuples(
    st.sampled_from("abcdef"),
    st.none() | st.sampled_from([1, 2, 3]),
    st.sampled_from([-3.0, 0.0, 2, 5, 9, 20, 90]) | st.integers(-8, 48).map(lambda n: n / 4),  # hours before the moment
    st.sampled_from([0.0, 0.0, 1.0, 20.0]),  # hours until it was known
    st.none() | st.integers(-2, 9),
)


@given(st.lists(st.lists(events, min_size=1, max_size=6), min_size=1, max_size=3))
@example([[("a", 1, 8.0, 0.0, 3), ("a", 2, 1.0, 0.0, 4)]])  # given away: entity 1 was seen and has no row left
@example([[("a", 1, -1.0, 0.0, 3)]])  # of the future: nobody was seen yet
@example([[("a", 1, 1.0, 5.0, 3), ("b", 2, 50.0, 0.0, None)]])
@settings(max_examples=40, deadline=None)
def test_a_feature_set_holds_what_is_served(server: str, files: list[list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = FeatureWorld(Path(folder), server, VIEWS)
        drawn = [e for file in files for e in file]
        for file in files:
            at = [(i, who, NOW - ago, late, n) for i, who, ago, late, n in file]
            world.ingest(*(row(i, who, t, t + late, amount=n, note=f"n{n}") for i, who, t, late, n in at))
        found = build_feature_set(world.app, LOOKUPS, world.offline, to_us(hour(NOW)))
        customers = found.keys.column("customer").to_pylist()
        assert customers == sorted({who for _, who, ago, late, _ in drawn if who and ago >= 0 and late <= ago})
        for view in VIEWS:
            world.materialize(view, NOW)
        if customers:
            online = world.read(LOOKUPS, customers, NOW)
            for name in LOOKUPS:
                served = [None if v != v else v for v in online.values[name].tolist()]
                assert found.values.column(name).to_pylist() == served, name
        world.online.close()


def world_of_rows(folder: Path, *rows: dict[str, Any]) -> FeatureWorld:
    world = FeatureWorld(folder, "redis://127.0.0.1:1/0", VIEWS)  # the server is never asked
    world.ingest(*rows)
    return world


def made(world: FeatureWorld, at: float = NOW, lookups: Any = LOOKUPS, **options: Any) -> FeatureSet:
    return build_feature_set(world.app, lookups, world.offline, to_us(hour(at)), **options)


ROWS = [row("a", 3, 90, amount=1), row("b", 1, 95, amount=2), row("c", None, 96, amount=3), row("d", 2, 99, 101)]


def test_it_knows_only_what_was_known(tmp_path: Path) -> None:
    world = world_of_rows(tmp_path, *ROWS)
    assert made(world, 92.0).keys.to_pydict() == {"customer": [3]}
    assert made(world).keys.to_pydict() == {"customer": [1, 3]}
    assert made(world, 101.0).keys.to_pydict() == {"customer": [1, 2, 3]}
    assert made(world, 50.0).values.to_pydict() == {name: [] for name in LOOKUPS}
    assert made(world).source_versions == {"payments": world.offline.version("payments")}


def test_the_same_inputs_give_the_same_table(tmp_path: Path) -> None:
    """However the rows came."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = world_of_rows(tmp_path / "one", *ROWS), world_of_rows(tmp_path / "two", *reversed(ROWS[2:]))
    two.ingest(*reversed(ROWS[:2]))
    assert made(one).keys.equals(made(two).keys)
    assert made(one).values.equals(made(two).values)


@pytest.mark.cluster
def test_partitions_give_the_same_table(ray_cluster: Any, tmp_path: Path) -> None:
    """Joined on Ray, where the rows of the entities are apart."""
    world = world_of_rows(tmp_path, *ROWS)
    here, there = made(world), made(world, local_rows=1)
    assert there.keys.equals(here.keys)
    assert there.values.equals(here.values)


def test_given_keys_are_taken_as_they_are(tmp_path: Path) -> None:
    world = world_of_rows(tmp_path, *ROWS)
    found = made(world, lookups=["columns.amount", "windows.rows"], keys=[{"customer": c} for c in (9, 1, 1)])
    assert found.keys.to_pydict() == {"customer": [9, 1, 1]}
    assert found.values.to_pydict() == {"columns.amount": [None, 2, 2], "windows.rows": [-1, 0, 0]}


@pytest.mark.parametrize("key", [{}, {"customer": "1"}, {"customer": None}, {"customer": 2**63}, {"customer": True}, 7,
                                 {"customer": 1, "x": 2}, {"customer": "x" * 1000}])  # fmt: skip
def test_a_wrong_key_is_refused(key: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="key 1") as caught:
        made(world_of_rows(tmp_path, *ROWS), keys=[{"customer": 1}, key])
    assert len(caught.value.message) < 300


def test_names_that_are_not_there(tmp_path: Path) -> None:
    world = world_of_rows(tmp_path, *ROWS)
    for lookups, options in ((["colums.amount"], {}), (["columns.amonut"], {}), (LOOKUPS, {"keys_from": "payment"})):
        with pytest.raises(NotFound):
            made(world, lookups=lookups, **options)


FIELDS = {"c": "int64", "s": "string", "amount": "float64", "id": "string", "at": "timestamp"}


def two_entities(folder: Path) -> tuple[App, DeltaTables]:
    """Customers, shops and visits of customers to shops, all in one source."""
    source = gn.DataSource("pay", path="*.csv", id="id", event_time="at")
    other = gn.DataSource("other", path="*.csv", id="id", event_time="at")
    customer, shop = gn.Entity("customer", key="c"), gn.Entity("shop", key="s")
    views = [
        gn.FeatureView("spend", entity=customer, source=source, features=[gn.Column("amount")]),
        gn.FeatureView("sales", entity=shop, source=source, features=[gn.Column("amount")]),
        gn.FeatureView("visits", entity=[shop, customer], source=source, features=[gn.Column("amount")]),
    ]
    app = App.of("app", [source, other, *views]).with_schemas(
        {"pay": FIELDS, "other": {"id": "string", "at": "timestamp"}}
    )
    times = timestamps([1_000_000 * n for n in (1, 2, 3)])
    offline = DeltaTables(folder)
    offline.append("pay", pa.table({
        "c": [2, 1, 2], "s": ["x", "y", None], "amount": [1.0, 2.0, 3.0],
        EVENT_TIME: times, KNOWN_TIME: times, INGESTED_AT: times, EVENT_ID: ["a", "b", "c"],
    }), "batch")  # fmt: skip
    return app, offline


def test_combinations_of_two_entities(tmp_path: Path) -> None:
    app, offline = two_entities(tmp_path)
    apart = ["spend.amount", "sales.amount"]
    with pytest.raises(InvalidInput, match=r"no view has all of the key columns \['c', 's'\]") as caught:
        build_feature_set(app, apart, offline, 10**7)
    assert "keys_from" in caught.value.hint
    found = build_feature_set(app, apart, offline, 10**7, keys_from="pay")
    assert found.keys.to_pydict() == {"c": [1, 2], "s": ["y", "x"]}
    assert found.values.to_pydict() == {"spend.amount": [2.0, 3.0], "sales.amount": [2.0, 1.0]}
    by_pair = build_feature_set(app, ["spend.amount", "visits.amount"], offline, 10**7)
    assert by_pair.keys.equals(found.keys.select(["c", "s"]))
    with pytest.raises(NotFound, match="holds no rows"):
        build_feature_set(app, apart, offline, 10**7, keys_from="other")
    with pytest.raises(InvalidInput, match="key 0: 's' is"):
        build_feature_set(app, apart, offline, 10**7, keys=[{"c": 1, "s": "\ud800"}])


def test_a_source_whose_keys_are_of_another_type(tmp_path: Path) -> None:
    """What would be cast where it can be, and fail where it cannot."""
    app, offline = two_entities(tmp_path)
    app = replace(app, schemas={**app.schemas, "other": {**FIELDS, "c": "string"}})
    times = timestamps([1_000_000])
    offline.append("other", pa.table({
        "c": ["x1"], "s": ["x"], EVENT_TIME: times, KNOWN_TIME: times, INGESTED_AT: times, EVENT_ID: ["a"],
    }), "batch")  # fmt: skip
    with pytest.raises(InvalidInput, match="key column 'c' of source 'other' is string") as caught:
        build_feature_set(app, ["spend.amount"], offline, 10**7, keys_from="other")
    assert "fields=" in caught.value.hint
