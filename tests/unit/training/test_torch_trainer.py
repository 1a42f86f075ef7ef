"""What the trainer refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnomon.contracts.models import TabularMLP
from gnomon.contracts.predictors import TrainRequest
from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.errors import InvalidInput, NotFound, Unavailable
from gnomon.training.torch_trainer import TorchMLPTrainer


def request(folder: Path, labels: list[float]) -> TrainRequest:
    item = ModelInput(name="x", dtype="float64", origin="view")
    signature = Signature(keys={}, request={}, inputs=(item,), lookups=(), request_features=(), task="binary")
    path = folder / "train.parquet"
    if labels:
        pq.write_table(pa.table({"x": [float(i) for i in range(len(labels))], "label": labels}), path)
    return TrainRequest("run", signature, TabularMLP(), path, folder / "work")


def nothing(epoch: int, metrics: object) -> None:
    raise AssertionError(f"epoch {epoch} was reported")


def test_without_a_connection_to_ray_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not connected to a Ray cluster"):
        TorchMLPTrainer().train(request(tmp_path, [0.0, 1.0]), nothing)


def test_a_training_set_without_both_classes_is_refused_before_any_worker_starts(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="all 3 training rows have the label 0"):
        TorchMLPTrainer().train(request(tmp_path, [0.0, 0.0, 0.0]), nothing)


def test_an_absent_training_set_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        TorchMLPTrainer().train(request(tmp_path, []), nothing)
