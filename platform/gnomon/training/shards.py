"""One worker's share of the training rows, encoded once and kept outside of the heap.

Read by `training.train_loop` on every worker.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.registry.model_inputs import Array, Encoder, model_columns
from gnomon.registry.tabular_mlp import TabularMLPDesign
from gnomon.training.preprocessing import LABEL, read_batches


@dataclass(frozen=True)
class Shard:
    """Encoded rows, equally long.

    Attributes:
        dense: rows × dense width, float32.
        codes: rows × categorical inputs, int32.
        targets: What the network should put out, float32.
        rows_per_epoch: Rows of the largest shard; every worker makes this many, so that all take the same steps.
    """

    dense: Array
    codes: Array
    targets: Array
    rows_per_epoch: int

    def batches(self, batch_rows: int, seed: np.random.SeedSequence) -> Iterator[tuple[Array, Array, Array]]:
        """Yield (dense, codes, targets) in a shuffled order that depends on the seed alone.

        A shard that is one row short repeats its first row at the end.
        """
        order = np.random.default_rng(seed).permutation(len(self.targets))
        order = np.resize(order, self.rows_per_epoch)
        for start in range(0, self.rows_per_epoch, batch_rows):
            chosen = order[start : start + batch_rows]
            yield self.dense[chosen], self.codes[chosen].astype(np.int64), self.targets[chosen]


def encode_shard(train_path: Path, design: TabularMLPDesign, rank: int, workers: int) -> Shard:
    """Encode every `workers`-th row, beginning with row `rank`.

    The file is read in batches and the result lies in memory-mapped files without a name: the heap holds one batch
    however long the file is, and nothing is left behind when the process is killed.

    Args:
        train_path: Parquet file.
        design: How to encode.
        rank: 0 ≤ rank < workers.
        workers: At most as many as there are rows.

    Returns:
        The shard, its rows in file order.
    """
    total = pq.read_metadata(train_path).num_rows
    rows = len(range(rank, total, workers))
    encoder = Encoder(design.preprocessing)
    dense = _mapped((rows, design.preprocessing.dense_width), np.float32)
    codes = _mapped((rows, len(design.preprocessing.categorical)), np.int32)
    targets = _mapped((rows,), np.float32)
    offset = filled = 0
    for batch in read_batches(train_path, design.signature):
        mine = np.arange((rank - offset) % workers, batch.num_rows, workers)
        offset += batch.num_rows
        part = batch.take(pa.array(mine))
        span = slice(filled, filled + len(mine))
        filled += len(mine)
        dense[span], codes[span] = encoder.encode(model_columns(part, design.signature.inputs))
        labels = np.asarray(part.column(LABEL).cast(pa.float64()).to_numpy(zero_copy_only=False))
        targets[span] = (labels - design.target_mean) / design.target_std
    return Shard(dense, codes, targets, rows_per_epoch=-(-total // workers))


def _mapped(shape: tuple[int, ...], dtype: type) -> Array:
    if 0 in shape:
        return np.zeros(shape, dtype)
    # The name is gone at once; the mapping keeps the bytes until the process ends, however it ends.
    with tempfile.TemporaryFile() as file:
        # A plain view: indexing the memmap subclass costs several times as much.
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape).view(np.ndarray)
