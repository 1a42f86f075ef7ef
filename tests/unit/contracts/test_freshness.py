"""A view's freshness: what it takes, and that it changes neither older definitions nor what is stored."""

from __future__ import annotations

from typing import Any

import pytest

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.layouts import view_layout
from gnomon.errors import InvalidDefinition


def view(**fields: Any) -> gn.FeatureView:
    return gn.FeatureView("spend", entity="customer", source="payments", features=[gn.Column("amount")], **fields)


def test_without_it_a_definition_is_what_it_was() -> None:
    assert "freshness" not in view().as_json()
    assert view().content_hash() == "d6e44abcd4340fdb283a8f818e66c9e4e8ec9bda073a490c9791df17a40b5341"


def test_it_is_part_of_the_definition() -> None:
    fresh = view(freshness="1s")
    assert fresh.as_json()["freshness"] == "1s"
    assert fresh.content_hash() != view().content_hash()
    assert gn.FeatureView.model_validate(fresh.as_json()) == fresh


def test_it_does_not_change_what_is_stored() -> None:
    def version(made: gn.FeatureView) -> str:
        source = gn.DataSource("payments", path="p.csv", id="id", event_time="at")
        app = App.of("app", [gn.Entity("customer", key="customer"), source, made])
        schema: Any = {"id": "string", "at": "timestamp", "customer": "int64", "amount": "float64"}
        return view_layout(app.with_schemas({"payments": schema}), "spend").version

    assert version(view(freshness="1s")) == version(view())


@pytest.mark.parametrize(("value", "says"), [("0s", "zero"), (5, "not a duration"), ("soon", "not a duration")])
def test_what_cannot_be_meant_is_refused(value: Any, says: str) -> None:
    with pytest.raises(InvalidDefinition, match=f"freshness.*{says}"):
        view(freshness=value)
