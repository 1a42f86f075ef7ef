"""Hourly statistics of drivers, as `feast init` makes them: one source, a pushed twin, two on-demand views."""

from datetime import timedelta

import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, FileSource, Project, PushSource, RequestSource
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Float64, Int64, Map, String
from feast.value_type import ValueType

project = Project(name="driver_ranking", description="Which driver to send.")

driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64, description="Who drives.")

hourly = FileSource(
    name="driver_hourly_stats_source",
    path="data/driver_stats.parquet",
    timestamp_field="event_timestamp",
    created_timestamp_column="created",
)
pushed = PushSource(name="driver_stats_push", batch_source=hourly)

SCHEMA = [
    Field(name="driver_id", dtype=Int64),
    Field(name="conv_rate", dtype=Float32),
    Field(name="acc_rate", dtype=Float32, tags={"unit": "ratio"}),
    Field(name="avg_daily_trips", dtype=Int64, description="Trips a day"),
    Field(name="driver_metadata", dtype=Map),
]
stats = FeatureView(
    name="driver_hourly_stats",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=SCHEMA,
    online=True,
    source=hourly,
    tags={"team": "driver_performance"},
    owner="ann@example.org",
    description="What a driver did in the last hour.",
)
fresh = FeatureView(
    name="driver_hourly_stats_fresh", entities=[driver], ttl=timedelta(hours=36), schema=SCHEMA, source=pushed
)

asked = RequestSource(
    name="vals_to_add", schema=[Field(name="val_to_add", dtype=Int64), Field(name="prefix", dtype=String)]
)
FACTOR = 2


def scaled(column):
    """Scale a column."""
    return column * FACTOR


@on_demand_feature_view(
    sources=[stats, asked],
    schema=[Field(name="conv_rate_plus_val", dtype=Float64), Field(name="many_trips", dtype=Int64)],
    description="Asks more.",
)
def transformed_conv_rate(inputs: pd.DataFrame) -> pd.DataFrame:
    """Add and scale."""
    df = pd.DataFrame()
    df["conv_rate_plus_val"] = scaled(inputs["conv_rate"]) + inputs["val_to_add"]
    df["many_trips"] = (inputs["avg_daily_trips"] > 100).astype("int64")
    return df


@on_demand_feature_view(
    sources=[fresh, asked],
    schema=[Field(name="conv_rate_plus_val", dtype=Float64), Field(name="label", dtype=String)],
    mode="python",
)
def transformed_fresh(inputs):
    """Add, as lists."""
    pairs = zip(inputs["conv_rate"], inputs["val_to_add"], strict=True)
    rates = [None if rate is None else rate + add for rate, add in pairs]
    return {"conv_rate_plus_val": rates, "label": [f"{prefix}!" for prefix in inputs["prefix"]]}


driver_activity_v1 = FeatureService(
    name="driver_activity_v1",
    features=[stats[["conv_rate", "driver_metadata"]], transformed_conv_rate],
    logging_config=LoggingConfig(destination=FileLoggingDestination(path="data")),
)
driver_activity_v2 = FeatureService(
    name="driver_activity_v2", features=[fresh, transformed_fresh[["label"]]], description="With fresh values."
)
