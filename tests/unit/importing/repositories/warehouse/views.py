"""A view of each source, and views that nothing here is like."""

from datetime import timedelta

import sources
from feast import BatchFeatureView, Entity, FeatureView, Field, LabelView
from feast.labeling import ConflictPolicy
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Float64, Int64

shop = Entity(name="shop", join_keys=["shop_id"])


def view_of(source):
    """Make the view of a source."""
    return FeatureView(
        name=f"view_{source.name}",
        entities=[shop],
        schema=[Field(name="sales", dtype=Float64), Field(name="visits", dtype=Int64)],
        source=source,
        ttl=timedelta(days=7),
    )


snowflake = view_of(sources.in_snowflake)
bigquery = view_of(sources.in_bigquery)
redshift = view_of(sources.in_redshift)
postgres = view_of(sources.in_postgres)
mssql = view_of(sources.in_mssql)
iceberg = view_of(sources.in_iceberg)
spark_files = view_of(sources.in_spark_files)
spark = view_of(sources.in_spark)
own = view_of(sources.of_our_own)

batch = BatchFeatureView(
    name="batch",
    entities=[shop],
    schema=[Field(name="sales", dtype=Float64)],
    source=sources.in_postgres,
    mode="pandas",
    udf=lambda frame: frame,
    udf_string="lambda frame: frame",
)
transformed = BatchFeatureView(
    name="transformed",
    entities=[shop],
    source=sources.in_postgres,
    feature_transformation=PandasTransformation(lambda frame: frame, "lambda frame: frame"),
)
derived = FeatureView(name="derived", entities=[shop], source=[postgres, redshift], sink_source=sources.in_postgres)
pushed_labels = LabelView(
    name="pushed_labels",
    entities=[shop],
    schema=[Field(name="good", dtype=Int64)],
    conflict_policy=ConflictPolicy.LAST_WRITE_WINS,
)
hidden = [
    FeatureView(name="hidden", entities=[shop], schema=[Field(name="sales", dtype=Float64)], source=sources.in_redshift)
]
