"""Reads JSON: lines of objects, or one array of objects.

Called by `source_readers` and, for the first rows, by `source_schema`. Lines that are all as expected are read by
Arrow at once; as soon as one is not, the part is read line by line, and both ways give equal rows. A bad line becomes
a reject and the others are kept; an array is bad as a whole, because nothing tells where its next element begins.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as arrow_json

from gnomon.contracts.columns import Dtype
from gnomon.data.casting import ARROW_TYPES
from gnomon.data.raw_rows import RawRows, Reject
from gnomon.errors import CorruptData

_JSON_NAMES = {dict: "object", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def read_json_lines(data: bytes, schema: Mapping[str, Dtype], first_line: int) -> RawRows:
    """Read one object a line.

    Args:
        data: Whole lines.
        schema: Columns to read, by name; other members of the objects are left out.
        first_line: Line of the first byte of `data` in its file.

    Returns:
        Rows in order; a member that an object lacks is null. Blank lines are no rows.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    lines = data.split(b"\n")
    numbers = np.array([number for number, line in enumerate(lines) if line.strip()], dtype=np.int64)
    texts = [lines[number] for number in numbers]
    table = _fast(data, schema)
    if table is not None and table.num_rows == len(texts):
        return _rows_of(table, numbers + first_line, (), texts)
    kept, objects, rejects = [], [], []
    for position, text in enumerate(texts):
        try:
            objects.append(parse_object(text))
            kept.append(position)
        except ValueError as error:
            raw = json.dumps(text.decode(errors="replace"), ensure_ascii=False)
            rejects.append(Reject(int(numbers[position]) + first_line, "json", f"not a JSON object: {error}", raw))
    table = columns_of(objects, list(schema))
    return _rows_of(table, numbers[kept] + first_line, tuple(rejects), [texts[position] for position in kept])


def read_json_array(data: bytes, schema: Mapping[str, Dtype], path: str) -> RawRows:
    """Read a file that is one array of objects; elements that are no objects become rejects.

    Args:
        data: The whole file.
        schema: Columns to read, by name.
        path: Named in errors.

    Returns:
        Rows in order, numbered from 1.

    Raises:
        CorruptData: The file is no JSON, or its top is no array.
    """
    elements = parse_array(data, path)
    kept = [position for position, element in enumerate(elements) if _is_row(element)]
    rejects = tuple(
        Reject(position + 1, "json", "the element is no object of valid text", json.dumps(elements[position]))
        for position in sorted(set(range(len(elements))) - set(kept))
    )
    objects = [elements[position] for position in kept]
    texts = _Dumped(objects)
    return _rows_of(columns_of(objects, list(schema)), np.array(kept, dtype=np.int64) + 1, rejects, texts)


def parse_array(data: bytes, path: str) -> list[Any]:
    """Return the elements of a JSON array; raises as `read_json_array`."""
    try:
        elements = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unrepeated, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptData(
            f"file '{path}' cannot be read as JSON: {error}", "for one object a line, set format='jsonl'"
        ) from error
    if not isinstance(elements, list):
        raise CorruptData(
            f"file '{path}' holds a JSON {_JSON_NAMES[type(elements)]}, not an array of objects",
            "for one object a line, set format='jsonl'",
        )
    return elements


def parse_object(text: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Args:
        text: Its bytes.

    Returns:
        Its members.

    Raises:
        ValueError: It is not JSON in UTF-8, not an object, or names a member twice.
    """
    try:
        value = json.loads(text.decode(), object_pairs_hook=_unrepeated, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not _is_row(value):
        raise ValueError("it is no object of valid text")
    return dict(value)


def columns_of(objects: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pa.Table:
    """Turn objects into columns of text; numbers and booleans become the text that JSON has for them."""
    return pa.table({name: pa.array([_as_text(o.get(name)) for o in objects], type=pa.string()) for name in names})


def _fast(data: bytes, schema: Mapping[str, Dtype]) -> pa.Table | None:
    """Read lines by Arrow; None when any of them is not exactly of the schema."""
    wanted = pa.schema([(name, pa.string() if t == "timestamp" else ARROW_TYPES[t]) for name, t in schema.items()])
    try:
        data.decode()
        table = arrow_json.read_json(
            pa.BufferReader(data),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore"),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    # `NaN` and `Infinity` are not JSON, though Arrow reads them: the slow way decides
    floats = [name for name, dtype in schema.items() if dtype == "float64"]
    return table if all(pc.all(pc.is_finite(table[name])).as_py() is not False for name in floats) else None


def _rows_of(
    table: pa.Table, lines: npt.NDArray[np.int64], rejects: tuple[Reject, ...], texts: Sequence[bytes]
) -> RawRows:  # fmt: skip
    columns = {name: table.column(name) for name in table.column_names}

    def raw(positions: npt.NDArray[np.int64]) -> list[str]:
        return [texts[position].decode(errors="replace") for position in positions]

    return RawRows(columns, len(lines), lines, rejects, raw)


class _Dumped(Sequence[bytes]):
    """The JSON text of objects, made when asked for."""

    def __init__(self, objects: Sequence[Mapping[str, Any]]) -> None:
        self._objects = objects

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, position: Any) -> Any:
        return json.dumps(self._objects[position], ensure_ascii=False).encode(errors="replace")


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the member '{next(n for n in names if names.count(n) > 1)}' occurs twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_row(element: Any) -> bool:
    """Tell whether an element is an object all of whose text can be stored: half a surrogate pair cannot."""
    try:
        json.dumps(element, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return isinstance(element, dict)


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
