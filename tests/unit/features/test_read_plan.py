"""Read plans name views, columns and their order, and refuse what is not defined."""

from __future__ import annotations

import pytest

from gnomon.contracts.apps import App
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import Aggregation, Column, FeatureView
from gnomon.contracts.sources import DataSource
from gnomon.errors import InvalidInput, NotFound
from gnomon.features.read_plan import read_plan


@pytest.fixture(scope="module")
def app() -> App:
    customer = Entity("customer", key="customer_id")
    payments = DataSource("payments", path="*.parquet", id="tx", event_time="paid_at", known_time="known_at")
    spend = FeatureView(
        "spend", entity=customer, source=payments, features=[Aggregation("amount", "mean", window="7d"), Column("vip")]
    )
    visits = FeatureView("visits", entity=customer, source=payments, features=[Column("vip")])
    schema = {
        "customer_id": "int64",
        "tx": "string",
        "amount": "float64",
        "vip": "bool",
        "paid_at": "timestamp",
        "known_at": "timestamp",
    }
    return App.of("shop", [spend, visits]).with_schemas({"payments": schema})  # type: ignore[arg-type]


def test_features_keep_the_order_of_the_lookups(app: App) -> None:
    plan = read_plan(app, ["spend.vip", "visits.vip", "spend.amount_mean_7d"])
    assert plan.names == ("spend.vip", "visits.vip", "spend.amount_mean_7d")
    assert [layout.view for layout in plan.layouts] == ["spend", "visits"]
    assert plan.features == ((0, 1), (1, 0), (0, 0))


def test_a_view_stands_for_all_of_its_features(app: App) -> None:
    assert read_plan(app, ["spend"]).names == ("spend.amount_mean_7d", "spend.vip")


@pytest.mark.parametrize(("lookup", "hint"), [("spent.vip", "spend"), ("spend.vio", "vip")])
def test_an_unknown_name_has_its_nearest_as_hint(app: App, lookup: str, hint: str) -> None:
    with pytest.raises(NotFound) as error:
        read_plan(app, [lookup])
    assert f"'{hint}'" in error.value.hint


def test_a_lookup_given_twice_is_refused(app: App) -> None:
    with pytest.raises(InvalidInput, match=r"spend\.vip"):
        read_plan(app, ["spend.vip", "spend"])
