"""The skew audit over real tables, a real online store and a real prediction log: nothing is found where nothing is
wrong, and each fault that is injected is found in exactly the rows that it touched, and named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.online_servers import online_server
from tests.skew_world import SkewWorld, classes_of, hour, skew_app, triple

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.layouts import view_layout

CUSTOMERS = range(50)
TOUCHED = range(10)
WINDOWS: dict[str, Any] = {
    "features": [gn.Aggregation("*", "count", window="7d"), gn.Aggregation("amount", "sum", window="7d")]
}
COLUMNS: dict[str, Any] = {"features": [gn.Column("amount"), gn.Column("note")]}
SPEND = ("spend.count_7d", "spend.amount_sum_7d")
LAST = ("last.amount", "last.note")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with online_server("valkey", tmp_path_factory.mktemp("valkey")) as url:
        yield url


def world(folder: Path, url: str, **views: Any) -> SkewWorld:
    """Return a world in which every customer had one event at hour 1."""
    made = SkewWorld(folder, url, skew_app(views))
    made.add([{"customer": c, "at": 1, "amount": c + 0.1, "note": f"n{c}"} for c in CUSTOMERS])
    return made


def only(kind: str, *features: str, rows: int = len(TOUCHED)) -> dict[str, dict[str, int]]:
    return {feature: {kind: rows} for feature in features}


def test_100_000_predictions_of_a_platform_in_order_show_no_mismatch(tmp_path: Path, url: str) -> None:
    random = np.random.default_rng(7)
    ratio = gn.col("sum_day") / gn.col("sum_week")
    views: dict[str, Any] = {
        "last": {"features": [gn.Column("amount"), gn.Column("number"), gn.Column("note")], "max_age": "30d"},
        "spend": {
            "features": [
                gn.Aggregation("amount", "sum", window="24h", name="sum_day"),
                gn.Aggregation("amount", "sum", window="7d", name="sum_week"),
                gn.Aggregation("amount", "mean", window="7d"), gn.Aggregation("amount", "std", window="7d"),
                gn.Aggregation("note", "count_distinct", window="7d"), gn.Aggregation("number", "max", window="3h"),
                gn.Derived("share", ratio),
            ],
            "max_age": "2h",
        },
        "habits": {
            "features": [
                gn.Aggregation("*", "count", window="12h", where=gn.col("amount") > 50.0),
                gn.Aggregation("note", "last_k", k=3, window="7d"),
                gn.Aggregation("amount", "quantile", q=0.9, window="7d"),
                gn.Aggregation("amount", "sum", window="24h", lag="24h"),
            ],
            "on_expired": "default",
        },
    }  # fmt: skip
    extra = [
        gn.RequestFeature(
            "tripled", request={"amount": "float64"}, inputs=["amount", "spend.sum_week"], function=triple
        ),
        gn.RequestFeature(
            "share_asked", request={"amount": "float64"}, expression=gn.col("amount") / gn.col("last.amount")
        ),
    ]
    made = SkewWorld(tmp_path, url, skew_app(views, extra=extra, request={"amount": "float64"}))
    ids = 0
    customers = 2000
    asked = random.uniform(1, 90, 5000)

    def events(at: float, number: int, **more: Any) -> list[dict[str, Any]]:
        nonlocal ids
        ids += number
        return [
            {
                "id": f"i{ids - i}", "customer": int(random.integers(customers)), "at": at,
                "amount": None if random.random() < 0.05 else float(random.normal(50, 30)),
                "number": int(random.integers(-(2**60), 2**60)), "note": random.choice(["a", "b", "ü", ""]), **more,
            }
            for i in range(number)
        ]  # fmt: skip

    made.add([row for c in range(customers) for row in events(0, 1, customer=c, known=0.1)])
    logged = 0
    for now in range(1, 21):
        batch = events(now, 400, known=now + 0.05, stored=now + 0.1)
        batch += events(max(now - 3, 0), 60, known=now + 0.06, stored=now + 0.1)  # late
        batch += [{**row, "amount": 1.5, "known": now + 0.07} for row in batch[:20]]  # corrected
        made.add(batch)
        made.materialize(now + 0.15)
        picked = random.integers(customers, size=5000)
        logged += len(made.predict(picked, now + random.uniform(0.15, 0.99), fields={"amount": asked.tolist()}))
    started = time.monotonic()
    report = made.audit(moments=True, slice_rows=20_000)
    print(f"audit of {report.predictions} predictions: {time.monotonic() - started:.1f} s")
    assert report.predictions == logged == 100_000
    assert classes_of(report) == {}
    assert {skew.rows for skew in report.features.values()} == {100_000}
    assert len(report.features) == 3 + 7 + 4 + 2
    assert report.features["last.number"].rounded_rows > 50_000
    assert report.not_audited == {}
    assert report.worst_rate == 0


@pytest.mark.parametrize("moments", [True, False])
def test_late_data(tmp_path: Path, url: str, moments: bool) -> None:
    made = world(tmp_path, url, spend=WINDOWS, last=COLUMNS)
    made.add([{"customer": c, "at": 2, "known": 12.5, "amount": 7.0, "note": "late"} for c in TOUCHED])
    made.materialize(12)
    ids = made.predict(CUSTOMERS, 13)
    report = made.audit(moments=moments)
    # a column's age is its own event's: only the moment of the materialization tells that the row came late
    of_columns = only("late_data" if moments else "stale", *LAST)
    assert classes_of(report) == only("late_data", *SPEND) | of_columns
    assert report.features["spend.count_7d"].rate == len(TOUCHED) / len(CUSTOMERS) == report.worst_rate
    assert report.features["spend.count_7d"].examples == {"late_data": sorted(ids[:10])[:5]}


def test_a_late_correction_is_late_data_for_columns_too(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, last=COLUMNS)
    rows = [{"customer": c, "at": 2, "amount": 7.0, "note": "first", "id": f"x{c}"} for c in TOUCHED]
    made.add(rows)
    made.add([{**row, "known": 12.5, "amount": 8.0, "note": "second"} for row in rows])
    made.materialize(12)
    made.predict(CUSTOMERS, 13)
    assert classes_of(made.audit()) == only("late_data", *LAST)


@pytest.mark.parametrize("moments", [True, False])
def test_stale(tmp_path: Path, url: str, moments: bool) -> None:
    made = world(tmp_path, url, spend=WINDOWS, last=COLUMNS)
    made.materialize(2)
    made.add([{"customer": c, "at": 3, "amount": 7.0, "note": "new"} for c in TOUCHED])
    made.add([{"customer": 100, "at": 3, "amount": 7.0, "note": "new"}])
    made.predict([*CUSTOMERS, 100], 4)
    assert classes_of(made.audit(moments=moments)) == only("stale", *SPEND, *LAST, rows=len(TOUCHED) + 1)


def test_expiry_that_only_the_online_store_sees(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, spend={**WINDOWS, "max_age": "2h"}, last=COLUMNS)
    made.materialize(2, "last")
    made.materialize(2, "spend")
    made.predict(CUSTOMERS, 4)
    assert classes_of(made.audit(moments=True)) == only("expiry", *SPEND, rows=len(CUSTOMERS))


def test_expiry_that_only_training_sees(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, last={**COLUMNS, "max_age": "2h"})
    made.materialize(2)
    made.predict(CUSTOMERS, 5, app=skew_app({"last": COLUMNS}))  # max_age is no part of what is stored
    assert classes_of(made.audit()) == only("expiry", *LAST, rows=len(CUSTOMERS))


@pytest.mark.parametrize("moments", [True, False])
def test_backfill_of_rows_that_say_they_were_known(tmp_path: Path, url: str, moments: bool) -> None:
    made = world(tmp_path, url, spend=WINDOWS, last=COLUMNS)
    made.materialize(12)
    made.predict([*CUSTOMERS, 100], 12.5)
    made.add([{"customer": c, "at": 10, "stored": 20, "amount": 7.0, "note": "old"} for c in [*TOUCHED, 100]])
    assert classes_of(made.audit(moments=moments)) == only("backfill", *SPEND, *LAST, rows=len(TOUCHED) + 1)


def test_backfill_of_rows_that_were_served_before_they_were_known(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, last=COLUMNS)
    made.add([{"customer": c, "at": 10, "known": 20, "amount": 7.0, "note": "early"} for c in TOUCHED])
    made.materialize(21)
    made.predict(CUSTOMERS, 12)
    assert classes_of(made.audit(moments=True)) == only("backfill", *LAST)


def test_definition_version(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, spend=WINDOWS, last=COLUMNS)
    made.add([{"customer": c, "at": 2, "amount": 7.0, "note": "n"} for c in TOUCHED])
    shorter = gn.Aggregation("*", "count", window="1h", name="count_7d")
    served = skew_app({"spend": {"features": [shorter, WINDOWS["features"][1]]}, "last": COLUMNS})
    made.revisions = [skew_app({"spend": {"features": [gn.Column("amount")]}, "last": COLUMNS}), served]
    made.materialize(2, app=served)
    made.predict(CUSTOMERS, 2, app=served)
    assert classes_of(made.audit()) == only("definition_version", "spend.count_7d", rows=len(CUSTOMERS))


def test_a_revision_by_which_a_value_has_not_expired(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, spend={**WINDOWS, "max_age": "2h"})
    made.revisions = [skew_app({"spend": WINDOWS})]
    made.materialize(2)
    made.add([{"customer": c, "at": 3, "amount": 7.0, "note": "new"} for c in TOUCHED])
    made.predict(CUSTOMERS, 5, app=made.revisions[0])
    assert classes_of(made.audit()) == only("definition_version", *SPEND)


def test_definition_version_of_a_request_feature(tmp_path: Path, url: str) -> None:
    def app(factor: float) -> App:
        feature = gn.RequestFeature("scaled", request={"amount": "float64"}, expression=gn.col("amount") * factor)
        return skew_app({"last": COLUMNS}, extra=[feature], request={"amount": "float64"})

    made = SkewWorld(tmp_path, url, app(3.0))
    made.add([{"customer": c, "at": 1, "amount": 1.0, "note": "n"} for c in CUSTOMERS])
    made.materialize(2)
    made.predict(CUSTOMERS, 3, fields={"amount": [float(c) for c in CUSTOMERS]})
    made.app, made.revisions = app(2.0), [app(5.0), app(3.0)]
    assert classes_of(made.audit()) == only("definition_version", "scaled", rows=len(CUSTOMERS) - 1)  # 0 is 0


def test_default(tmp_path: Path, url: str) -> None:
    count = gn.Aggregation("*", "count", window="1h", name="number")
    mean = gn.Aggregation("amount", "mean", window="1h", default=-1.0, name="usual")
    spend = {"features": [count, mean], "on_expired": "default", "max_age": "2h"}
    made = world(tmp_path, url, spend=spend, last={"features": [gn.Column("amount", default=-1.0)]})
    made.materialize(2)
    unknown = list(range(100, 107))
    made.predict([*CUSTOMERS, *unknown], 5)
    found = classes_of(made.audit())
    # whom nobody knows is missing on both sides; a mean that is null where the window is empty is served as its default
    # once the store's row has expired
    assert found["spend.usual"] == {"default": len(CUSTOMERS)}
    assert found["spend.number"] == {"expiry": len(CUSTOMERS)}
    assert set(found) == {"spend.usual", "spend.number"}


def test_a_replica_whose_clock_is_behind(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, spend=WINDOWS, last=COLUMNS)
    made.add([{"customer": c, "at": 9.5, "amount": 7.0, "note": "new"} for c in TOUCHED])
    made.materialize(10)
    made.predict(CUSTOMERS, 9.3)
    assert classes_of(made.audit(moments=True)) == only("clock", *SPEND, *LAST)


def test_a_log_in_another_time_zone(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, spend=WINDOWS, last=COLUMNS)
    made.add([{"customer": c, "at": 9.5, "amount": 7.0, "note": "new"} for c in TOUCHED])
    made.materialize(10)
    made.predict(CUSTOMERS, 10.2, logged_later=-2)
    assert classes_of(made.audit()) == only("clock", *SPEND, *LAST)


@pytest.mark.parametrize("moments", [True, False])
def test_a_busy_platform_that_lags_behind_has_no_class_of_another_kind(tmp_path: Path, url: str, moments: bool) -> None:
    random = np.random.default_rng(11)
    since = gn.Aggregation("*", "time_since_last", window="7d")
    made = SkewWorld(
        tmp_path, url,
        skew_app({
            "spend": {"features": [*WINDOWS["features"], since], "max_age": "1h"}, "last": {**COLUMNS, "max_age": "3h"}
        }),
    )  # fmt: skip
    for at in range(12):
        made.add([
            {"customer": int(c), "at": at + random.uniform(0, 1), "known": at + random.uniform(1, 3),
             "stored": at + 2.5, "amount": float(random.normal()), "note": f"n{random.integers(9)}"}
            for c in random.integers(100, size=250)
        ])  # fmt: skip
    for at in range(12):
        made.materialize(at)
        made.predict(random.integers(110, size=200), at + random.uniform(0.1, 1.5))
    found = classes_of(made.audit(moments=moments, slice_rows=500))
    kinds = {kind for counts in found.values() for kind in counts}
    assert kinds == {"default", "expiry", "stale", "late_data", "backfill"}


def test_a_few_odd_values_are_not_the_clocks(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, spend=WINDOWS, last=COLUMNS)
    made.add([{"customer": c, "at": 9.5, "amount": 7.0, "note": "new"} for c in TOUCHED])
    made.materialize(10)
    made.predict([0, 1, *range(20, 30)], 10.2, logged_later=-2)
    assert classes_of(made.audit()) == only("unexplained", *SPEND, *LAST, rows=2)


def test_a_row_that_the_store_has_lost_is_unexplained(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, spend=WINDOWS, last=COLUMNS)
    made.materialize(2)
    for view in ("spend", "last"):
        made.online.clear(view_layout(made.app, view))
    made.predict(CUSTOMERS, 3)
    assert classes_of(made.audit(moments=True)) == only("unexplained", *SPEND, *LAST, rows=len(CUSTOMERS))
    # who does not know when it was materialized cannot know that it was there
    assert classes_of(made.audit()) == only("stale", *SPEND, *LAST, rows=len(CUSTOMERS))


def test_unexplained(tmp_path: Path, url: str) -> None:
    made = world(tmp_path, url, last=COLUMNS)
    made.materialize(2)
    made.predict(CUSTOMERS, 3)
    table = made.offline.read("predictions__risk")
    assert table.num_rows == len(CUSTOMERS)
    values = table.column("number.last.amount").to_pylist()
    last = table.to_pylist()[0]
    record = _record(last, np.nextafter(values[0], 1e9))
    made.write([record, replace(record, prediction_id="minus", inputs={**record.inputs, "last.note": "other"})])
    report = made.audit()
    assert classes_of(report) == {"last.amount": {"unexplained": 2}, "last.note": {"unexplained": 1}}
    assert report.features["last.note"].rate == 1 / 52


def test_what_only_request_features_read_is_said_not_to_be_audited(tmp_path: Path, url: str) -> None:
    feature = gn.RequestFeature(
        "scaled", request={"amount": "float64"}, expression=gn.col("amount") * gn.col("spend.count_7d")
    )
    app = skew_app({"last": COLUMNS, "spend": WINDOWS}, extra=[feature], features=["last", "scaled"])
    made = SkewWorld(tmp_path, url, app)
    made.add([{"customer": c, "at": 1, "amount": 1.0, "note": "n"} for c in CUSTOMERS])
    made.materialize(2)
    made.predict(CUSTOMERS, 3, fields={"amount": [1.0] * len(CUSTOMERS)})
    report = made.audit()
    assert set(report.features) == set(LAST)
    assert set(report.not_audited) == {"scaled", "spend.count_7d"}


def test_an_empty_log_has_no_features(tmp_path: Path, url: str) -> None:
    report = world(tmp_path, url, last=COLUMNS).audit()
    assert (report.predictions, dict(report.features), report.worst_rate) == (0, {}, 0.0)
    assert report.as_json()["features"] == []


def _record(row: dict[str, Any], amount: float) -> Any:
    from gnomon.contracts.predictions import PredictionRecord

    inputs = {"last.amount": amount, "last.note": row["text.last.note"]}
    ages = {name: row[f"age_us.{name}"] for name in LAST}
    status = {name: row[f"status.{name}"] for name in LAST}
    keys = {"customer": row["key.customer"]}
    return PredictionRecord("broken", "risk", "risk", 1, "champion", hour(3), keys, inputs, ages, status, 1.0, 1)
