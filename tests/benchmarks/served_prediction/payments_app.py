"""The app of the benchmark `served_prediction`: two views, one field of the request, a small network."""

import gnomon as gn

customer = gn.Entity("customer", key="customer_id")
terminal = gn.Entity("terminal", key="terminal_id")
payments = gn.DataSource(
    "payments",
    path="payments.parquet",
    id="tx_id",
    event_time="paid_at",
    fields={"customer_id": "int64", "terminal_id": "int64", "amount": "float64", "is_fraud": "bool"},
)
spend = gn.FeatureView(
    "spend",
    entity=customer,
    source=payments,
    max_age="90d",
    features=[
        gn.Aggregation("amount", "mean", window="7d"),
        gn.Aggregation("amount", "mean", window="28d"),
        gn.Aggregation("*", "count", window="7d"),
        gn.Aggregation("*", "count", window="28d"),
    ],
)
traffic = gn.FeatureView(
    "traffic",
    entity=terminal,
    source=payments,
    max_age="90d",
    features=[gn.Aggregation("amount", "mean", window="28d"), gn.Aggregation("*", "count", window="28d")],
)
log_amount = gn.RequestFeature("log_amount", request={"amount": "float64"}, expression=gn.col("amount").apply("log1p"))
fraud = gn.Model(
    "fraud",
    label=gn.Label("is_fraud", source=payments, delay="1d"),
    features=[log_amount, spend, traffic],
    trainer=gn.TabularMLP(hidden=(32, 16), epochs=2, workers=1),
)
fraud_endpoint = gn.Deployment("fraud", model=fraud)
