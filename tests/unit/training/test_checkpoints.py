"""Checkpoints: whole or not there, the newest readable one wins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gnomon.errors import Conflict
from gnomon.training.checkpoints import Checkpoint, newest_name, read_epoch, read_newest, write_checkpoint


def checkpoint(epoch: int) -> Checkpoint:
    weights = np.full((2, 3), float(epoch), np.float32)
    return Checkpoint(
        epoch, tuple(1.0 / (i + 3) for i in range(epoch)), {"layers.0.weight": weights}, {"steps": weights}
    )


def test_what_was_written_is_read_and_the_two_newest_are_kept(tmp_path: Path) -> None:
    assert read_newest(tmp_path) is None
    assert newest_name(tmp_path) is None
    for epoch in (1, 2, 9, 10):
        write_checkpoint(tmp_path, checkpoint(epoch))
    newest = read_newest(tmp_path)
    assert newest is not None
    assert (newest.epoch, newest.losses) == (10, checkpoint(10).losses)
    np.testing.assert_array_equal(newest.parameters["layers.0.weight"], np.full((2, 3), 10, np.float32))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "epoch_000009.safetensors",
        "epoch_000010.safetensors",
    ]


def test_a_newest_file_that_was_cut_anywhere_falls_back_to_the_one_before(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, checkpoint(1))
    write_checkpoint(tmp_path, checkpoint(2))
    path = tmp_path / "epoch_000002.safetensors"
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        found = read_newest(tmp_path)
        assert found is not None
        assert found.epoch == 1
    with pytest.raises(Conflict, match="epoch 2"):
        read_epoch(tmp_path, 2)
    assert read_epoch(tmp_path, 1).epoch == 1
