"""Values of Feast's online protocol as values that our online store holds, and back.

Called by `online_store`. Numbers, texts, bools and times have a type of ours. Every other kind (bytes, lists, sets,
maps, structs, …) has none: such a value is kept as text, its protocol buffer in base64.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from feast import FeatureView
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.value_type import ValueType

from gnomon.contracts.columns import Dtype

_S = 1_000_000
_NO_TIME = -(1 << 63)


@dataclass(frozen=True)
class Form:
    """How the values of one kind are held.

    Attributes:
        dtype: Type of the column.
        field: Field of the protocol buffer; empty where the whole of it is kept.
        read: Makes what the field takes from what is held.
    """

    dtype: Dtype
    field: str
    read: Callable[[Any], Any]


_FORMS: Mapping[ValueType, Form] = {
    ValueType.INT32: Form("int64", "int32_val", int),
    ValueType.INT64: Form("int64", "int64_val", int),
    ValueType.FLOAT: Form("float64", "float_val", float),
    ValueType.DOUBLE: Form("float64", "double_val", float),
    ValueType.BOOL: Form("bool", "bool_val", bool),
    ValueType.STRING: Form("string", "string_val", str),
    ValueType.UNIX_TIMESTAMP: Form("timestamp", "unix_timestamp_val", lambda us: int(us) // _S),
}
_WHOLE = Form("string", "", str)


def form_of(kind: ValueType) -> Form:
    """Return how values of a kind are held."""
    return _FORMS.get(kind, _WHOLE)


def view_columns(view: FeatureView) -> list[tuple[str, Dtype]]:
    """Return the columns of a view's features with the types that they are held in, in the view's order."""
    return [(field.name, form_of(field.dtype.to_value_type()).dtype) for field in view.features]


def held(value: Value | None, kind: ValueType) -> Any:
    """Return what is held for a value; None for null."""
    given = None if value is None else value.WhichOneof("val")
    if value is None or given is None or given == "null_val":
        return None
    form = form_of(kind)
    if not form.field:
        return _text(value)
    raw = getattr(value, given)
    if form.dtype == "timestamp":
        return None if raw == _NO_TIME else raw * _S
    return form.read(raw)


def served(stored: Any, kind: ValueType) -> Value:
    """Return a value of Feast's protocol; the empty one for null."""
    if stored is None or stored != stored:
        return Value()
    form = form_of(kind)
    if not form.field:
        return Value.FromString(base64.b64decode(stored))
    return Value(**{form.field: form.read(stored)})


def key_types(keys: Sequence[EntityKey]) -> dict[str, Dtype]:
    """Return the key columns with their types: whole numbers are int64, everything else is text."""
    if not keys:
        return {}
    first = keys[0]
    whole = ("int32_val", "int64_val", "unix_timestamp_val")
    return {
        name: "int64" if value.WhichOneof("val") in whole else "string"
        for name, value in zip(first.join_keys, first.entity_values, strict=True)
    }


def key_row(key: EntityKey) -> dict[str, Any]:
    """Return a key's values by column; what is neither a whole number nor text is its protocol buffer in base64."""
    row = {}
    for name, value in zip(key.join_keys, key.entity_values, strict=True):
        raw = getattr(value, value.WhichOneof("val"))
        row[name] = raw if isinstance(raw, int | str) and not isinstance(raw, bool) else _text(value)
    return row


def _text(value: Value) -> str:
    return base64.b64encode(value.SerializeToString()).decode()


def utc(moment: datetime) -> datetime:
    """Return an aware time; one without a zone is UTC, as Feast has it."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
