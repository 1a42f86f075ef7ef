"""A model's input columns, from an Arrow table to the arrays that predictors take; one conversion for all callers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.signatures import Signature


def model_columns(table: pa.Table, signature: Signature) -> dict[str, np.ndarray[Any, Any]]:
    """Return the inputs of a signature as a predictor takes them.

    Args:
        table: With one column per input.
        signature: Which inputs.

    Returns:
        By input name: numbers, booleans and times as float64 with NaN for null; strings as objects with None.
    """
    return {column.name: as_input(table[column.name]) for column in signature.inputs}


def as_input(column: pa.ChunkedArray | pa.Array) -> np.ndarray[Any, Any]:
    """Return one Arrow column as a predictor takes it."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    floats = pc.cast(column, pa.float64(), safe=False)
    filled: np.ndarray[Any, Any] = pc.fill_null(floats, float("nan")).to_numpy(zero_copy_only=False)
    return filled
