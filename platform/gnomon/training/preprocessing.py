"""Learns from the training rows how inputs become numbers, and what the network should aim at.

Called once a run by `training.torch_trainer`, in its own process, before any worker starts; all workers and all
restarts then use the same result. The file is streamed: memory holds one batch and a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gnomon.contracts.models import Task
from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.errors import CorruptData, InvalidInput, NotFound
from gnomon.registry.model_inputs import Array, CategoricalInput, NumericInput, Preprocessing, model_columns

LABEL = "label"
BATCH_ROWS = 32_768

_SAMPLE_ROWS = 100_000  # statistics of a median or a tail do not get better in any way that a network would notice
_LEAST_COUNT = 5  # rarer words share the unknown word's vector, which so is trained too
_VOCABULARY_LIMIT = 10_000
_HEAVY_KURTOSIS = 5.0  # excess; an exponential has 6, a normal 0


@dataclass(frozen=True)
class TargetStatistics:
    """The label over all training rows.

    Attributes:
        rows: Number of rows.
        mean: For a binary task the share of ones.
        std: Standard deviation, 1 where the label is constant.
    """

    rows: int
    mean: float
    std: float


def read_batches(train_path: Path, signature: Signature) -> Iterator[pa.RecordBatch]:
    """Read the inputs and the label, a batch at a time.

    Args:
        train_path: Parquet file.
        signature: Names the inputs.

    Yields:
        pa.RecordBatch: At most 32,768 rows, in file order, with the inputs in their order and then `label`.

    Raises:
        NotFound: There is no such file.
        CorruptData: It is no Parquet file.
        InvalidInput: A column is missing.
    """
    if not train_path.is_file():
        raise NotFound(f"the training set {train_path} does not exist")
    names = [*(item.name for item in signature.inputs), LABEL]
    try:
        with pq.ParquetFile(train_path) as file:
            absent = [name for name in names if name not in file.schema_arrow.names]
            if absent:
                raise InvalidInput(f"the training set has no column '{absent[0]}'", f"it needs {names}")
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                # Column names with dots are selected as paths; asking by name keeps exactly ours, in our order.
                yield batch.select(names)
    except pa.ArrowInvalid as error:
        raise CorruptData(f"{train_path} cannot be read as Parquet: {error}", "build the training set again") from error


def learn_preprocessing(train_path: Path, signature: Signature, seed: int) -> tuple[Preprocessing, TargetStatistics]:
    """Learn from a seeded sample of rows how to prepare the inputs, and from all rows the label's statistics.

    Args:
        train_path: Parquet file with one column per input and `label`.
        signature: Inputs in order, and the task.
        seed: Of the sample; with up to 100,000 rows all are taken.

    Returns:
        How to prepare the inputs, and the label's statistics.

    Raises:
        InvalidInput: There are no rows, a label is null or not finite, or a binary label is not 0 or 1 or
            never changes.
    """
    random = np.random.default_rng(abs(seed))
    total = _row_count(train_path)
    share = min(1.0, _SAMPLE_ROWS / max(total, 1))
    sampled: list[pa.RecordBatch] = []
    labels: list[Array] = []
    for batch in read_batches(train_path, signature):
        labels.append(_checked_labels(batch, signature.task))
        chosen = np.ones(batch.num_rows, bool) if share == 1.0 else random.random(batch.num_rows) < share
        sampled.append(batch.filter(pa.array(chosen)))
    target = _target_statistics(np.concatenate(labels) if labels else np.empty(0), signature.task)
    table = pa.Table.from_batches(sampled)
    numeric: list[NumericInput] = []
    categorical: list[CategoricalInput] = []
    for item in signature.inputs:
        if item.dtype == "string":
            categorical.append(_categorical_input(table, item))
        else:
            numeric.append(_numeric_input(item.name, model_columns(table, [item])[item.name]))
    return Preprocessing(numeric=tuple(numeric), categorical=tuple(categorical)), target


def _row_count(train_path: Path) -> int:
    if not train_path.is_file():
        raise NotFound(f"the training set {train_path} does not exist")
    try:
        return int(pq.read_metadata(train_path).num_rows)
    except pa.ArrowInvalid as error:
        raise CorruptData(f"{train_path} cannot be read as Parquet: {error}", "build the training set again") from error


def _checked_labels(batch: pa.RecordBatch, task: Task) -> Array:
    column = batch.column(LABEL).cast(pa.float64())
    labels = np.asarray(pc.fill_null(column, float("nan")).to_numpy(zero_copy_only=False), np.float64)
    if not np.isfinite(labels).all():
        raise InvalidInput(f"{int((~np.isfinite(labels)).sum())} training rows have no finite label", "leave them out")
    if task == "binary" and not np.isin(labels, (0.0, 1.0)).all():
        odd = labels[~np.isin(labels, (0.0, 1.0))][0]
        raise InvalidInput(f"a binary label is 0 or 1, a training row has {odd}", 'set task="regression" for numbers')
    return labels


def _target_statistics(labels: Array, task: Task) -> TargetStatistics:
    if not len(labels):
        raise InvalidInput("the training set has no rows", "ingest more data, or widen the model's history")
    mean, std = float(labels.mean()), float(labels.std())
    if task == "binary" and std == 0.0:
        raise InvalidInput(
            f"all {len(labels)} training rows have the label {mean:g}: there is nothing to tell apart",
            "widen the model's history, or wait for the label's delay to pass",
        )
    return TargetStatistics(rows=len(labels), mean=mean, std=std if std > 0 else 1.0)


def _numeric_input(name: str, values: Array) -> NumericInput:
    present = np.isfinite(values)
    finite = values[present]
    if not len(finite):
        return NumericInput(name=name, fill=0.0, mean=0.0, std=1.0, missing_flag=False)
    fill = float(np.median(finite))
    filled = np.where(present, values, fill)
    scale = _compress_scale(finite)
    if scale is not None:
        filled = _compress(filled, scale)
    mean, std = float(filled.mean()), float(filled.std())
    if std <= 1e-9 * abs(mean):
        std = 1.0  # constant but for rounding: dividing by it would turn rounding into signal
    return NumericInput(
        name=name, fill=fill, compress_scale=scale, mean=mean, std=std, missing_flag=bool(not present.all())
    )


def _compress(values: Array, scale: float) -> Array:
    return np.asarray(np.copysign(np.log1p(np.abs(values) / scale), values))


def _compress_scale(finite: Array) -> float | None:
    """Return the scale where the tail is heavy and compressing at least halves its excess kurtosis, or None."""
    nonzero = np.abs(finite[finite != 0])
    if not len(nonzero):
        return None
    scale = float(np.median(nonzero))
    before = _excess_kurtosis(finite)
    return scale if before > _HEAVY_KURTOSIS and _excess_kurtosis(_compress(finite, scale)) < before / 2 else None


def _excess_kurtosis(values: Array) -> float:
    centred = values - values.mean()
    largest = float(np.abs(centred).max())
    if largest == 0.0:
        return 0.0
    centred /= largest  # the fourth power of a large amount would overflow
    variance = float((centred**2).mean())
    return float((centred**4).mean()) / variance**2 - 3.0 if variance > 0 else 0.0


def _categorical_input(table: pa.Table, item: ModelInput) -> CategoricalInput:
    words = pa.array(model_columns(table, [item])[item.name], pa.string())
    counted = sorted((-entry["counts"], entry["values"]) for entry in pc.value_counts(words.drop_null()).to_pylist())
    vocabulary = tuple(word for count, word in counted[:_VOCABULARY_LIMIT] if -count >= _LEAST_COUNT)
    # A rule of thumb for entity embeddings: 1.6 · codes^0.56, as in fastai, within bounds.
    embedding = int(min(32, max(2, round(1.6 * (len(vocabulary) + 2) ** 0.56))))
    return CategoricalInput(name=item.name, vocabulary=vocabulary, embedding=embedding)
