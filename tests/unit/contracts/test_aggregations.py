"""Aggregations as definitions: older ones keep their hash, names tell all that they are made of, mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest

import gnomon as gn
from gnomon.contracts.features import MOST_LISTED, FeatureView
from gnomon.contracts.layouts import feature_dtype, view_layout
from gnomon.errors import InvalidDefinition
from gnomon.testing.view_cases import SCHEMA, app_of


def test_a_definition_without_q_k_and_lag_has_the_hash_and_the_json_of_before_they_were() -> None:
    """Else every stored view would get a new version, and be materialized again."""
    app, view = app_of(("k",), [
        gn.Column("x"),
        gn.Aggregation("x", "mean", window="7d"),
        gn.Aggregation("*", "count", window="28d", where=gn.col("n") > 1),
        gn.Aggregation(gn.col("x") * 2, "std", window="90s", name="sd", default=0.5),
        gn.Derived("ratio", gn.col("x_mean_7d") / gn.col("sd")),
    ], max_age="2d")  # fmt: skip
    assert view.content_hash() == "bf052af6b5e9e838bb3807b0726ae023a22772f33d2c0b7100839c2a7efeee94"
    assert view_layout(app, "v").version == "d922592e"
    assert view.as_json()["features"][1] == {
        "feature": "aggregation", "column": "x", "function": "mean", "window": "7d", "where": None,
        "name": "x_mean_7d", "default": None,
    }  # fmt: skip


PARAMETERS: dict[str, Any] = {"quantile": {"q": 0.5}, "last_k": {"k": 3}, "top_k": {"k": 3}}


def test_a_tile_is_part_of_the_definition_and_not_of_the_name() -> None:
    slides, tiled = (gn.Aggregation("x", "mean", window="90d", tile=tile) for tile in (None, "1d"))
    assert tiled.name == slides.name == "x_mean_90d"
    assert tiled.as_json() == {**slides.as_json(), "tile": "1d"}
    assert gn.Aggregation.model_validate(tiled.as_json()) == tiled
    versions = {view_layout(app_of(("k",), [feature])[0], "v").version for feature in (slides, tiled)}
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("function", "fields", "message"),
    [
        ("count_distinct", {"tile": "1d"}, "'count_distinct' needs every row .* use 'approx_count_distinct'"),
        ("quantile", {"q": 0.5, "tile": "1d"}, "use 'approx_quantile'"),
        ("top_k", {"k": 3, "tile": "1d"}, "use 'approx_top_k'"),
        ("approx_count_distinct", {}, "give it a tile, such as tile='1d' .*, or use 'count_distinct'"),
        ("approx_quantile", {"q": 0.5}, "or use 'quantile', which looks at every row"),
        ("approx_quantile", {"tile": "1d"}, r"'approx_quantile' needs q between 0 and 1, .* \(got q=None\)"),
        ("approx_top_k", {"tile": "1d"}, r"'approx_top_k' needs k from 1 to 100, such as k=3 \(got k=None\)"),
        ("sum", {"tile": "7d"}, r"shorter than its window, here '7d', .* \(got '7d'\)"),
        ("sum", {"tile": "0s"}, r"above zero.* \(got '0s'\)"),
        ("sum", {"tile": "36501d", "window": "73000d"}, r"at most '36500d' \(got '36501d'\)"),
        ("sum", {"tile": "1m"}, r"'7d' has more than 10000 tiles of '1m': use tile='60.48s' or a longer one"),
        ("sum", {"tile": 7}, r"7 is not a duration"),
    ],
)  # fmt: skip
def test_tiles_that_do_not_fit_are_named_with_the_remedy(function: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        gn.Aggregation("x", function, **{"window": "7d", **fields})


def test_a_sketch_of_rows_or_of_a_text_that_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidDefinition, match="'approx_count_distinct'"):
        gn.Aggregation("*", "approx_count_distinct", window="7d", tile="1d")
    with pytest.raises(InvalidDefinition, match="approx_quantile of column 's', which is string"):
        app_of(("k",), [gn.Aggregation("s", "approx_quantile", q=0.5, window="7d", tile="1d")])


@pytest.mark.parametrize("function", ["var", "quantile", "last_k", "top_k", "time_since_last"])
def test_json_reads_back_to_an_equal_definition_and_lag_and_parameter_change_the_hash(function: str) -> None:
    def view(**fields: Any) -> FeatureView:
        merged = {"window": "7d", "name": "f", **PARAMETERS.get(function, {}), **fields}
        return app_of(("k",), [gn.Aggregation("x", function, **merged)])[1]

    made = view(lag="2d")
    assert FeatureView.model_validate(made.as_json()) == made
    others = [view(), view(lag="3d")]
    if function in PARAMETERS:
        others.append(
            view(lag="2d", **{name: value / 2 if name == "q" else 4 for name, value in PARAMETERS[function].items()})
        )
    assert len({v.content_hash() for v in [made, *others]}) == len(others) + 1
    assert view(lag="0s") == view(lag=None) == view()


@pytest.mark.parametrize(
    ("function", "fields", "name"),
    [
        ("var", {}, "x_var_7d"),
        ("var", {"lag": "2d"}, "x_var_7d_lag_2d"),
        ("sum", {"lag": "0.5s"}, "x_sum_7d_lag_0_5s"),
        ("quantile", {"q": 0.95}, "x_quantile_0_95_7d"),
        ("last_k", {"k": 5}, "x_last_5_7d"),
        ("top_k", {"k": 3, "lag": "36h"}, "x_top_3_7d_lag_36h"),
        ("time_since_last", {}, "x_time_since_last_7d"),
    ],
)
def test_names_tell_parameter_window_and_lag(function: str, fields: dict[str, Any], name: str) -> None:
    assert gn.Aggregation("x", function, window="7d", **fields).name == name


def test_time_since_last_may_ask_about_rows() -> None:
    assert gn.Aggregation("*", "time_since_last", window="7d").name == "time_since_last_7d"


@pytest.mark.parametrize(
    ("function", "fields", "message"),
    [
        ("quantile", {}, r"'quantile' needs q between 0 and 1, such as q=0.5 for the median \(got q=None\)"),
        ("quantile", {"q": 95}, r"got q=95.0"),
        ("quantile", {"q": 0}, r"got q=0.0"),
        ("quantile", {"q": 1}, r"got q=1.0"),
        ("quantile", {"q": float("nan")}, r"got q=nan"),
        ("quantile", {"q": 0.5, "k": 3}, r"takes no k \(got 3\): leave it out, it is for 'last_k' and 'top_k'"),
        ("mean", {"q": 0.5}, r"'mean' takes no q \(got 0.5\): leave it out, it is for 'quantile'"),
        ("last_k", {}, r"'last_k' needs k from 1 to 100, such as k=3 \(got k=None\)"),
        ("top_k", {"k": 0}, r"got k=0"),
        ("top_k", {"k": MOST_LISTED + 1}, r"got k=101"),
        ("top_k", {"k": 2.5}, r"k: .*got 2.5"),
        ("top_k", {"k": True}, r"k: .*got True"),
        ("sum", {"lag": 7}, r"7 is not a duration"),
        ("sum", {"lag": "-7d"}, r"'-7d' is not a duration"),
        ("sum", {"lag": "40000000d"}, r"window and lag reach to '36500000d' at most"),
        ("median", {}, r"'quantile'.* \(got 'median'\)"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_the_value_and_the_remedy(function: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        gn.Aggregation("x", function, **{"window": "7d", **fields})


def test_rows_have_no_values_to_list() -> None:
    with pytest.raises(InvalidDefinition, match="'last_k'"):
        gn.Aggregation("*", "last_k", k=3, window="7d")


@pytest.mark.parametrize("function", ["var", "quantile"])
def test_a_measure_of_a_text_is_refused(function: str) -> None:
    with pytest.raises(InvalidDefinition, match=f"{function} of column 's', which is string"):
        app_of(("k",), [gn.Aggregation("s", function, window="7d", **PARAMETERS.get(function, {}))])


@pytest.mark.parametrize(
    ("function", "column", "dtype"),
    [
        ("var", "n", "float64"), ("quantile", "n", "float64"), ("last_k", "n", "string"), ("top_k", "s", "string"),
        ("time_since_last", "s", "float64"), ("time_since_last", "*", "float64"), ("last", "ts", "timestamp"),
        ("approx_quantile", "n", "float64"), ("approx_top_k", "n", "string"), ("approx_count_distinct", "s", "int64"),
        ("top_k", gn.col("n") + 1, "string"), ("time_since_last", gn.col("n") + 1, "float64"),
    ],
)  # fmt: skip
def test_types(function: str, column: Any, dtype: str) -> None:
    exact = function.removeprefix("approx_")
    tile = None if exact == function else "1d"
    feature = gn.Aggregation(column, function, window="7d", tile=tile, name="f", **PARAMETERS.get(exact, {}))
    assert feature_dtype(feature, dict(SCHEMA)) == dtype
