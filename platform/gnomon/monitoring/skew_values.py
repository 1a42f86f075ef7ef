"""How the skew audit compares: a replayed value equals a logged one when it would have been logged with the same bits.

Called by `skew_audit`, `skew_classes` and `skew_requests`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.features.event_columns import Flags
from gnomon.features.expression_kernels import FLOAT, INT, STRING, TIMESTAMP, without_nan
from gnomon.features.model_columns import as_input

EXACT = 2**53
"""Whole numbers beyond this are rounded when they are logged as float64."""


def as_logged(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as the prediction log holds it.

    Args:
        values: Of any of the five types.

    Returns:
        Text as it is; numbers, truth values and times (microseconds) as float64, with null for NaN.
    """
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks or [pa.array([], values.type)])
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values.cast(STRING)
    if values.type == FLOAT:
        return without_nan(values)
    return pa.array(as_input(values), FLOAT, from_pandas=True)


def same(served: pa.Array, expected: pa.Array) -> Flags:
    """Tell for each row whether two logged values have equal bits; null equals null and nothing else.

    Args:
        served: Text or float64, as `as_logged` gives them.
        expected: Of the same type and length; where the types differ only nulls are equal.

    Returns:
        Shape (rows,). 0.0 and −0.0 differ.
    """
    missing = np.asarray(pc.is_null(served)), np.asarray(pc.is_null(expected))
    both_null: Flags = missing[0] & missing[1]
    if served.type != expected.type:
        return both_null
    if served.type != FLOAT:
        equal: Flags = np.asarray(pc.fill_null(pc.equal(served, expected), False))
    else:
        bits = [np.asarray(pc.fill_null(side, 0.0)).view(np.int64) for side in (served, expected)]
        equal = ~missing[0] & ~missing[1] & (bits[0] == bits[1])
    return np.logical_or(both_null, equal)


def rounded_rows(values: pa.Array | pa.ChunkedArray) -> int:
    """Count the values that the log could only hold rounded, so that their last digits were not compared."""
    if values.type not in (INT, TIMESTAMP):
        return 0
    whole = values.cast(INT)
    beyond = pc.or_(pc.greater(whole, EXACT), pc.less(whole, -EXACT))
    return int(pc.sum(beyond).as_py() or 0)
