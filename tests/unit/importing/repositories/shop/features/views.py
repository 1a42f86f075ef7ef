"""What the shop says about customers and items."""

from datetime import timedelta

from entities import customer, item, region, weight
from feast import Aggregation, FeatureView, Field, StreamFeatureView
from feast.types import Array, Bool, Bytes, Float64, Int32, Int64, Json, String, UnixTimestamp
from features.sources import clicks, orders, prices

basket = FeatureView(
    name="customerBasket",
    entities=[customer, item],
    schema=[
        Field(name="amount", dtype=Float64),
        Field(name="isGift", dtype=Bool),
        Field(name="is_gift", dtype=Bool),
        Field(name="lines", dtype=Int32),
        Field(name="notes", dtype=Json),
        Field(name="paid_at", dtype=UnixTimestamp),
        Field(name="embedding", dtype=Array(Float64)),
        Field(name="blob", dtype=Bytes),
    ],
    source=orders,
    ttl=timedelta(0),
    online=False,
)
by_customer = FeatureView(
    name="by_customer",
    entities=[customer],
    schema=[Field(name="amount", dtype=String), Field(name="lines", dtype=Int64)],
    source=orders,
    ttl=timedelta(weeks=2),
)
item_clicks = StreamFeatureView(
    name="item_clicks",
    entities=[item],
    schema=[
        Field(name="item_id", dtype=Int64),
        Field(name="sum_price_3600s", dtype=Float64),
        Field(name="clicks", dtype=Int64, description="How often"),
        Field(name="other", dtype=Int64),
    ],
    aggregations=[
        Aggregation(column="price", function="sum", time_window=timedelta(hours=1)),
        Aggregation(
            column="price",
            function="count",
            time_window=timedelta(days=1),
            slide_interval=timedelta(minutes=5),
            name="clicks",
        ),
        Aggregation(column="price", function="approx_percentile", time_window=timedelta(days=1)),
    ],
    source=clicks,
    timestamp_field="clicked_at",
    ttl=timedelta(days=2),
)
current_price = FeatureView(
    name="current_price", entities=[item], schema=[Field(name="price", dtype=Float64)], source=prices
)
in_total = FeatureView(name="in_total", entities=[], schema=[Field(name="amount", dtype=Float64)], source=orders)
by_region = FeatureView(name="by_region", entities=[region], schema=[Field(name="lines", dtype=Int64)], source=orders)
by_weight = FeatureView(name="by_weight", entities=[weight], schema=[Field(name="lines", dtype=Int64)], source=orders)
