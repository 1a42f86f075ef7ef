"""Sources of Feast as sources of Gnomon: files, tables of lakes, databases.

Called by `importer` before the views, which add the columns that they need to their source, and again after them, when
it is known what identifies a row. Feast has no id of an event: a row is told by the entity's key and its event time,
and of two such rows the later created one counts. So these columns are the id here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from gnomon.contracts.columns import Dtype
from gnomon.contracts.object_urls import is_object_url
from gnomon.importing.app_text import Call, Statement
from gnomon.importing.entity_mapping import ImportState
from gnomon.importing.file_columns import columns_of_file, is_missing, time_column
from gnomon.importing.findings import Reading
from gnomon.importing.names import Names
from gnomon.importing.object_paths import url_path
from gnomon.importing.recordings import FeastObject

STREAMS = ("PushSource", "KafkaSource", "KinesisSource")
_DATABASES: Mapping[str, tuple[str, str]] = {
    "AthenaSource": ("ATHENA_URL", "PyAthena"),
    "BigQuerySource": ("BIGQUERY_URL", "sqlalchemy-bigquery"),
    "ClickhouseSource": ("CLICKHOUSE_URL", "clickhouse-sqlalchemy"),
    "MsSqlServerSource": ("MSSQL_URL", "pyodbc"),
    "OracleSource": ("ORACLE_URL", "oracledb"),
    "PostgreSQLSource": ("POSTGRES_URL", "gnomon[postgres]"),
    "RedshiftSource": ("REDSHIFT_URL", "sqlalchemy-redshift"),
    "SnowflakeSource": ("SNOWFLAKE_URL", "snowflake-sqlalchemy"),
    "TrinoSource": ("TRINO_URL", "trino"),
}
"""Databases that SQLAlchemy reaches: a variable for the URL, and the package that brings the dialect."""
_READABLE = frozenset({".parquet", ".pq", ".csv", ".jsonl", ".ndjson", ".json"})
_FORMATS = {"parquet": "parquet", "csv": "csv", "json": "jsonl", "delta": "delta"}


@dataclass
class SourcePart:
    """A source on its way into the app file.

    Attributes:
        obj: The source in Feast.
        name: Its name here.
        variable: Its variable.
        place: Fields that say where its rows are.
        event_time: Column with the time of the event.
        known_time: Column with the time at which the row was made; None where there is none.
        columns: Column of the source by what Feast calls it after its field mapping.
        spoken: Description, owner and tags.
        notes: Comments.
        keys: Key columns of the views that read it, in the order in which they came.
        types: Types by column, as the views declare them.
        all_typed: Whether every column that a view reads has a declared type.
    """

    obj: FeastObject
    name: str
    variable: str
    place: dict[str, Any]
    event_time: str
    known_time: str | None
    columns: Mapping[str, str]
    spoken: dict[str, Any]
    notes: list[str]
    keys: list[str] = field(default_factory=list)
    types: dict[str, Dtype] = field(default_factory=dict)
    all_typed: bool = True

    def column(self, name: str) -> str:
        """Return the column that Feast calls by a name."""
        return self.columns.get(name, name)

    def clashes(self, column: str, dtype: Dtype) -> bool:
        """Tell whether a column has been declared as another type; integers and fractions go together."""
        return {self.types.get(column, dtype), dtype} not in ({dtype}, {"int64", "float64"})

    def declare(self, column: str, dtype: Dtype) -> None:
        """Declare a column's type, which does not clash."""
        self.types[column] = "float64" if self.types.get(column, dtype) != dtype else dtype

    def statement(self) -> Statement:
        """Return the definition."""
        fields = {
            **self.place,
            "id": [*self.keys, self.event_time],
            "event_time": self.event_time,
            "known_time": self.known_time,
            "timezone": "UTC",
            "fields": dict(self.types) if self.all_typed and self.types else None,
            **self.spoken,
        }
        return Statement(self.variable, Call("gn.DataSource", (self.name,), fields), self.notes)


def batch_of(source: FeastObject) -> FeastObject | None:
    """Return the source that holds the history of a stream, or the source itself where it is none."""
    if source.kind not in STREAMS:
        return source
    batch = source.fields.get("batch_source")
    return batch if isinstance(batch, FeastObject) else None


def map_sources(objects: Iterable[FeastObject], state: ImportState) -> dict[FeastObject, SourcePart]:
    """Map sources, but for what only the views can tell.

    Args:
        objects: All sources of the repository, without streams and request sources.
        state: Gets the findings.

    Returns:
        A part for each that has a counterpart.
    """
    known = list(objects)
    names = Names(coming=(obj.name for obj in known))
    parts: dict[FeastObject, SourcePart] = {}
    for obj in known:
        reading = Reading(obj)
        base = obj.name if reading.take("name") else PurePosixPath(obj.name).stem
        place, notes, reason = _place(obj, reading, state)
        columns = {str(new): str(old) for old, new in (reading.take("field_mapping") or {}).items()}
        event = reading.text("timestamp_field", "event_timestamp_column")
        created = reading.text("created_timestamp_column")
        if not event and not reason:
            event, reason = _event_time(obj, place, created, state)
        if reason:
            state.findings.leave(obj, reason)
            continue
        name = names.take_for(base)
        part = SourcePart(
            obj, name, state.variables.take(name, f"{name}_source"), place, columns.get(event, event),
            columns.get(created, created) or None, columns, state.spoken(reading), notes,
        )  # fmt: skip
        if base == obj.name:
            part.notes += state.renamed(obj, name)
        if part.known_time is not None:
            part.notes.append(state.findings.differ(obj, _KNOWN.format(part.known_time)))
        part.notes += reading.name_rest(state.findings)
        parts[obj] = part
    return parts


_KNOWN = (
    "Feast looks at '{0}' only to choose between rows of one event time; here a row is not seen by anything before it. "
    "If it says when a file was written, and not when the row could first be known, take known_time out"
)


def finish_sources(parts: Mapping[FeastObject, SourcePart], state: ImportState) -> list[Statement]:
    """Return the statements of the sources that a view reads; the others are named as left out."""
    statements = []
    for obj, part in parts.items():
        if not part.keys:
            state.findings.leave(obj, "no view in the app file reads it, so that nothing says what identifies its rows")
            continue
        statements.append(part.statement())
        state.findings.took(obj, f"DataSource '{part.name}'")
    return statements


def _place(obj: FeastObject, reading: Reading, state: ImportState) -> tuple[dict[str, Any], list[str], str]:
    """Return the fields that say where the rows are, comments on them, and a reason where there are none."""
    if not obj.known:
        return {}, [], f"a source of class {obj.kind} is unknown; export its rows to Parquet"
    if obj.kind in ("FileSource", "SparkSource", "RaySource") and (path := reading.text("path")):
        return _files(obj, path, reading, state)
    if obj.kind in _DATABASES:
        return _database(obj, reading, state)
    if obj.kind == "IcebergSource" and (table := reading.text("table")):
        catalog = reading.text("catalog_name") or "feast_iceberg"
        note = f"the catalog's settings are pyiceberg's: PYICEBERG_CATALOG__{catalog.upper()}__URI and others"
        space = reading.text("namespace")
        place = {"table": f"{space}.{table}" if space else table, "catalog": catalog}
        return place, [state.findings.differ(obj, note)], ""
    return {}, [], f"there is no reader for a {obj.kind}; export its rows to Parquet, Delta, Iceberg or a database"


def _files(
    obj: FeastObject, path: str, reading: Reading, state: ImportState
) -> tuple[dict[str, Any], list[str], str]:  # fmt: skip
    given = reading.take("file_format", "table_format", "reader_type")
    kind = given.kind if isinstance(given, FeastObject) else str(given or "")
    kind = kind.lower().removesuffix("format")
    if kind and kind not in _FORMATS:
        return {}, [], f"files of format {kind} are not read; write them as Parquet"
    place: dict[str, Any] = {"path": path}
    ending = PurePosixPath(path).suffix.lower()
    if kind in ("delta", "json") or ending not in _READABLE:
        place["format"] = _FORMATS[kind or "parquet"]
    if is_object_url(path) and not path.startswith("file://"):
        found = url_path(path, reading.text("s3_endpoint_override"), is_delta=place.get("format") == "delta")
        if not found.path:
            return {}, [], found.note
        place["path"] = found.path
        if found.is_read:
            return place, [state.findings.differ(obj, found.note)], ""
        return place, [state.findings.leave(obj, found.note, part="setting path of ")], ""
    place["path"] = _moved(path.removeprefix("file://"), state)
    return place, [], ""


def _moved(path: str, state: ImportState) -> str:
    """Return a path that starts from the app file's folder, as that in Feast starts from the repository's.

    An absolute path is left alone, unless it leads into the repository: it was put together from the file's own.
    """
    root = state.repository.root
    outside = Path(path).is_absolute() and not Path(path).is_relative_to(root)
    if outside or (state.folder == root and not Path(path).is_absolute()):
        return path
    return Path(os.path.relpath(root / path, state.folder)).as_posix()


def _database(obj: FeastObject, reading: Reading, state: ImportState) -> tuple[dict[str, Any], list[str], str]:
    variable, package = _DATABASES[obj.kind]
    query, table = reading.text("query"), reading.text("table", "table_ref")
    where = [reading.text(name) for name in ("data_source", "database", "schema")] if not query else []
    full = ".".join(part for part in (*where, table) if part)
    if obj.fields.get("connection_str"):
        reading.take("connection_str")  # it has a password in it: not even a comment shows it
    if query:
        place = {"sql": query}
    elif table:
        place = {"table": full} if full.count(".") < 2 else {"sql": f"SELECT * FROM {full}"}
    else:
        return {}, [], "it has neither a table nor a query"
    note = f"it is read through SQLAlchemy: install {package} where the platform runs, and set {variable} there"
    return {**place, "url_env": variable}, [state.findings.differ(obj, note)], ""


def why_untold(obj: FeastObject, place: Mapping[str, Any], state: ImportState) -> str:
    """Return why a source's files do not tell their columns.

    Args:
        obj: The source in Feast.
        place: Fields that say where its rows are.
        state: Knows the folder that a relative path starts from.

    Returns:
        A clause that names a missing file by its path as the repository gives it.
    """
    if not is_missing(place, state.folder):
        return "its files do not tell one"
    given = str(obj.fields.get("path", ""))
    return f"there is no file at '{place['path'] if '://' in given else given}' to tell one"


def _event_time(obj: FeastObject, place: Mapping[str, Any], created: str, state: ImportState) -> tuple[str, str]:
    """Return the one column of times that the files have, as Feast finds it out, or a reason."""
    found = time_column(columns_of_file(place, state.folder), created)
    return (found, "") if found else ("", f"it has no timestamp_field, and {why_untold(obj, place, state)}")
