"""What a definition may name of another one: an error says which definition, which value and what is near it."""

from __future__ import annotations

from typing import Any

import pytest

import gnomon as gn
from gnomon.contracts.app_rules import check_monitors
from gnomon.contracts.apps import App
from gnomon.contracts.signatures import model_signature
from gnomon.errors import InvalidDefinition

SCHEMA: dict[str, Any] = {
    "order_id": "int64", "at": "timestamp", "cow": "int64", "milk_temp": "float64", "returned": "int64",
}  # fmt: skip


def app(
    *rules: gn.Drift | gn.Quality, column: str = "milk_temp", task: Any = "binary", field: str = "milk_temp"
) -> App:
    cups = gn.DataSource("cups", path="cups.csv", id="order_id", event_time="at")
    hand = gn.FeatureView(
        "hand", entity=gn.Entity("cow", key="cow"), source=cups, features=[gn.Aggregation(column, "mean", window="7d")]
    )
    heat = gn.RequestFeature(
        "heat", request={field: "float64"}, expression=gn.col(field) - gn.col("hand.milk_temp_mean_7d")
    )
    label = gn.Label("returned", source=cups, delay="1d")
    model = gn.Model("returns", features=[hand, heat], request={"cow": "int64"}, label=label, task=task)
    watched = gn.Monitor(
        "watch", deployment=gn.Deployment("shop", model=model), window="7d", every="1d", rules=rules or [gn.Drift()]
    )
    return App.of("farm", [watched, heat])


@pytest.mark.parametrize(
    ("rule", "task", "message", "hint"),
    [
        (gn.Quality("rocauc", min=0.6), "binary", "a binary model has no metric 'rocauc'", "did you mean 'roc_auc'?"),
        (gn.Quality("rmse", max=1), "binary", "a binary model has no metric 'rmse'", "known: accuracy, average_prec"),
        (gn.Quality("roc_auc", min=0.6), "regression", "a regression model has no metric", "known: mae, r2, rmse"),
        (gn.Quality("roc_auc"), "binary", r"Quality\('roc_auc'\) has no bound", "give min or max"),
        (gn.Drift("input"), "binary", "model 'returns' has no input 'input'", "did you mean 'inputs'?"),
        (gn.Drift("hand.milktemp_mean_7d"), "binary", "no input", "did you mean 'hand.milk_temp_mean_7d'?"),
        (gn.Drift("hand"), "binary", "no input 'hand'", ""),
    ],
)  # fmt: skip
def test_a_monitor_that_would_never_watch_is_refused(
    rule: gn.Drift | gn.Quality, task: str, message: str, hint: str
) -> None:
    with pytest.raises(InvalidDefinition, match=f"monitor 'watch': .*{message}") as caught:
        check_monitors(app(gn.Drift(), rule, task=task))
    assert caught.value.hint.startswith(hint)


def test_a_monitor_may_watch_the_score_each_input_and_the_metrics_of_the_task() -> None:
    made = app(gn.Quality("roc_auc", min=0.6))
    check_monitors(made)
    inputs = [item.name for item in model_signature(made.with_schemas({"cups": SCHEMA}), "returns").inputs]
    assert inputs == ["hand.milk_temp_mean_7d", "heat", "cow"]
    check_monitors(app(gn.Drift("score"), gn.Drift("inputs"), *(gn.Drift(name) for name in inputs)))
    check_monitors(app(gn.Quality("rmse", max=3.0), task="regression"))


def test_an_app_that_was_stored_with_such_a_monitor_is_still_read() -> None:
    stored = app(gn.Quality("rocauc", min=0.6)).with_schemas({"cups": SCHEMA})
    assert App.from_json(stored.as_json()) == stored


def test_a_reference_to_a_feature_of_a_misspelt_column_names_the_column() -> None:
    with pytest.raises(InvalidDefinition, match="view 'hand' has no feature 'milk_temp_mean_7d'") as caught:
        app(column="milktemp")
    assert caught.value.hint == (
        "did you mean 'milktemp_mean_7d'? It aggregates column 'milktemp' of source 'cups': is that one spelt right?"
    )


def test_a_request_field_that_the_label_source_lacks() -> None:
    message = (
        "request_feature 'heat': request field 'milk_tmp' is no column of source 'cups', from which label 'returned' "
        "of model 'returns' is read; in training, request fields are read from there too"
    )
    with pytest.raises(InvalidDefinition, match=message) as caught:
        app(field="milk_tmp").with_schemas({"cups": SCHEMA})
    assert caught.value.hint == "did you mean 'milk_temp'?"


def test_a_gate_of_another_task_names_the_metrics_that_there_are() -> None:
    with pytest.raises(InvalidDefinition, match="no metric 'rmse'; known: accuracy, average_precision, brier"):
        gn.Model("m", features=["hand"], label="returned", gates=[gn.Gate("rmse", max=1)])
