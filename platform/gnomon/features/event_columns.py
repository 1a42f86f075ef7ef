"""Columns of events and requests as numpy arrays: entity codes, times, ties. Called by `event_order` and the joins.

An entity code is a small integer that stands for one combination of key values; −1 stands for a null key, or for an
entity that is not asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.errors import InvalidInput, did_you_mean
from gnomon.features.expression_kernels import ARROW_TYPES, TIMESTAMP

Int64s = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
Array = np.ndarray[Any, Any]


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array.

    Args:
        table: Rows of any kind.
        name: Which column.

    Returns:
        One value per row, chunks joined and dictionaries decoded.

    Raises:
        InvalidInput: The table has no such column; the hint names the nearest.
    """
    if name not in table.column_names:
        raise InvalidInput(f"the rows have no column '{name}'", did_you_mean(name, table.column_names))
    chunks = table.column(name)
    array = (
        chunks.chunk(0) if chunks.num_chunks == 1 else pa.concat_arrays(chunks.chunks or [pa.array([], chunks.type)])
    )
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def times_us(table: pa.Table, name: str) -> Int64s:
    """Return a time column (timestamp, or int64 microseconds) as int64 microseconds since the epoch, UTC.

    Args:
        table: Rows of any kind.
        name: The time column.

    Returns:
        Shape (rows,), in row order.

    Raises:
        InvalidInput: The column is absent or holds null.
    """
    array = column(table, name)
    if array.null_count:
        raise InvalidInput(f"column '{name}' holds {array.null_count} nulls", "every row needs a time")
    if pa.types.is_timestamp(array.type):
        array = array.cast(TIMESTAMP)
    result: Int64s = np.asarray(array.cast(pa.int64()))
    return result


def timestamps(times: Int64s) -> pa.Array:
    """Return int64 microseconds as a timestamp column."""
    return pa.array(times, pa.int64()).cast(TIMESTAMP)


def entity_table(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the key columns of each entity among some rows, once; a row with a null key is of no entity."""
    valid = np.ones(rows.num_rows, np.bool_)
    for key in keys:
        valid &= np.asarray(pc.is_valid(rows.column(key)))
    return rows.select(list(keys)).filter(pa.array(valid)).group_by(list(keys), use_threads=False).aggregate([])


def entity_codes(requests: pa.Table, events: pa.Table, keys: Sequence[str]) -> tuple[Int64s, Int64s, int]:
    """Number the entities of the requests, and find them among the events.

    Args:
        requests: Rows that ask; have the key columns.
        events: Rows that are searched; have the key columns, whose types the requests' keys are read as.
        keys: Key columns that together name an entity.

    Returns:
        The requests' codes, the events' codes (−1 where the key is null, and for events of entities that no request
        names) and the number of codes.

    Raises:
        InvalidInput: A key column is absent, or its values cannot be read as the events' type.
    """
    asked, found, number = None, None, 1
    for name in keys:
        event_key = column(events, name)
        wide = _wide_type(event_key.type)
        event_key, request_key = event_key.cast(wide), _cast_key(column(requests, name), wide, name)
        known = pc.unique(request_key).drop_null()
        mine, theirs = _positions(request_key, known), _positions(event_key, known)
        if asked is None or found is None:
            asked, found, number = mine, theirs, len(known)
            continue
        packed = pa.array(_pack(asked, mine, len(known)))
        known_packed = pc.unique(packed).filter(pc.greater_equal(pc.unique(packed), 0))
        found = _positions(pa.array(_pack(found, theirs, len(known))), known_packed)
        asked, number = _positions(packed, known_packed), len(known_packed)
    assert asked is not None, "a view has at least one key"
    assert found is not None
    return asked, found, number


def tie_ranks(table: pa.Table, name: str, rows: Int64s) -> Int64s:
    """Rank a text column's values among the given rows, so that they sort as numbers; nulls and absence rank 0."""
    if name not in table.column_names:
        return np.zeros(len(rows), np.int64)
    encoded = column(table, name).take(pa.array(rows)).cast(pa.string()).dictionary_encode()
    order = np.asarray(pc.sort_indices(encoded.dictionary))
    ranks = np.zeros(len(order) + 1, np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    result: Int64s = ranks[np.asarray(pc.fill_null(encoded.indices.cast(pa.int64()), -1))]
    return result


def _wide_type(arrow: pa.DataType) -> pa.DataType:
    return ARROW_TYPES["int64"] if pa.types.is_integer(arrow) else ARROW_TYPES["string"]


def _cast_key(array: pa.Array, wide: pa.DataType, name: str) -> pa.Array:
    if pa.types.is_null(array.type) or _wide_type(array.type) == wide:
        return array.cast(wide)
    raise InvalidInput(
        f"key column '{name}' is {array.type} where the source's is {wide}", "give both sources' keys one type"
    )


def _positions(values: pa.Array, known: pa.Array) -> Int64s:
    found = pc.fill_null(pc.index_in(values, value_set=known, skip_nulls=True), -1)
    result: Int64s = np.asarray(found).astype(np.int64)
    return result


def _pack(high: Int64s, low: Int64s, width: int) -> Int64s:
    """Combine two codes (each below 2^31) into one; −1 where either is."""
    return np.where((high < 0) | (low < 0), -1, high * max(width, 1) + low)
