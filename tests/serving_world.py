"""A small platform that serves, made of real parts in one folder: shared by tests of replicas, here and on Ray.

A replica imports this module by name, so its folder is on the PYTHONPATH of the Ray head, and `SERVING_WORLD` names the
folder that `build_world` filled.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.cluster import EndpointTarget
from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.registry import Lineage
from gnomon.contracts.signatures import Signature, model_signature
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.registry.model_formats import save_tabular_mlp
from gnomon.registry.model_inputs import CategoricalInput, NumericInput, Preprocessing
from gnomon.registry.sql_registry import SqlRegistry
from gnomon.registry.tabular_mlp import TabularMLPDesign
from gnomon.runtime.app_code import FunctionLoader, load_app
from gnomon.serving.parts import ServingParts
from gnomon.serving.prediction_log import OfflinePredictionLog
from gnomon.storage.artifacts import ArtifactFolder
from gnomon.storage.delta_tables import DeltaTables
from gnomon.storage.sql import open_database, sqlite_url
from gnomon.storage.sql_state import SqlDefinitions

TOKEN = "a-token-of-the-tests"
FACTORY = "serving_world:serving_parts"
DEPLOYMENT, MODEL = "fraud", "fraud_model"
KNOWN_CUSTOMERS = 100
ROW = {"customer_id": 7, "amount": 12.5, "channel": "web", "at": "2026-03-01T12:00:00Z"}

_APP = '''
import numpy as np
import gnomon as gn

customer = gn.Entity("customer", key="customer_id")
payments = gn.DataSource(
    "payments", path="payments/*.parquet", id="tx_id", event_time="paid_at",
    fields={
        "tx_id": "string", "paid_at": "timestamp", "customer_id": "int64", "amount": "float64", "city": "string",
        "is_fraud": "bool", "channel": "string", "at": "timestamp", "weight": "int64",
    },
)
spend = gn.FeatureView(
    "spend", entity=customer, source=payments, max_age="30d",
    features=[
        gn.Aggregation("amount", "mean", window="7d"), gn.Aggregation("*", "count", window="7d"), gn.Column("city")
    ],
)

def ratio(amount, usual):
    """How many times the usual amount this is."""
    return np.divide(amount, usual, out=np.full(len(amount), np.nan), where=usual > 0)

amount_ratio = gn.RequestFeature(
    "amount_ratio", request={"amount": "float64"}, inputs=["amount", "spend.amount_mean_7d"], function=ratio
)
hour = gn.RequestFeature("hour", request={"at": "timestamp"}, expression=gn.col("at").apply("hour"), dtype="int64")
fraud_model = gn.Model(
    "fraud_model", label=gn.Label("is_fraud", source=payments, delay="7d"), features=[spend, amount_ratio, hour],
    request={"amount": "float64", "channel": "string"},
)
fraud = gn.Deployment("fraud", model=fraud_model, cpus_per_replica=0.1)
'''


def serving_parts() -> ServingParts:
    """Return the parts of the world that `SERVING_WORLD` names; a `FACTORY` of replicas."""
    return parts_of(Path(os.environ["SERVING_WORLD"]))


def parts_of(folder: Path) -> ServingParts:
    """Return the parts of a world."""
    clock = SystemClock()
    artifacts = ArtifactFolder(folder / "artifacts")
    engine = open_database(sqlite_url(folder / "state" / "state.db"))
    return ServingParts(
        clock=clock,
        online=RedisOnlineStore((folder / "online_url").read_text(), "test", 0.5),
        artifacts=artifacts,
        definitions=SqlDefinitions(engine, clock),
        registry=SqlRegistry(engine, artifacts, clock),
        predictions=OfflinePredictionLog(DeltaTables(folder / "tables")),
        resolver=partial(FunctionLoader, artifacts),
        spool_folder=folder / "spool",
        token=TOKEN,
        flush_s=0.5,
        log_folder=folder / "logs",
    )


def build_world(folder: Path, online_url: str, versions: int = 2) -> ServingParts:
    """Apply an app, register versions of its model and materialize rows of `KNOWN_CUSTOMERS` customers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "online_url").write_text(online_url)
    parts = parts_of(folder)
    app_file = folder / "fraud_app.py"
    app_file.write_text(_APP)
    app, text = load_app(app_file)
    app = app.with_schemas({s.name: {n: f.dtype for n, f in s.fields.items()} for s in app.all(gn.DataSource)})
    parts.artifacts.put_bytes(text.encode())
    applied = parts.definitions.apply(app, actor="test")
    signature = model_signature(app, MODEL)
    for number in range(1, versions + 1):
        digest = parts.artifacts.put_folder(_model(folder / f"model-{number}", signature, seed=number))
        lineage = Lineage(f"r{number}", applied.app_hash, app.code, "t", {}, {}, applied.applied)
        parts.registry.register(MODEL, digest, signature, (), lineage)
    (folder / "target.json").write_text(json.dumps(vars(EndpointTarget(DEPLOYMENT, MODEL, 1, applied.app_hash))))
    _materialize(app, parts)
    return parts


def target_of(folder: Path, version: int = 1) -> EndpointTarget:
    """Return what to deploy."""
    return replace(EndpointTarget(**json.loads((folder / "target.json").read_text())), version=version)


def _model(folder: Path, signature: Signature, seed: int) -> Path:
    numbers = [item.name for item in signature.inputs if item.dtype != "string"]
    texts = [item.name for item in signature.inputs if item.dtype == "string"]
    preprocessing = Preprocessing(
        numeric=tuple(NumericInput(name=n, fill=1.0, mean=2.0, std=3.0, missing_flag=True) for n in numbers),
        categorical=tuple(CategoricalInput(name=n, vocabulary=("web", "Bern"), embedding=2) for n in texts),
    )
    design = TabularMLPDesign(signature=signature, preprocessing=preprocessing, hidden=(32, 16))
    random = np.random.default_rng(seed)
    weights = {name: random.normal(size=shape) * 0.5 for name, shape in design.parameter_shapes().items()}
    return save_tabular_mlp(folder, design, weights)


def _materialize(app: App, parts: ServingParts) -> None:
    now_us = parts.clock.now_us()
    count = KNOWN_CUSTOMERS
    times = pa.array([now_us - 60_000_000] * count, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    rows = pa.table({
        "customer_id": pa.array(range(count), pa.int64()), EVENT_TIME: times, KNOWN_TIME: times,
        "amount_mean_7d": pa.array([10.0 + i for i in range(count)]), "count_7d": pa.array(range(count), pa.int64()),
        "city": pa.array(["Bern" if i % 2 else None for i in range(count)]),
    })  # fmt: skip
    parts.online.write(view_layout(app, "spend"), rows)
