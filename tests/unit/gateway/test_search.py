"""Search over what is applied: the ranking, what uses what, the REST API; tags of features change no stored bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway_world import bare_parts, call

import gnomon as gn
from gnomon.cli.search_commands import show_found
from gnomon.contracts.apps import App
from gnomon.contracts.definition_search import search_definitions
from gnomon.contracts.layouts import view_layout
from gnomon.errors import InvalidInput

FIELDS = {"id": "string", "at": "timestamp", "customer_id": "int64", "amount": "float64", "is_fraud": "bool"}


def app(**feature: Any) -> App:
    customer = gn.Entity("customer", key="customer_id", owner="crm team")
    source = gn.DataSource(
        "payments", path="*.csv", id="id", event_time="at", fields=FIELDS, owner="ann",
        tags={"domain": "risk", "pii": "no"}, description="Card payments, one row each.",
    )  # fmt: skip
    view = gn.FeatureView(
        "customer_spend", entity=customer, source=source, description="What a customer spends.",
        features=[
            gn.Aggregation("amount", "mean", window="7d", **feature),
            gn.Aggregation("amount", "sum", window="7d"),
            gn.Derived("ratio", gn.col("amount_mean_7d") / gn.col("amount_sum_7d")),
        ],
    )  # fmt: skip
    above = gn.RequestFeature(
        "above", request={"amount": "float64"}, expression=gn.col("amount") - gn.col("customer_spend.amount_mean_7d")
    )
    label = gn.Label("is_fraud", source=source, delay="7d")
    model = gn.Model("fraud", label=label, features=["customer_spend.ratio", above], request={"amount": "float64"})
    specs = [customer, source, view, above, model, gn.Deployment("fraud_api", model=model)]
    return App.of("shop", specs).with_schemas({"payments": FIELDS})


TAGGED: dict[str, Any] = {"tags": ["spend", "pii"], "owner": "bob", "description": "Mean payment of a week."}


def names(words: str) -> list[str]:
    return [f"{hit.kind} {hit.name}" for hit in search_definitions([app(**TAGGED)], words)]


def used_by(name: str) -> tuple[str, ...]:
    (hit,) = (h for h in search_definitions([app(**TAGGED)], "app:shop") if f"{h.kind} {h.name}" == name)
    return hit.used_by


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("payments", ["source payments"]),
        ("PAY", ["source payments", "feature customer_spend.amount_mean_7d"]),
        ("owner:bob", ["feature customer_spend.amount_mean_7d"]),
        ("ann", ["source payments"]),
        ("risk", ["source payments"]),
        ("tag:domain=risk", ["source payments"]),
        ("kind:view", ["feature_view customer_spend"]),
        ("customer kind:entity", ["entity customer"]),
        ("ratio", ["feature customer_spend.ratio"]),
        ("fraud kind:model", ["model fraud"]),
        ("fraud", ["model fraud", "label is_fraud", "deployment fraud_api"]),
        ("mean week", ["feature customer_spend.amount_mean_7d"]),
        ("nowhere", []),
        ("payments nowhere", []),
    ],
)
def test_what_is_found_and_in_which_order(words: str, found: list[str]) -> None:
    assert names(words) == found


def test_a_name_comes_before_a_tag_and_that_before_a_description() -> None:
    assert names("spend")[:2] == ["feature_view customer_spend", "feature customer_spend.amount_mean_7d"]


@pytest.mark.parametrize(
    ("name", "users"),
    [
        ("source payments", ("feature_view customer_spend", "label is_fraud")),
        ("entity customer", ("feature_view customer_spend",)),
        ("feature_view customer_spend", ("model fraud", "request_feature above")),
        ("feature customer_spend.amount_mean_7d", ("feature customer_spend.ratio", "request_feature above")),
        ("feature customer_spend.amount_sum_7d", ("feature customer_spend.ratio",)),
        ("feature customer_spend.ratio", ("model fraud",)),
        ("request_feature above", ("model fraud",)),
        ("label is_fraud", ("model fraud",)),
        ("model fraud", ("deployment fraud_api",)),
        ("deployment fraud_api", ()),
    ],
)
def test_what_uses_it(name: str, users: tuple[str, ...]) -> None:
    assert used_by(name) == users


@given(st.sampled_from(["pay", "fraud", "customer", "amount", "risk", "ann", "zz"]), st.text("abn7", max_size=2))
def test_more_words_never_find_more(word: str, more: str) -> None:
    few, many = set(names(word)), set(names(f"{word} {more or word}"))
    assert many <= few


def test_there_must_be_a_word() -> None:
    with pytest.raises(InvalidInput, match="nothing to search for"):
        names("  ")


def test_what_says_whose_a_feature_is_changes_no_stored_bytes() -> None:
    """Else naming an owner would mean a new version of the view, and its materialization."""
    plain, tagged = app(), app(**TAGGED)
    assert view_layout(plain, "customer_spend") == view_layout(tagged, "customer_spend")
    assert plain.content_hash() != tagged.content_hash()
    assert App.from_json(tagged.as_json()) == tagged


def test_over_rest_and_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = bare_parts(tmp_path, monkeypatch)
    parts.definitions.apply(app(**TAGGED), actor="me")
    by_owner, blank = call(
        parts, tmp_path, *(("GET", "/api/v1/search", {"params": {"q": query}}) for query in ("owner:bob", " "))
    )
    (found,) = by_owner.json()["found"]
    assert (found["kind"], found["name"], found["app"], found["tags"]) == (
        "feature", "customer_spend.amount_mean_7d", "shop", ["spend", "pii"],
    )  # fmt: skip
    assert blank.status_code == 400
    show_found([found])
    shown = capsys.readouterr().out
    assert "customer_spend.amount_mean_7d" in shown
    assert "request_feature above" in shown
