"""Card payments: tell fraud from honest payments while the card is still in the reader.

Customers pay at terminals; whether a payment was fraud is reported seven days later. The same file runs on a laptop
and on a cluster: `gnomon apply`, `gnomon ingest`, `gnomon materialize`, `gnomon train fraud`, `gnomon deploy fraud`.
"""

import numpy as np

import gnomon as gn

customer = gn.Entity("customer", key="customer_id")
terminal = gn.Entity("terminal", key="terminal_id")

payments = gn.DataSource(
    "payments",
    path="data/payments/*.parquet",
    id="tx_id",
    event_time="paid_at",
    known_time="ingested_at",
    fields={
        "customer_id": gn.Field("int64", nullable=False),
        "terminal_id": gn.Field("int64", nullable=False),
        "amount": gn.Field("float64", nullable=False, min=0, max=100_000),
    },
)
fraud_reports = gn.DataSource(
    "fraud_reports",
    path="data/fraud_reports/*.parquet",
    id="tx_id",
    event_time="paid_at",
    known_time="reported_at",
    fields={"customer_id": "int64", "terminal_id": "int64", "amount": "float64", "is_fraud": "bool"},
)

spend = gn.FeatureView(
    "spend",
    entity=customer,
    source=payments,
    features=[
        gn.Aggregation("amount", "mean", window="7d"),
        gn.Aggregation("amount", "mean", window="28d"),
        gn.Aggregation("*", "count", window="7d"),
        gn.Aggregation("*", "count", window="28d"),
    ],
    max_age="12d",
)
traffic = gn.FeatureView(
    "traffic", entity=terminal, source=payments, features=[gn.Aggregation("*", "count", window="28d")], max_age="12d"
)
# A report is known seven days after its payment, so a window of 35 days over payments holds 28 days of reports.
risk = gn.FeatureView(
    "risk",
    entity=terminal,
    source=fraud_reports,
    features=[
        gn.Aggregation("is_fraud", "sum", window="35d", name="frauds"),
        gn.Aggregation("is_fraud", "count", window="35d", name="reports"),
        gn.Derived("fraud_rate", gn.col("frauds") / (gn.col("reports") + 3)),
    ],
    max_age="12d",
)


def times_usual(amount: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """How many times the customer's usual amount this payment is, on a log scale; unknown customers give unknown."""
    times: np.ndarray = np.log(amount / usual)
    return times


log_amount = gn.RequestFeature("log_amount", request={"amount": "float64"}, expression=gn.col("amount").apply("log1p"))
amount_ratio = gn.RequestFeature(
    "amount_ratio", request={"amount": "float64"}, inputs=["amount", "spend.amount_mean_28d"], function=times_usual
)

fraud = gn.Model(
    "fraud",
    label=gn.Label("is_fraud", source=fraud_reports, delay="7d"),
    features=[log_amount, amount_ratio, spend, traffic["count_28d"], risk["fraud_rate"]],
    trainer=gn.TabularMLP(hidden=(32, 16), epochs=6, workers=2),
    holdout=0.1,
    history="30d",
    gates=[gn.Gate("roc_auc", min=0.75), gn.Gate("roc_auc", better_than_champion_by=0.03)],
)
fraud_endpoint = gn.Deployment("fraud", model=fraud, min_replicas=1, max_replicas=2)
fraud_monitor = gn.Monitor(
    "fraud_watch",
    deployment=fraud_endpoint,
    window="5d",
    every="5d",
    rules=[
        gn.Drift("inputs", threshold=0.25),
        gn.Drift("score", method="ks", threshold=0.1),
        gn.Quality("roc_auc", min=0.7),
    ],
    on_fire="retrain",
    cooldown="45d",
)
