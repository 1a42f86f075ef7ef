"""Where a run stands: one safetensors file an epoch, with weights, optimizer state and losses; never a pickle.

Written by the first worker in `training.train_loop`, read by all workers when they start and by
`training.torch_trainer` to follow the run. They are files of our own rather than Ray Train's checkpoints, because Ray's
list of them is replaced in place (a kill in the middle leaves it unreadable) and binds a run to one version of Ray.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from gnomon.errors import Conflict
from gnomon.registry.model_inputs import Array

_KEEP = 2  # the newest, and the one before should the newest prove unreadable


@dataclass(frozen=True)
class Checkpoint:
    """The state after an epoch.

    Attributes:
        epoch: Epochs done.
        losses: Mean training loss of each.
        parameters: Weights by name.
        optimizer: State of `training.adamw`.
    """

    epoch: int
    losses: tuple[float, ...]
    parameters: Mapping[str, Array]
    optimizer: Mapping[str, Array]


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write durably and atomically, then remove all but the two newest."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"parameters.{name}": value for name, value in checkpoint.parameters.items()}
    tensors |= {f"optimizer.{name}": value for name, value in checkpoint.optimizer.items()}
    metadata = {"epoch": str(checkpoint.epoch), "losses": json.dumps(checkpoint.losses)}
    target = folder / _name(checkpoint.epoch)
    # The process id keeps a worker that has not yet noticed its end apart from its successor.
    temporary = folder / f".{target.name}.{os.getpid()}"
    with temporary.open("wb") as file:
        file.write(save_tensors(tensors, metadata))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(target)
    for old in _files(folder)[_KEEP:]:
        old.unlink(missing_ok=True)


def read_newest(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that can be read whole, or None."""
    for path in _files(folder):
        checkpoint = _read(path)
        if checkpoint is not None:
            return checkpoint
    return None


def read_epoch(folder: Path, epoch: int) -> Checkpoint:
    """Read the checkpoint of an epoch.

    Args:
        folder: The run's checkpoints.
        epoch: Epochs done.

    Returns:
        The checkpoint.

    Raises:
        Conflict: It is gone or cannot be read; another process of this run is at work in the folder.
    """
    checkpoint = _read(folder / _name(epoch))
    if checkpoint is None:
        raise Conflict(f"the checkpoint of epoch {epoch} in {folder} is gone", "train one run in one place at a time")
    return checkpoint


def newest_name(folder: Path) -> str | None:
    """Return the newest checkpoint's file name, to see cheaply whether there is a new one."""
    files = _files(folder)
    return files[0].name if files else None


def _name(epoch: int) -> str:
    return f"epoch_{epoch:06d}.safetensors"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch_*.safetensors"), reverse=True)


def _read(path: Path) -> Checkpoint | None:
    try:
        content = path.read_bytes()
        tensors = load_tensors(content)
    except (OSError, SafetensorError, ValueError, KeyError):
        return None  # cut short by a power cut, or removed just now: the one before will do
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__", {})
    parts: dict[str, dict[str, Array]] = {"parameters": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = np.asarray(value)
    return Checkpoint(int(metadata["epoch"]), tuple(json.loads(metadata["losses"])), **parts)
