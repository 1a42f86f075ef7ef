"""Calls functions of Feast's on-demand views with what Gnomon gives to the functions of request features.

Imported by app files that `gnomon import-feast` made. Gnomon gives numpy columns, numbers as float64 with NaN for null;
Feast's functions take a data frame (`pandas` mode), or lists or single values by name (`python` mode), in the declared
types. Whole numbers beyond 2^53 have been rounded before they come here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READERS: Mapping[str, Callable[[Any], Any]] = {
    "int64": int,
    "float64": float,
    "bool": bool,
    "string": str,
    "timestamp": lambda us: _EPOCH + timedelta(microseconds=int(us)),
}

_NUMPY_TYPES: Mapping[str, Any] = {"int64": np.int64, "bool": np.bool_}
"""Types that a value that is not null has in a data frame of Feast's, where Gnomon gives float64."""


def call_pandas(
    function: Callable[[Any], Any], reads: Mapping[str, str], output: str, columns: tuple[Any, ...]
) -> np.ndarray[Any, Any]:
    """Call a function that takes and returns a `pandas.DataFrame`.

    Whole numbers and booleans with nulls among them are floats in a data frame. A row must not depend on its
    neighbours, so rows with nulls and rows without go in calls of their own: each in the types that it has alone.

    Args:
        function: The function of the on-demand view.
        reads: Types of the columns by the name that the function knows them by.
        output: Which column of the result is wanted.
        columns: What Gnomon gives: one array for each of `reads`, in that order, of equal length.

    Returns:
        One value a row, None or NaN for null.
    """
    groups = _alike(reads, columns)
    parts = [_call_frame(function, reads, output, tuple(values[rows] for values in columns)) for rows in groups]
    if len(parts) == 1:
        return parts[0]
    if all(part.dtype.kind in "if" for part in parts):
        found = np.concatenate(parts)
    else:
        found = _objects([value for part in parts for value in part.tolist()])
    if len(found) != sum(map(len, groups)):
        return found  # which `request_features` refuses
    return found[np.argsort(np.concatenate(groups))]


def _alike(reads: Mapping[str, str], columns: tuple[Any, ...]) -> list[np.ndarray[Any, Any]]:
    """Return numbers of rows, together where the same whole numbers and booleans of them are null."""
    pairs = zip(reads.values(), columns, strict=True)
    nulls = [values != values for dtype, values in pairs if dtype in _NUMPY_TYPES]
    rows = np.arange(len(columns[0]) if columns else 0)
    if not any(null.any() for null in nulls):
        return [rows]
    _, group = np.unique(np.stack(nulls), axis=1, return_inverse=True)
    return [rows[group.reshape(-1) == number] for number in np.unique(group)]


def _call_frame(
    function: Callable[[Any], Any], reads: Mapping[str, str], output: str, columns: tuple[Any, ...]
) -> np.ndarray[Any, Any]:
    import pandas as pd

    frame = pd.DataFrame()
    for (name, dtype), values in zip(reads.items(), columns, strict=True):
        # Texts as objects: else their type is another one where all are null.
        column = pd.Series(values, dtype=object if dtype == "string" else None)
        if dtype == "timestamp":
            column = pd.to_datetime(column, unit="us", utc=True)
        elif dtype in _NUMPY_TYPES and column.notna().all():
            column = column.astype(_NUMPY_TYPES[dtype])
        frame[name] = column
    result = function(frame)[output]
    if result.dtype.kind in "if" and isinstance(result.dtype, np.dtype):
        return np.asarray(result.to_numpy())
    return np.array([None if pd.isna(value) else value for value in result], dtype=object)


def call_python(
    function: Callable[[dict[str, Any]], Mapping[str, Any]], reads: Mapping[str, str], output: str,
    columns: tuple[Any, ...],
) -> np.ndarray[Any, Any]:  # fmt: skip
    """Call a function that takes lists by name and returns lists by name; otherwise as `call_pandas`."""
    return _objects(function(_lists(reads, columns))[output])


def call_single(
    function: Callable[[dict[str, Any]], Mapping[str, Any]], reads: Mapping[str, str], output: str,
    columns: tuple[Any, ...],
) -> np.ndarray[Any, Any]:  # fmt: skip
    """Call a function that takes and returns the values of one row, for every row; otherwise as `call_pandas`."""
    lists = _lists(reads, columns)
    rows = (dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True))
    return _objects([function(row)[output] for row in rows])


def _lists(reads: Mapping[str, str], columns: tuple[Any, ...]) -> dict[str, list[Any]]:
    return {
        name: [None if value is None or value != value else _READERS[dtype](value) for value in column.tolist()]
        for (name, dtype), column in zip(reads.items(), columns, strict=True)
    }


def _objects(values: Any) -> np.ndarray[Any, Any]:
    found = np.empty(len(values), dtype=object)
    found[:] = [None if value is None or value != value else value for value in values]
    return found
