"""The app of the benchmark `stream`: one source of events, and one view that is kept fresh."""

import gnomon as gn

user = gn.Entity("user", key="user")
events = gn.DataSource(
    "events", path="events.jsonl", id="id", event_time="at", fields={"user": "int64", "number": "int64", "x": "float64"}
)
activity = gn.FeatureView(
    "activity", entity=user, source=events, freshness="1s",
    features=[
        gn.Aggregation("number", "max", window="30d"), gn.Aggregation("*", "count", window="1h"),
        gn.Aggregation("x", "sum", window="1d"), gn.Aggregation("x", "std", window="1d"),
        gn.Aggregation("x", "mean", window="7d", where=gn.col("x") > 0),
    ],
)  # fmt: skip
