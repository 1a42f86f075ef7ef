"""One Arrow column as the arrays that predictors and request functions take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def as_input(column: pa.ChunkedArray | pa.Array) -> np.ndarray[Any, Any]:
    """Convert one Arrow column to the form in which a predictor takes it.

    Args:
        column: Of a bool, number, time or string type.

    Returns:
        Numbers, booleans and times as float64 with NaN for null; strings as objects with None for null.
    """
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    floats = pc.cast(column, pa.float64(), safe=False)
    filled: np.ndarray[Any, Any] = pc.fill_null(floats, float("nan")).to_numpy(zero_copy_only=False)
    return filled
