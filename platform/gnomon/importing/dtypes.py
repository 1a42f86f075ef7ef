"""Feast's types, and what they are here: `int64`, `float64`, `bool`, `string`, `timestamp`, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.contracts.columns import Dtype
from gnomon.importing.findings import shown
from gnomon.importing.recordings import FeastObject, Named

_DTYPES: Mapping[str, Dtype] = {
    "Int32": "int64", "Int64": "int64", "Float32": "float64", "Float64": "float64", "Bool": "bool",
    "String": "string", "UnixTimestamp": "timestamp", "Json": "string", "Uuid": "string", "TimeUuid": "string",
    "INT32": "int64", "INT64": "int64", "FLOAT": "float64", "DOUBLE": "float64", "BOOL": "bool",
    "STRING": "string", "UNIX_TIMESTAMP": "timestamp", "JSON": "string", "UUID": "string", "TIME_UUID": "string",
}  # fmt: skip
_NO_TYPE: Mapping[str, str] = {
    "Array": "a feature is one value: keep lists as JSON in a String, or declare an Aggregation with last_k",
    "Set": "a feature is one value: keep sets as JSON in a String",
    "Struct": "a feature is one value: make a column of each part, or keep it as JSON in a String",
    "Decimal": "it would be rounded: declare Float64, or keep it as a String",
    "ZonedTimestamp": "times are stored in UTC: declare UnixTimestamp, and keep the zone in a column of its own",
}
_UNKNOWN_TYPES = ("UNKNOWN", "Invalid")


def dtype_of(value: Any) -> Dtype | None:
    """Return the type here of a type of Feast's, or None where there is none."""
    return _DTYPES.get(_plain(value))


def is_unknown(value: Any) -> bool:
    """Tell whether Feast, too, would read the type from the data."""
    return value is None or (isinstance(value, Named) and _plain(value) in _UNKNOWN_TYPES)


def why_none(value: Any) -> str:
    """Say why a type of Feast's has no match, and what to do."""
    name = value.kind if isinstance(value, FeastObject) else _plain(value)
    hint = _NO_TYPE.get(name, "the types are Int64, Float64, Bool, String and UnixTimestamp")
    return f"there is no type {shown_type(value)}; {hint}"


def shown_type(value: Any) -> str:
    """Return a type as it is written."""
    if isinstance(value, FeastObject):
        return f"{value.kind}({', '.join(shown_type(v) for v in value.fields.values())})"
    return shown(value)


def _plain(value: Any) -> str:
    return value.name.removeprefix("ValueType.").removeprefix("PrimitiveFeastType.") if isinstance(value, Named) else ""
