"""Finds out which columns a source has and of which types: as declared, else as the files show.

Called by `apply` before an app is stored, and by `ingestion` for a source of no applied app. Parquet files say their
types; of text files the first rows are read, by the same rules as all rows will be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import SYSTEM_COLUMNS, Dtype
from gnomon.contracts.sources import DataSource
from gnomon.contracts.transforms import computed_columns
from gnomon.data.casting import as_mask, flat, is_text, null_texts_dropped, read_cells
from gnomon.data.csv_rows import read_csv
from gnomon.data.extraction import extracted_schema
from gnomon.data.json_rows import columns_of, parse_array, parse_object
from gnomon.data.parquet_rows import read_parquet_schema
from gnomon.data.source_files import find_files, refuse_unreadable
from gnomon.data.stored_files import SourceFile, held_still
from gnomon.data.text_layout import csv_header
from gnomon.data.text_steps import check_patterns, cleansed
from gnomon.data.time_casting import read_times
from gnomon.data.value_steps import with_computed
from gnomon.errors import InvalidDefinition, InvalidInput, did_you_mean

_PREFIX_BYTES = 2**20
_TEXT_FILES = 16
_BOOLS = pa.array(["true", "false", "True", "False", "TRUE", "FALSE"])
_JSON_OBJECTS = 10_000


def read_schema(source: DataSource, root: str) -> dict[str, Dtype]:
    """Return the types of a source's columns.

    Args:
        source: With `fields`, its columns are those and the columns of id and times; without, all that the files have.
        root: Folder that a relative path starts from.

    Returns:
        Types by column, in the order of the files' columns. Text is inferred from the first megabyte of the first 16
        files; columns that are whole numbers in one file and fractions in another are float64.

    Raises:
        NotFound: No file is there.
        InvalidInput: A file is empty or not readable as text, names a column twice, or holds a type that has no match.
        InvalidDefinition: No file has a required column, a time column is declared as another type, or a transform does
            not fit its columns.
        CorruptData: A file cannot be read.
    """
    found = {name: "string" if t == "null" else t for name, t in found_types(source, root).items()}
    for name in source.required_columns():
        if name not in found:
            free = [column for column in found if column not in source.required_columns()]
            raise InvalidDefinition(
                f"source '{source.name}': {_nowhere(source)} has a column '{name}'", did_you_mean(name, free or found)
            )
    required, computed = set(source.required_columns()), computed_columns(source.transforms)
    schema: dict[str, Dtype] = {}
    for name, dtype in found.items():
        if name in source.fields:
            schema[name] = source.fields[name].dtype
        elif name in (source.event_time, source.known_time):
            schema[name] = "timestamp"
        elif name in required or not source.fields:
            schema[name] = _require_supported(source, name, dtype)
        if name in SYSTEM_COLUMNS:
            raise InvalidInput(f"source '{source.name}': the name of column '{name}' is reserved", "rename the column")
        if name in computed:
            raise InvalidDefinition(
                f"source '{source.name}': there is a column '{name}' already, and a transform computes one",
                "give the computed one another name",
            )
    check_patterns(source)
    schema = with_computed(source, schema)
    for time in (source.event_time, source.known_time):
        if time is not None and schema[time] != "timestamp":
            raise InvalidDefinition(
                f"source '{source.name}': time column '{time}' is declared as {schema[time]}",
                "declare it as timestamp, and how it is written with time_format=",
            )
    return schema


def _nowhere(source: DataSource) -> str:
    return f"nothing in {source.place()}" if source.is_extracted() else f"no file at {source.place()}"


def found_types(source: DataSource, root: str) -> dict[str, Dtype | str]:
    """Find out the types of all columns that a source has.

    Args:
        source: Where to look; of its fields only what tells times counts.
        root: Folder that a relative path starts from.

    Returns:
        A Dtype by column; or `null` where no value was seen, or the name of an Arrow type that has no match.

    Raises:
        NotFound: No file or table is there.
        InvalidInput: A file is empty or not readable as text, or the place cannot be read as it is defined.
        CorruptData: A file cannot be read.
    """
    if source.kafka is not None:
        return _topic_types(source)
    if source.is_extracted():
        return {field.name: _match(field.type) for field in extracted_schema(source, root)}
    found: dict[str, Dtype | str] = {}
    files = find_files(source, root)
    for number, file in enumerate(files):
        with held_still(file):
            types = _types_of(file, source, found, is_sample=number < _TEXT_FILES)
        if types is None:
            break
        for name, dtype in types.items():
            found[name] = _widened(found.get(name, dtype), dtype)
    return found


def _types_of(
    file: SourceFile, source: DataSource, found: Mapping[str, Dtype | str], *, is_sample: bool
) -> Mapping[str, Dtype | str] | None:  # fmt: skip
    """Return the types in one file; of a text file beyond the sample those that were found, None without a header."""
    refuse_unreadable(file, source.file_format())
    if source.format == "parquet":
        return {field.name: _match(field.type) for field in read_parquet_schema(file)}
    if is_sample:
        return {name: _infer_cleansed(name, column, source) for name, column in _first_columns(file, source).items()}
    return {name: found.get(name, "string") for name in csv_header(file)[1]} if source.format == "csv" else None


def _topic_types(source: DataSource) -> dict[str, Dtype | str]:
    """Return the types of the columns that are declared, and of those that the first messages have."""
    from gnomon.data.topic_samples import first_values

    assert source.kafka is not None, "of format kafka"
    declared: dict[str, Dtype | str] = {name: field.dtype for name, field in source.fields.items()}
    declared |= dict.fromkeys(source.times(), "timestamp")
    missing = [name for name in source.required_columns() if name not in declared | source.kafka.column_types()]
    values = first_values(source, needed=bool(missing) or not source.fields)
    seen = {name: _infer_cleansed(name, column, source) for name, column in _json_columns(_objects(values)).items()}
    return {**seen, **source.kafka.column_types(), **declared}


def types_in(files: Iterable[Path]) -> dict[str, Dtype | str]:
    """Return the types in extracted files, as `found_types`."""
    found: dict[str, Dtype | str] = {}
    for file in files:
        for field in read_parquet_schema(file):
            dtype = _match(field.type)
            found[field.name] = _widened(found.get(field.name, dtype), dtype)
    return found


def infer(column: pa.Array | pa.ChunkedArray, source: DataSource) -> Dtype | str:
    """Return the narrowest type that every cell of a text column can be read as; `null` where there is no cell.

    Numbers with leading zeros are text, because they are codes: reading them as numbers would lose the zeros.
    """
    cells = flat(column)
    texts = null_texts_dropped(cells)
    present = texts.filter(texts.is_valid())
    if len(present) == 0:
        return "null"
    if as_mask(pc.match_substring_regex(present, r"^[+-]?0\d")).any():
        return "string"
    for dtype in ("int64", "float64"):
        if not read_cells(present, dtype).unreadable.any():
            whole = dtype == "int64" and as_mask(pc.match_substring_regex(present, r"[.eE]")).any()
            return "float64" if whole else dtype
    if as_mask(pc.is_in(present, value_set=_BOOLS)).all():
        return "bool"
    times = read_times(present, source, is_event=False)
    return "string" if (times.unreadable & ~times.zoneless).any() else "timestamp"


def _infer_cleansed(name: str, column: pa.ChunkedArray, source: DataSource) -> Dtype | str:
    return infer(cleansed(source, name, flat(column), [0] * len(source.transforms)), source)


def _first_columns(file: SourceFile, source: DataSource) -> Mapping[str, pa.ChunkedArray]:
    if source.format == "json":
        elements = parse_array(file.read_bytes(), str(file))
        return _json_columns(element for element in elements[:_JSON_OBJECTS] if isinstance(element, dict))
    start, header = csv_header(file) if source.format == "csv" else (0, ())
    with file.open("rb") as stream:
        stream.seek(start)
        data = stream.read(_PREFIX_BYTES)
    if len(data) == _PREFIX_BYTES and b"\n" in data:
        data = data[: data.rindex(b"\n") + 1]
    if source.format == "csv":
        return read_csv(data, header, 1, str(file)).columns
    return _json_columns(_objects(data.removeprefix(b"\xef\xbb\xbf")))


def _objects(data: bytes) -> Iterable[dict[str, object]]:
    for line in data.split(b"\n"):
        if line.strip():
            try:
                yield parse_object(line)
            except ValueError:
                continue  # its row will be quarantined by `json_rows`, with its line; here it tells no type


def _json_columns(objects: Iterable[dict[str, object]]) -> Mapping[str, pa.ChunkedArray]:
    rows = [{name: _inferable(value) for name, value in row.items()} for row in objects]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = columns_of(rows, names)
    return {name: table.column(name) for name in names}


def _inferable(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _match(arrow_type: pa.DataType) -> Dtype | str:
    if pa.types.is_dictionary(arrow_type):
        return _match(arrow_type.value_type)
    if pa.types.is_integer(arrow_type):
        return "int64"
    if pa.types.is_floating(arrow_type) or pa.types.is_decimal(arrow_type):
        return "float64"
    if pa.types.is_boolean(arrow_type):
        return "bool"
    if is_text(arrow_type):
        return "string"
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type):
        return "timestamp"
    return str(arrow_type)


def _widened(one: Dtype | str, other: Dtype | str) -> Dtype | str:
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    return "float64" if {one, other} == {"int64", "float64"} else "string"


def _require_supported(source: DataSource, name: str, dtype: Dtype | str) -> Dtype:
    for known in ("int64", "float64", "bool", "string", "timestamp"):
        if dtype == known:
            return known
    raise InvalidInput(
        f"source '{source.name}': column '{name}' holds {dtype}, which has no match among Gnomon's types",
        "declare fields= with the columns that you need, without this one",
    )
