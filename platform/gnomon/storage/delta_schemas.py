"""Arrow schemas as Delta Lake stores them, and how a table's schema may change.

Used by `storage.delta_tables` on every write and by `storage.delta_log` on every open. Columns are always nullable; the
field's own metadata (pandas', for one) is not kept.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa

from gnomon.contracts.columns import EVENT_TIME
from gnomon.errors import CorruptData, InvalidInput

TIMESTAMP = pa.timestamp("us", tz="UTC")

_DELTA_NAMES: dict[Any, str] = {
    pa.int8(): "byte", pa.int16(): "short", pa.int32(): "integer", pa.int64(): "long",
    pa.float32(): "float", pa.float64(): "double", pa.bool_(): "boolean", pa.string(): "string",
    pa.binary(): "binary", pa.date32(): "date", TIMESTAMP: "timestamp",
}  # fmt: skip
_ARROW_TYPES = {name: kind for kind, name in _DELTA_NAMES.items()}
_SAME = {pa.large_string(): pa.string(), pa.string_view(): pa.string(), pa.large_binary(): pa.binary()}


def storable_type(kind: pa.DataType, column: str) -> pa.DataType:
    """Return the type that a column of this type is stored with: one text type, one time type, no dictionaries.

    Args:
        kind: Type of the column.
        column: Its name, for the message.

    Returns:
        A type that `to_delta` knows.

    Raises:
        InvalidInput: The type has no counterpart, or is a time without a zone.
    """
    if kind in _DELTA_NAMES or pa.types.is_decimal128(kind):
        return kind
    if kind in _SAME:
        return _SAME[kind]
    if pa.types.is_dictionary(kind):
        return storable_type(kind.value_type, column)
    if pa.types.is_timestamp(kind) and kind.tz:
        return TIMESTAMP
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(storable_type(kind.value_type, column))
    if pa.types.is_struct(kind):
        return pa.struct(
            [(kind.field(i).name, storable_type(kind.field(i).type, column)) for i in range(kind.num_fields)]
        )
    if pa.types.is_timestamp(kind):
        hint = "give the times a zone before storing them"
        raise InvalidInput(f"column '{column}' holds times without a zone", hint, {"column": column})
    hint = "cast it to int64, float64, bool, string or timestamp[us, tz=UTC]"
    raise InvalidInput(f"column '{column}' has type {kind}, which cannot be stored", hint, {"column": column})


def storable_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema that rows of this schema are stored with.

    Args:
        schema: Schema of rows to be stored.

    Returns:
        The same columns in the same order, all nullable.

    Raises:
        InvalidInput: A name repeats, the event time is missing or no time, or a type cannot be stored.
    """
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise InvalidInput(f"column '{name}' occurs more than once", "give each column a name of its own")
    stored = pa.schema([(field.name, storable_type(field.type, field.name)) for field in schema])
    if EVENT_TIME not in stored.names:
        raise InvalidInput(f"column '{EVENT_TIME}' is missing", "every table needs the time of the event", {})
    if stored.field(EVENT_TIME).type != TIMESTAMP:
        raise InvalidInput(f"column '{EVENT_TIME}' has type {schema.field(EVENT_TIME).type}, expected {TIMESTAMP}")
    return stored


def storable_rows(rows: pa.Table) -> pa.Table:
    """Return the rows in the types that they are stored with; times finer than microseconds are cut.

    Args:
        rows: Rows to be stored.

    Returns:
        The same rows in the same order.

    Raises:
        InvalidInput: As `storable_schema`, or a row has no event time.
    """
    stored = storable_schema(rows.schema)
    missing = rows[EVENT_TIME].null_count
    if missing:
        hint = "give every row an event time; rows that have none are quarantined with the time of ingestion"
        raise InvalidInput(f"{missing} of {rows.num_rows} rows have no '{EVENT_TIME}'", hint)
    return rows.cast(stored, safe=False)


def merged_schema(table: str, current: pa.Schema, added: pa.Schema) -> pa.Schema:
    """Return the table's schema after rows of another schema were added.

    Args:
        table: Name of the table, for the message.
        current: Storable schema of the table.
        added: Storable schema of the rows; may lack columns and may have new ones.

    Returns:
        The old columns first, the new ones after them.

    Raises:
        InvalidInput: A column has another type than in the table.
    """
    for field in added:
        if field.name in current.names and (known := current.field(field.name).type) != field.type:
            raise InvalidInput(
                f"column '{field.name}' has type {field.type}, in table '{table}' it has type {known}",
                f"cast the column to {known}, or store it under another name",
                {"table": table, "column": field.name, "expected": str(known), "found": str(field.type)},
            )
    return pa.schema([*current, *(field for field in added if field.name not in current.names)])


def to_delta(schema: pa.Schema) -> str:
    """Return a storable schema as Delta's `schemaString`."""
    return json.dumps(_struct_to_delta(list(schema)))


def from_delta(schema_string: str) -> pa.Schema:
    """Return the schema that a `schemaString` describes.

    Args:
        schema_string: Delta's JSON of a struct.

    Returns:
        A storable schema.

    Raises:
        CorruptData: It names a type that Gnomon does not store.
    """
    return pa.schema(_fields_from_delta(json.loads(schema_string)))


def _struct_to_delta(fields: list[pa.Field]) -> dict[str, Any]:
    columns = [{"name": f.name, "type": _type_to_delta(f.type), "nullable": True, "metadata": {}} for f in fields]
    return {"type": "struct", "fields": columns}


def _type_to_delta(kind: pa.DataType) -> str | dict[str, Any]:
    if pa.types.is_list(kind):
        return {"type": "array", "elementType": _type_to_delta(kind.value_type), "containsNull": True}
    if pa.types.is_struct(kind):
        return _struct_to_delta([kind.field(i) for i in range(kind.num_fields)])
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _DELTA_NAMES[kind]


def _fields_from_delta(struct: dict[str, Any]) -> list[pa.Field]:
    return [pa.field(field["name"], _type_from_delta(field["type"])) for field in struct["fields"]]


def _type_from_delta(kind: str | dict[str, Any]) -> pa.DataType:
    if isinstance(kind, dict) and kind["type"] == "array":
        return pa.list_(_type_from_delta(kind["elementType"]))
    if isinstance(kind, dict) and kind["type"] == "struct":
        return pa.struct(_fields_from_delta(kind))
    if isinstance(kind, str) and (decimal := re.fullmatch(r"decimal\((\d+), ?(\d+)\)", kind)):
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    if isinstance(kind, str) and kind in _ARROW_TYPES:
        return _ARROW_TYPES[kind]
    raise CorruptData(f"the table has a column of the Delta type {kind}, which Gnomon does not store")
