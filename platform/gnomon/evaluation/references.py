"""The monitoring reference of a version: how inputs and scores were distributed when it was trained.

Made after a training and stored beside the version; drift tests compare the live window with it.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.errors import CorruptData, InvalidInput

SCORE = "_score"
"""Column of the version's predictions, float64."""

_REFERENCE_ROWS = 5_000  # a KS test of 5,000 against as many sees shifts of 3 % of the rows


def build_reference(inputs: pa.Table, scores: np.ndarray[Any, Any], seed: int = 0) -> bytes:
    """Return a seeded sample of at most 5,000 rows, in their order, as Parquet.

    Args:
        inputs: Columns named as the model's inputs, one row for each score.
        scores: The version's predictions for these rows.
        seed: Of the sample; equal arguments give equal bytes.

    Returns:
        The bytes of a Parquet file, as `read_reference` takes them.

    Raises:
        InvalidInput: There are no rows, the lengths differ, or an input has the score's name.
    """
    if inputs.num_rows != len(scores) or not len(scores):
        raise InvalidInput(f"{inputs.num_rows} rows of inputs and {len(scores)} scores make no reference")
    if SCORE in inputs.schema.names:
        raise InvalidInput(f"an input cannot be named '{SCORE}': the version's own score has that name")
    chosen = np.arange(inputs.num_rows)
    if len(chosen) > _REFERENCE_ROWS:
        chosen = np.sort(np.random.default_rng(abs(seed)).choice(len(chosen), _REFERENCE_ROWS, replace=False))
    table = inputs.take(pa.array(chosen)).append_column(SCORE, pa.array(np.asarray(scores, np.float64)[chosen]))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_reference(content: bytes) -> pa.Table:
    """Read the bytes that `build_reference` made.

    Args:
        content: Bytes of a Parquet file.

    Returns:
        The inputs, then `_score`.

    Raises:
        CorruptData: The bytes are no such table.
    """
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptData(f"the monitoring reference cannot be read: {error}", "train the version again") from error
    if SCORE not in table.schema.names:
        raise CorruptData(f"the monitoring reference has no column '{SCORE}'", "train the version again")
    return table
