"""Request features: one code for one row and for many, functions and expressions alike, with errors that name both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gnomon.contracts.apps import App
from gnomon.contracts.entities import Entity
from gnomon.contracts.expressions import col
from gnomon.contracts.features import Aggregation, Column, FeatureView, RequestFeature
from gnomon.contracts.sources import DataSource
from gnomon.errors import InvalidDefinition, InvalidInput, NotFound
from gnomon.features.request_features import RequestFeatures, compute_request_features


def night_share(amount: np.ndarray[Any, Any], country: np.ndarray[Any, Any], mean: np.ndarray[Any, Any]) -> Any:
    return np.where(country == "de", amount / mean, np.nan)


def too_short(amount: np.ndarray[Any, Any]) -> Any:
    return amount[:-1]


def raises(amount: np.ndarray[Any, Any]) -> Any:
    return [][len(amount)]


def words(amount: np.ndarray[Any, Any]) -> Any:
    return np.array(["a"] * len(amount), dtype=object)


def resolve(reference: str) -> Callable[..., Any]:
    return globals()[reference.partition(":")[2]]  # type: ignore[no-any-return]


MEAN = "spend.amount_mean_7d"


@pytest.fixture(scope="module")
def app() -> App:
    customer = Entity("customer", key="customer_id")
    payments = DataSource("payments", path="*.parquet", id="tx", event_time="paid_at", known_time="known_at")
    spend = FeatureView(
        "spend", entity=customer, source=payments, features=[Aggregation("amount", "mean", window="7d"), Column("vip")]
    )
    request = {"amount": "float64", "country": "string", "paid": "timestamp", "items": "int64"}
    features = [
        RequestFeature("ratio", request=request, expression=col("amount") / col(MEAN)),
        RequestFeature("hour", request=request, expression=col("paid").apply("hour"), dtype="int64"),
        RequestFeature("big", request=request, expression=(col("items") + 1) * (col("spend.vip")), dtype="int64"),
        RequestFeature("share", request=request, inputs=("amount", "country", MEAN), function="app:night_share"),
        RequestFeature("words", request=request, inputs=("amount",), function="app:words", dtype="string"),
        RequestFeature("wrong_words", request=request, inputs=("amount",), function="app:words"),
        RequestFeature("wrong_type", request=request, expression=col("country"), dtype="float64"),
        RequestFeature("too_short", request=request, inputs=("amount",), function="app:too_short"),
        RequestFeature("raises", request=request, inputs=("amount",), function="app:raises"),
    ]
    schema = {
        "customer_id": "int64",
        "tx": "string",
        "amount": "float64",
        "vip": "bool",
        "paid_at": "timestamp",
        "known_at": "timestamp",
    }
    return App.of("shop", [spend, *features]).with_schemas({"payments": schema})  # type: ignore[arg-type]


GOOD = ["ratio", "hour", "big", "share", "words"]
ONLINE = {
    "amount": np.array([6.0, np.nan, 5.0]),
    "country": np.array(["de", "fr", None], dtype=object),
    "paid": np.array([3_600_000_000, None, -1], dtype=object),
    "items": np.array([2**53, 1, None], dtype=object),
    MEAN: np.array([4.0, 2.0, 0.0]),
    "spend.vip": np.array([True, None, False], dtype=object),
}
OFFLINE = {
    "amount": pa.array([6.0, None, 5.0]),
    "country": pa.array(["de", "fr", None]),
    "paid": pa.array([3_600_000_000, None, -1], pa.timestamp("us", tz="UTC")),
    "items": pa.array([2**53, 1, None]),
    MEAN: pa.chunked_array([pa.array([4.0]), pa.array([2.0, 0.0])]),
    "spend.vip": pa.array([True, None, False]),
}
EXPECTED = {
    "ratio": [1.5, None, None],
    "hour": [1, None, 23],
    "big": [2**53 + 1, None, None],
    "share": [1.5, None, None],
    "words": ["a", "a", "a"],
}


@pytest.mark.parametrize("columns", [ONLINE, OFFLINE], ids=["numpy", "arrow"])
def test_numpy_and_arrow_columns_give_the_same(app: App, columns: dict[str, Any]) -> None:
    found = compute_request_features(app, GOOD, columns, resolve)
    assert {name: array.to_pylist() for name, array in found.items()} == EXPECTED


@pytest.mark.parametrize("row", range(3))
def test_one_row_equals_its_place_among_many(app: App, row: int) -> None:
    features = RequestFeatures(app, GOOD, resolve)
    found = features.compute({name: values[row : row + 1] for name, values in ONLINE.items()})
    assert {name: array.to_pylist() for name, array in found.items()} == {n: [v[row]] for n, v in EXPECTED.items()}


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("too_short", InvalidDefinition, ["'too_short'", "app:too_short", "(2,)", "3 rows"]),
        ("raises", InvalidDefinition, ["'raises'", "app:raises", "IndexError"]),
        ("wrong_words", InvalidDefinition, ["'wrong_words'", "float64", "object"]),
        ("wrong_type", InvalidDefinition, ["'wrong_type'", "float64", "string"]),
        ("absent", NotFound, ["'absent'"]),
    ],
)
def test_errors_name_the_feature_and_the_cause(app: App, name: str, kind: type[Exception], words: list[str]) -> None:
    with pytest.raises(kind) as error:
        compute_request_features(app, [name], ONLINE, resolve)
    for word in words:
        assert word in str(error.value)


def test_missing_and_wrong_columns_are_named(app: App) -> None:
    with pytest.raises(InvalidInput, match="'ratio' reads 'amount', which is missing"):
        compute_request_features(app, ["ratio"], {MEAN: np.array([1.0])}, resolve)
    with pytest.raises(InvalidInput, match="'items'"):
        compute_request_features(app, ["big"], {**ONLINE, "items": np.array(["x", "y", "z"], dtype=object)}, resolve)
    with pytest.raises(InvalidInput, match=r"'ratio'.*rows"):
        compute_request_features(app, ["ratio"], {**ONLINE, "amount": np.array([1.0])}, resolve)
