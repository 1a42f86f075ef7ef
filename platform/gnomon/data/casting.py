"""Reads a column of a file as one of Gnomon's types, cell by cell: what cannot be read is marked, not raised.

Called by `validation` for every column of a part, and by `source_schema` to find out what a text column holds.
Text is read the same way whatever file it stands in; times are read by `time_casting`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import Dtype

Mask = npt.NDArray[np.bool_]

ARROW_TYPES: Mapping[Dtype, pa.DataType] = {
    "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_(), "string": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}  # fmt: skip
NULL_TEXTS = pa.array(["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"])
"""Texts that mean null in a column that is not text."""

_TRUE = pa.array(["true", "t", "yes", "y", "1", "1.0"])
_FALSE = pa.array(["false", "f", "no", "n", "0", "0.0"])
_EXACT_FLOAT = 2.0**53


@dataclass(frozen=True)
class Reading:
    """A column as read.

    Attributes:
        values: Of the type asked for; null where the cell is null or cannot be read.
        unreadable: Marks the cells that are not null and cannot be read.
        zoneless: Marks the cells that are times without a zone, where none is declared; they are unreadable too.
    """

    values: pa.Array
    unreadable: Mask
    zoneless: Mask

    @classmethod
    def of(cls, values: pa.Array, cells: pa.Array, zoneless: Mask | None = None) -> Reading:
        """Mark as unreadable what is null in `values` and not in `cells`."""
        unreadable = as_mask(values.is_null()) & as_mask(cells.is_valid())
        return cls(values, unreadable, np.zeros(len(values), dtype=bool) if zoneless is None else zoneless)


def as_mask(booleans: pa.Array) -> Mask:
    """Return an Arrow boolean array as a NumPy mask; null counts as False."""
    mask: Mask = pc.fill_null(booleans, False).to_numpy(zero_copy_only=False)
    return mask


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array, with dictionaries decoded and binary or large text as plain text.

    Bytes that are not UTF-8 become null here; `undecodable` finds them.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_text(array.type) and array.type != pa.string():
        try:
            return pc.cast(array, pa.string())
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return pa.array([_decoded(value) for value in array.to_pylist()], type=pa.string())
    return array


def is_text(arrow_type: pa.DataType) -> bool:
    """Tell whether a column of that Arrow type holds text or bytes."""
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    views = (pa.types.is_fixed_size_binary, pa.types.is_string_view, pa.types.is_binary_view)
    return any(kind(arrow_type) for kind in (*kinds, *views))


def read_cells(cells: pa.Array, dtype: Dtype) -> Reading:
    """Read a flat column as a type other than `timestamp`.

    Args:
        cells: From `flat`.
        dtype: `int64`, `float64`, `bool` or `string`. A number is read as int64 only when it is whole.

    Returns:
        As many values, in the same order.
    """
    if dtype == "string":
        return Reading.of(_as_text(cells), cells)
    if cells.type == pa.string():
        cells = null_texts_dropped(cells)
        return Reading.of(_parse(cells, dtype), cells)
    if pa.types.is_null(cells.type):
        return Reading.of(cells.cast(ARROW_TYPES[dtype]), cells)
    return Reading.of(_convert(cells, dtype), cells)


def null_texts_dropped(texts: pa.Array) -> pa.Array:
    """Trim text and replace what means null by null."""
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.is_in(trimmed, value_set=NULL_TEXTS), pa.scalar(None, pa.string()), trimmed)


def _decoded(value: bytes | None) -> str | None:
    try:
        return value.decode() if value is not None else None
    except UnicodeDecodeError:
        return None


def undecodable(column: pa.Array | pa.ChunkedArray, cells: pa.Array) -> Mask:
    """Mark the cells whose bytes are not UTF-8 text: `flat` made them null."""
    lost: Mask = as_mask(cells.is_null()) & ~np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    return lost


def _as_text(cells: pa.Array) -> pa.Array:
    if pa.types.is_floating(cells.type):
        whole = whole_numbers(cells.cast(pa.float64()))
        return pc.coalesce(whole.cast(pa.string()), cells.cast(pa.string()))
    return cells.cast(pa.string())


def whole_numbers(floats: pa.Array) -> pa.Array:
    """Return floats as int64, null where they are not whole or too large to be exact."""
    exact = pc.and_(pc.less_equal(pc.abs(floats), _EXACT_FLOAT), pc.equal(pc.floor(floats), floats))
    return pc.if_else(exact, floats, pa.scalar(None, pa.float64())).cast(pa.int64())


def _parse(texts: pa.Array, dtype: Dtype) -> pa.Array:
    if dtype == "bool":
        lower = pc.utf8_lower(texts)
        true, false = pc.is_in(lower, value_set=_TRUE), pc.is_in(lower, value_set=_FALSE)
        return pc.if_else(true, True, pc.if_else(false, False, pa.scalar(None, pa.bool_())))
    series = pl.Series(values=texts, dtype=pl.String)
    if dtype == "float64":
        return _plain(series.cast(pl.Float64, strict=False), pa.float64())
    numbers = _plain(series.cast(pl.Int64, strict=False), pa.int64())
    if numbers.null_count == texts.null_count:
        return numbers
    return pc.coalesce(numbers, whole_numbers(_plain(series.cast(pl.Float64, strict=False), pa.float64())))


def _convert(cells: pa.Array, dtype: Dtype) -> pa.Array:
    try:
        if not (dtype == "int64" and pa.types.is_floating(cells.type)) and dtype != "bool":
            return cells.cast(ARROW_TYPES[dtype])
    except pa.ArrowInvalid:
        pass  # a cell does not fit: find out which, below
    except pa.ArrowNotImplementedError:
        return pa.nulls(len(cells), ARROW_TYPES[dtype])
    if pa.types.is_floating(cells.type) and dtype == "int64":
        return whole_numbers(cells.cast(pa.float64()))
    return pa.array([_converted(value, dtype) for value in cells.to_pylist()], type=ARROW_TYPES[dtype])


def _converted(value: Any, dtype: Dtype) -> Any:
    """Convert one value of a column that does not fit as a whole."""
    try:
        if value is None or (dtype == "bool" and value not in (0, 1)):
            return None
        if dtype == "int64":
            return int(value) if int(value) == value and abs(value) < 2**63 else None
        return bool(value) if dtype == "bool" else float(value)
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        return None


def _plain(series: pl.Series, arrow_type: pa.DataType) -> pa.Array:
    array = flat(series.to_arrow())
    return array if array.type == arrow_type else array.cast(arrow_type)
