"""Training on a real Ray cluster of two workers: it learns, it repeats itself, and its failures say what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ray_cluster import ray_cluster

from gnomon.contracts.models import TabularMLP
from gnomon.contracts.predictors import Trained, TrainRequest
from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.errors import OperationFailed
from gnomon.evaluation.metrics import evaluate
from gnomon.registry.model_formats import load_predictor

pytestmark = pytest.mark.cluster

INPUTS = tuple(
    ModelInput(name=name, dtype="string" if name == "country" else "float64", origin="view")
    for name in ("v.a", "v.b", "v.amount", "country")
)


def rows(count: int, seed: int) -> dict[str, np.ndarray]:
    """Make rows whose label follows from an interaction, a heavy tail and a category; a tenth of `v.b` is null."""
    random = np.random.default_rng(seed)
    a, b, amount = random.normal(size=count), random.normal(size=count), np.exp(random.normal(3, 1.5, count))
    country = random.integers(0, 6, count)
    score = 1.5 * a * b + np.log(amount) - 3 + np.array([-2.0, -1, 0, 0, 1, 2])[country]
    label = (random.random(count) < 1 / (1 + np.exp(-2 * score))).astype(float)
    b[random.random(count) < 0.1] = np.nan
    words = np.array([f"c{c}" for c in country], object)
    return {"v.a": a, "v.b": b, "v.amount": amount, "country": words, "label": label}


def request(folder: Path, name: str, task: str = "binary", **settings: Any) -> TrainRequest:
    path = folder / "train.parquet"
    if not path.is_file():
        columns = {key: pa.array(value, from_pandas=True) for key, value in rows(20_000, seed=1).items()}
        pq.write_table(pa.table(columns), path, row_group_size=3_000)
    signature = Signature(keys={}, request={}, inputs=INPUTS, lookups=(), request_features=(), task=task)
    trainer = TabularMLP(**{"epochs": 6, "learning_rate": 5e-3, **settings})
    return TrainRequest(name, signature, trainer, path, folder / name)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ray_cluster(tmp_path_factory.mktemp("home"), dashboard_port=0, include_dashboard=True) as ray:
        # Workers cannot import a test module; what is sent from here travels whole.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield ray


def train_in_task(wanted: TrainRequest) -> tuple[Trained, list[tuple[int, float]]]:
    from gnomon.training.torch_trainer import TorchMLPTrainer

    reports: list[tuple[int, float]] = []
    trained = TorchMLPTrainer().train(wanted, lambda epoch, metrics: reports.append((epoch, metrics["loss"])))
    return trained, reports


@pytest.fixture
def train(cluster: Any) -> Any:
    """Train from within a Ray task, as an operation worker does; without CPUs of its own."""
    task = cluster.remote(num_cpus=0, max_retries=0, max_calls=1)(train_in_task)
    return lambda wanted: cluster.get(task.remote(wanted))


def test_two_workers_learn_an_interaction_from_scratch_and_repeat_it_bit_by_bit(train: Any, tmp_path: Path) -> None:
    first, reports = train(request(tmp_path, "first"))
    assert first.epochs == 6
    assert first.restarts == 0
    assert [epoch for epoch, _ in reports] == [1, 2, 3, 4, 5, 6]
    assert tuple(loss for _, loss in reports) == first.losses
    assert first.losses[-1] < first.losses[0]
    held_out = rows(10_000, seed=2)
    scores = load_predictor(first.folder).predict(held_out)
    metrics = {m.name: m for m in evaluate("binary", held_out["label"], scores)}
    best = evaluate("binary", held_out["label"], _truth(held_out))[0]
    print(f"held-out roc_auc {metrics['roc_auc']}, of the true probabilities {best.value:.4f}")
    assert metrics["roc_auc"].low > 0.88
    assert abs(float(scores.mean()) - float(held_out["label"].mean())) < 0.02
    again, _ = train(request(tmp_path, "again"))
    for name in ("model.safetensors", "config.json"):
        assert (again.folder / name).read_bytes() == (first.folder / name).read_bytes()
    # A finished run is not trained again, and its epochs are told again.
    repeated, reports = train(request(tmp_path, "first"))
    assert (repeated, len(reports)) == (first, 6)


def _truth(columns: dict[str, np.ndarray]) -> np.ndarray:
    effect = np.array([-2.0, -1, 0, 0, 1, 2])[[int(word[1:]) for word in columns["country"]]]
    b = np.nan_to_num(columns["v.b"])
    score = 1.5 * columns["v.a"] * b + np.log(columns["v.amount"]) - 3 + effect
    return np.asarray(1 / (1 + np.exp(-2 * score)))


def test_a_regression_is_answered_in_the_labels_own_unit(train: Any, tmp_path: Path) -> None:
    wanted = request(tmp_path, "regression", task="regression", workers=1)
    columns = rows(20_000, seed=1)
    columns["label"] = 1_000 + 50 * columns["v.a"]
    pq.write_table(pa.table({k: pa.array(v, from_pandas=True) for k, v in columns.items()}), wanted.train_path)
    trained, _ = train(wanted)
    held_out = rows(2_000, seed=3)
    answers = load_predictor(trained.folder).predict(held_out)
    metrics = {m.name: m.value for m in evaluate("regression", 1_000 + 50 * held_out["v.a"], answers)}
    assert metrics["r2"] > 0.97


def test_a_loss_that_is_not_finite_ends_the_run_with_a_hint(train: Any, tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match=r"not finite in epoch 1.*lower learning_rate \(now 1e\+30\)"):
        train(request(tmp_path, "diverges", learning_rate=1e30, workers=1))


def test_gpus_that_are_not_there_are_said_so(train: Any, tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match=r"asks for 2 GPUs \(gpu='always'\), the cluster has 0"):
        train(request(tmp_path, "gpus", gpu="always"))
