"""Revisions of one app with two models, for the simulator: deployments come and go, the monitors stay."""

from __future__ import annotations

from functools import lru_cache

from gnomon.contracts.apps import App
from gnomon.contracts.deployments import Deployment, Drift, Monitor
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import Column, FeatureView
from gnomon.contracts.labels import Label
from gnomon.contracts.models import Model
from gnomon.contracts.sources import DataSource
from gnomon.contracts.specs import Spec


@lru_cache(maxsize=1)
def revisions() -> tuple[App, ...]:
    """Return three revisions: with one deployment, with two, and with two configured otherwise."""
    customer = Entity("customer", key="customer_id")
    source = DataSource("payments", path="*.parquet", id="tx_id", event_time="paid_at", known_time="known_at")
    view = FeatureView("amounts", entity=customer, source=source, features=[Column("amount")], max_age="1d")
    label = Label("bad", source=source, delay="1d")
    models = [Model(f"m{i}", label=label, features=[view]) for i in range(2)]
    first = Deployment("e0", model=models[0])
    watch = {"deployment": first, "window": "1h", "rules": [Drift("score")]}
    always: list[Spec] = [
        customer, source, view, label, *models, first,
        Monitor("watch0", **watch, every="40s", on_fire="retrain", cooldown="50s"),
        Monitor("watch1", **watch, every="12s", on_fire="alert"),
    ]  # fmt: skip
    others = [Deployment("e1", model=models[1], max_replicas=replicas) for replicas in (1, 2)]
    return App.of("sim", always), *(App.of("sim", [*always, other]) for other in others)
