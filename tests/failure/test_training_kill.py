"""SIGKILL of training workers: the run goes on from its last epoch and ends with the very same weights."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ray_cluster import ray_cluster

from gnomon.contracts.models import TabularMLP
from gnomon.contracts.predictors import TrainRequest
from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.errors import OperationFailed
from gnomon.evaluation.metrics import evaluate
from gnomon.registry.model_formats import load_predictor

pytestmark = [
    pytest.mark.failure,
    pytest.mark.cluster,
    # Ray Data sets its own deprecated options when Ray Train asks for its context.
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\."),
]

EPOCHS = 10


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with ray_cluster(tmp_path_factory.mktemp("home"), dashboard_port=0, include_dashboard=True):
        yield


def rows(count: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, 8))
    label = (values[:, 0] * values[:, 1] + values[:, 2] + 0.3 * random.normal(size=count) > 0).astype(float)
    return {**{f"v.x{i}": values[:, i] for i in range(8)}, "label": label}


def request(folder: Path, name: str, max_failures: int) -> TrainRequest:
    inputs = tuple(ModelInput(name=f"v.x{i}", dtype="float64", origin="view") for i in range(8))
    signature = Signature(keys={}, request={}, inputs=inputs, lookups=(), request_features=(), task="binary")
    trainer = TabularMLP(epochs=EPOCHS, dropout=0.1, max_failures=max_failures, learning_rate=5e-3)
    return TrainRequest(name, signature, trainer, folder / "train.parquet", folder / name)


class KillOnce:
    """A report callback that kills the first worker when an epoch is reported, once."""

    def __init__(self, folder: Path, at_epoch: int) -> None:
        self.starts = folder / "starts.jsonl"
        self.at_epoch = at_epoch
        self.killed_after = 0
        self.epochs: list[int] = []

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs.append(epoch)
        if epoch >= self.at_epoch and not self.killed_after:
            self.killed_after = epoch
            os.kill(json.loads(self.starts.read_text().splitlines()[-1])["pid"], signal.SIGKILL)


@pytest.mark.timeout(600)
def test_a_killed_worker_costs_no_epoch_and_no_quality(cluster: Any, tmp_path: Path) -> None:
    from gnomon.training.torch_trainer import TorchMLPTrainer

    columns = {key: pa.array(value) for key, value in rows(60_000, seed=1).items()}
    pq.write_table(pa.table(columns), tmp_path / "train.parquet", row_group_size=10_000)
    calm = TorchMLPTrainer().train(request(tmp_path, "calm", 0), lambda epoch, metrics: None)

    killer = KillOnce(tmp_path / "killed", at_epoch=3)
    killed = TorchMLPTrainer().train(request(tmp_path, "killed", 2), killer)
    starts = [json.loads(line)["epoch"] for line in killer.starts.read_text().splitlines()]
    assert killed.restarts == 1
    assert starts[0] == 0
    assert starts[1] >= killer.killed_after
    assert sorted(set(killer.epochs)) == list(range(1, EPOCHS + 1))
    assert killed.losses == calm.losses

    # With no failure allowed the run ends in an error; asked for again, it goes on where it was.
    killer = KillOnce(tmp_path / "given_up", at_epoch=2)
    with pytest.raises(OperationFailed, match=r"failed more than 0 times.*max_failures \(now 0\)"):
        TorchMLPTrainer().train(request(tmp_path, "given_up", 0), killer)
    resumed = TorchMLPTrainer().train(request(tmp_path, "given_up", 0), lambda epoch, metrics: None)
    starts = [json.loads(line)["epoch"] for line in killer.starts.read_text().splitlines()]
    assert starts[1] >= killer.killed_after >= 2

    for trained in (killed, resumed):
        for name in ("model.safetensors", "config.json"):
            assert (trained.folder / name).read_bytes() == (calm.folder / name).read_bytes()
    held_out = rows(10_000, seed=2)
    auc = evaluate("binary", held_out["label"], load_predictor(killed.folder).predict(held_out))[0]
    print(f"held-out {auc}, restarts {killed.restarts}, epochs at start {starts}")
    assert auc.low > 0.95
