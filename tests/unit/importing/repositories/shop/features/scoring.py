"""Scores that are computed when they are asked for."""

import math
from typing import Any

from feast import FeatureService, Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String
from features.rates import RATES, WRITTEN
from features.views import basket, by_customer, current_price, item_clicks

now = RequestSource(name="now", schema=[Field(name="quantity", dtype=Int64), Field(name="currency", dtype=String)])


@on_demand_feature_view(
    sources=[current_price, now],
    schema=[Field(name="total", dtype=Float64), Field(name="Log Total", dtype=Float64)],
    mode="python",
    singleton=True,
)
def total(inputs: dict[str, Any]) -> dict[str, Any]:
    """Price by quantity."""
    found = (inputs["price"] or 0.0) * inputs["quantity"]
    return {"total": found, "Log Total": math.log1p(found)}


@on_demand_feature_view(
    sources=[current_price, now], schema=[Field(name="in_euros", dtype=Float64)], mode="python", singleton=True
)
def converted(inputs: dict[str, Any]) -> dict[str, Any]:
    """Convert, with what another file knows."""
    return {"in_euros": inputs["price"] * RATES[inputs["currency"]]}


@on_demand_feature_view(
    sources=[by_customer, now],
    schema=[Field(name="stored", dtype=Float64)],
    entities=[],
    write_to_online_store=True,
)
def stored(inputs):
    """Compute when written."""
    return inputs[["lines"]].rename(columns={"lines": "stored"})


@on_demand_feature_view(
    sources=[current_price, now], schema=[Field(name="checked", dtype=Float64)], mode="python", singleton=True
)
def checked(inputs: dict[str, Any]) -> dict[str, Any]:
    """Look at the currency."""
    return {"checked": float(WRITTEN.fullmatch(inputs["currency"]) is not None)}


checkout = FeatureService(
    name="checkout",
    features=[
        basket[["amount"]],
        by_customer.with_name("other").with_join_key_map({"customer_id": "buyer_id"}),
        current_price.with_name("price_now"),
        item_clicks,
        total,
        converted,
    ],
    tags={"release": "7"},
    owner="bob",
)
nothing = FeatureService(name="nothing", features=[checked])
