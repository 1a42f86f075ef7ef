"""What training produces and serving runs: the trainer port and the predictor port.

`training` implements `Trainer`; `registry.model_formats` writes and loads the artifact, verified, without pickles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gnomon.contracts.models import TabularMLP
from gnomon.contracts.signatures import Signature

if TYPE_CHECKING:
    import numpy as np

Columns = Mapping[str, "np.ndarray[Any, Any]"]
"""Equally long arrays by model input name: numbers as float64 (NaN for null), strings as objects (None for null)."""


class Predictor(Protocol):
    """A loaded model version; pure and usable from one thread at a time."""

    def predict(self, columns: Columns) -> np.ndarray[Any, Any]:
        """Predict every row.

        Args:
            columns: At least the signature's inputs; extra columns are not read.

        Returns:
            float64, shape (rows,), in order: a probability in [0, 1] for binary tasks, the value for regressions.
        """
        ...


@dataclass(frozen=True)
class TrainRequest:
    """What a trainer gets.

    Attributes:
        run_id: The tracked run; training again with the same id goes on from its checkpoints.
        signature: Inputs in order, and the task.
        trainer: Hyper-parameters.
        train_path: Parquet file with one column per input and `label` (float64, no nulls), in time order.
        work_folder: Folder of this run, for checkpoints; kept between attempts.
    """

    run_id: str
    signature: Signature
    trainer: TabularMLP
    train_path: Path
    work_folder: Path


@dataclass(frozen=True)
class Trained:
    """What a trainer returns: a folder to be stored as the version's artifact, and how training went.

    Attributes:
        folder: Weights (safetensors), preprocessing and configuration (JSON).
        epochs: Epochs done.
        restarts: How often training went on from a checkpoint after a failure.
        losses: Training loss by epoch.
    """

    folder: Path
    epochs: int
    restarts: int
    losses: tuple[float, ...]


class Trainer(Protocol):
    """Trains a model on a cluster."""

    def train(self, request: TrainRequest, report: Callable[[int, Mapping[str, float]], None]) -> Trained:
        """Train to the end, through failures of workers.

        Args:
            request: What to train on.
            report: Called with (epoch, metrics) after each epoch; an epoch repeated after a failure is reported again.

        Returns:
            The model's folder, and how training went.

        Raises:
            OperationFailed: More workers died than `max_failures` allows, or the loss is not finite.
        """
        ...
