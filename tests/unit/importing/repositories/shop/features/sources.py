"""Where the shop's rows come from."""

from datetime import timedelta

from feast import FileSource, KafkaSource
from feast.data_format import DeltaFormat, JsonFormat, ParquetFormat

orders = FileSource(
    name="orders",
    path="data/orders",
    file_format=ParquetFormat(),
    timestamp_field="ordered_at",
    field_mapping={"amt": "amount", "ts": "ordered_at"},
    description="One row an order.",
    owner="bob",
    tags={"domain": "sales"},
)
clicks_history = FileSource(path="/lake/clicks", file_format=DeltaFormat(), timestamp_field="clicked_at")
clicks = KafkaSource(
    name="clicks",
    kafka_bootstrap_servers="broker:9092",
    topic="clicks",
    timestamp_field="clicked_at",
    message_format=JsonFormat(schema_json="item_id integer, clicked_at timestamp, price double"),
    batch_source=clicks_history,
    watermark_delay_threshold=timedelta(minutes=5),
)
prices = FileSource(path="s3://bucket/prices.parquet", timestamp_field="valid_from", s3_endpoint_override="http://s3")
unused = FileSource(name="unused", path="data/unused.parquet", timestamp_field="at")
