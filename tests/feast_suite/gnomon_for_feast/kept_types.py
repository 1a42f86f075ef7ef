"""Arrow types as our offline tables keep them, and back to what Feast gave. Called by `offline_tables`.

Delta Lake has no unsigned numbers, no times without a zone, no spans and no maps of Arrow's kind.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as kinds

from gnomon.contracts.columns import Dtype
from gnomon.features.expression_kernels import TIMESTAMP


def kept_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that a column of this type is kept in."""
    if kinds.is_timestamp(kind):
        return TIMESTAMP
    if kinds.is_null(kind):
        return pa.string()
    if kinds.is_unsigned_integer(kind) or kinds.is_time(kind) or kinds.is_duration(kind):
        return pa.int64()
    if kinds.is_date(kind):
        return pa.date32()
    if kinds.is_map(kind):
        pair = [pa.field("key", kept_type(kind.key_type)), pa.field("value", kept_type(kind.item_type))]
        return pa.list_(pa.struct(pair))
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        return pa.list_(kept_type(kind.value_type))
    if kinds.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([pa.field(field.name, kept_type(field.type)) for field in fields])
    return kind


def kept(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in the type that it is kept in."""
    if kinds.is_map(column.type):
        pairs = [None if m is None else [{"key": k, "value": v} for k, v in m] for m in column.to_pylist()]
        return pa.chunked_array([pa.array(pairs, kept_type(column.type))])
    return column.cast(kept_type(column.type), safe=False)


def given(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a kept column in the type that Feast gave."""
    if kinds.is_map(kind):
        maps = [None if m is None else [(p["key"], p["value"]) for p in m] for m in column.to_pylist()]
        return pa.chunked_array([pa.array(maps, kind)])
    return column.cast(kind, safe=False)


def dtype_of(kind: pa.DataType) -> Dtype | None:
    """Return the type that a feature of a view has for this column, or None: a view has no lists, maps or bytes."""
    if kinds.is_boolean(kind):
        return "bool"
    if kinds.is_integer(kind) and kind != pa.uint64():
        return "int64"
    if kinds.is_floating(kind):
        return "float64"
    if kinds.is_string(kind) or kinds.is_large_string(kind):
        return "string"
    return "timestamp" if kinds.is_timestamp(kind) else None
