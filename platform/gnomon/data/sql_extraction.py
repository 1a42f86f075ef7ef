"""Reads the rows of a database, range by range within one snapshot, into Parquet files.

Called by `extraction`. All ranges, and the next watermark, are of one state of the database: on PostgreSQL any number
of connections share an exported snapshot; on MySQL and MariaDB, and on SQLite, one connection reads range after range
in one transaction, because their snapshots cannot be shared without locking writers out. Other databases are read by
a single statement. Every transaction is read-only, and the query a subquery, so that it can change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from gnomon.contracts.sources import DataSource
from gnomon.data.sql_cells import arrow_chunk
from gnomon.data.watermarks import as_cursor, believed, of_cursor, range_bounds, read_from
from gnomon.errors import InvalidInput, NotFound, Unavailable, did_you_mean
from gnomon.settings import source_url

CHUNK_ROWS = 50_000
"""Rows that are in memory at once, for each connection; each chunk is one file."""

_SAMPLE_ROWS = 1000
_PARTITIONS = 4
_BEGIN = {
    "postgresql": ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",),
    "mysql": (
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ),
    "sqlite": ("PRAGMA query_only = ON", "BEGIN"),
}
_BEGIN["mariadb"] = _BEGIN["mysql"]


def sql_schema(source: DataSource) -> pa.Schema:
    """Return the columns of a source's query or table, with the types of its first thousand rows.

    Args:
        source: Of format `sql`.

    Returns:
        Arrow types; null where all of those rows are.

    Raises:
        InvalidInput: The URL, the query or the table cannot be used.
        Unavailable: The database does not answer.
    """
    with _engine(source) as engine, _snapshot(engine) as connection:
        rows = _rows(source, connection)
        found = connection.execute(sa.select(rows).limit(_SAMPLE_ROWS)).fetchall()
        return arrow_chunk(rows.columns.keys(), found).schema


def extract_sql(
    source: DataSource, folder: Path, cursor: Mapping[str, Any] | None, now_us: int
) -> tuple[list[Path], dict[str, str] | None]:  # fmt: skip
    """Read new rows into files.

    Args:
        source: Of format `sql`.
        folder: Where the files go.
        cursor: The last watermark; None reads everything.
        now_us: The present.

    Returns:
        The files, and the next watermark; None where the source has none.

    Raises:
        InvalidInput: The URL, the query, the table or a column cannot be used.
        Unavailable: The database does not answer, or ends the connection.
    """
    with _engine(source) as engine, _snapshot(engine) as connection:
        rows = _rows(source, connection)
        mark = None if source.watermark is None else _column(source, rows, source.watermark)
        greatest = None if mark is None else connection.execute(sa.select(sa.func.max(mark))).scalar()
        new = sa.select(rows)
        if mark is not None and cursor is not None:
            new = new.where(sa.or_(mark >= read_from(source, of_cursor(cursor)), mark.is_(None)))
        ranges = [new.where(part) for part in _ranges(source, connection, rows, new)] or [new]
        files = list(_read_ranges(engine, connection, ranges, folder))
    if mark is None:
        return files, None
    return files, dict(cursor or {}) or None if greatest is None else as_cursor(believed(source, greatest, now_us))


@contextmanager
def _engine(source: DataSource) -> Iterator[sa.Engine]:
    """Open the database, and say what is wrong with it in words that hold no secret."""
    variable = source.url_env or ""
    text = source_url(variable)
    try:
        url = sa.make_url(text)
        if "@" in (url.host or ""):  # half of a password: an error of the driver would tell it
            raise ValueError
        engine = sa.create_engine(url, poolclass=NullPool)
    except (sa.exc.ArgumentError, ValueError, ImportError) as error:
        reason = f"needs the driver {error.name}" if isinstance(error, ImportError) else "is no SQLAlchemy URL"
        raise InvalidInput(
            f"source '{source.name}': the URL in {variable} {reason}",
            "such as postgresql+psycopg://user:…@host/name; in a password write @ : / as %40 %3A %2F",
        ) from None
    if url.get_backend_name() == "sqlite":
        if not url.database or not Path(url.database).is_file():
            raise NotFound(f"source '{source.name}': the SQLite file that {variable} names is not there")
        _leave_transactions_to_us(engine)
    try:
        yield engine
    except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        if url.get_backend_name() == "sqlite" or (isinstance(error, sa.exc.OperationalError) and _is_ours(error)):
            raise _refused(source, error) from None
        raise Unavailable(f"the database of {variable} does not answer: {_first_line(error)}") from None
    except (sa.exc.DBAPIError, sa.exc.CompileError) as error:
        raise _refused(source, error) from None
    finally:
        engine.dispose()


def _is_ours(error: sa.exc.OperationalError) -> bool:
    """Tell the errors of a wrong name, which MySQL's driver reports as operational too (1044 to 1146)."""
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return isinstance(code, int) and 1044 <= code <= 1146


def _refused(source: DataSource, error: sa.exc.SQLAlchemyError) -> InvalidInput:
    return InvalidInput(
        f"source '{source.name}': {source.place()} cannot be read: {_first_line(error)}", "check the names in it"
    )


def _first_line(error: sa.exc.SQLAlchemyError) -> str:
    """Return what the driver said, without SQLAlchemy's additions."""
    said = str(getattr(error, "orig", None) or error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def _leave_transactions_to_us(engine: sa.Engine) -> None:
    """Keep Python's sqlite3 from beginning transactions by itself, which it does not for reads."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None


@contextmanager
def _snapshot(engine: sa.Engine, shared: str | None = None) -> Iterator[sa.Connection]:
    """Open a read-only transaction that sees one state throughout, or the state that another one exported."""
    with engine.connect() as connection:
        for statement in _BEGIN.get(engine.dialect.name, ()):
            connection.exec_driver_sql(statement)
        if shared is not None:
            connection.execute(sa.text("SET TRANSACTION SNAPSHOT '" + shared.replace("'", "") + "'"))
        try:
            yield connection
        finally:
            connection.rollback()


def _rows(source: DataSource, connection: sa.Connection) -> sa.FromClause:
    """Return the source's rows as something to select from, with the names of its columns."""
    if source.sql is not None:
        query = re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", source.sql.strip().rstrip(";"))
        rows: Any = sa.text(f"(\n{query}\n) AS gnomon_rows")  # a comment at its end must not swallow the bracket
    else:
        schema, _, name = (source.table or "").rpartition(".")
        rows = sa.table(name, schema=schema or None)
    names = list(connection.execute(sa.select(sa.text("*")).select_from(rows).limit(0)).keys())
    columns: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
    if source.sql is None:
        return sa.table(name, *columns, schema=schema or None)
    return sa.select(*columns).select_from(rows).subquery("gnomon_source")


def _column(source: DataSource, rows: sa.FromClause, name: str) -> sa.ColumnElement[Any]:
    if name not in rows.columns:
        raise InvalidInput(
            f"source '{source.name}': {source.place()} has no column '{name}'", did_you_mean(name, rows.columns.keys())
        )
    return rows.columns[name]


def _ranges(
    source: DataSource, connection: sa.Connection, rows: sa.FromClause, new: sa.Select[Any]
) -> list[sa.ColumnElement[bool]]:  # fmt: skip
    """Return conditions that each row meets exactly one of; none where the source is read in one piece."""
    if source.partition_by is None or connection.dialect.name not in _BEGIN:
        return []
    column = _column(source, rows, source.partition_by)
    least, greatest = connection.execute(new.with_only_columns(sa.func.min(column), sa.func.max(column))).one()
    if least is None:
        return []
    try:
        bounds = range_bounds(least, greatest, source.partitions or _PARTITIONS)
    except TypeError as error:
        raise InvalidInput(
            f"source '{source.name}': partition_by '{source.partition_by}' holds {least!r}, no number or time",
            "name a numeric or a time column, or leave it out",
        ) from error
    if not bounds:
        return []
    between = [sa.and_(column >= a, column < b) for a, b in pairwise(bounds)]
    return [sa.or_(column < bounds[0], column.is_(None)), *between, column >= bounds[-1]]


def _read_ranges(
    engine: sa.Engine, connection: sa.Connection, ranges: list[sa.Select[Any]], folder: Path
) -> Iterator[Path]:  # fmt: skip
    if engine.dialect.name != "postgresql" or len(ranges) == 1:
        for number, query in enumerate(ranges):
            yield from _write(connection, query, folder, number)
        return
    shared = str(connection.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one())

    def read(number: int) -> list[Path]:
        with _snapshot(engine, shared) as other:
            return _write(other, ranges[number], folder, number)

    with ThreadPoolExecutor(min(len(ranges), 8)) as pool:
        for files in pool.map(read, range(len(ranges))):
            yield from files


def _write(connection: sa.Connection, query: sa.Select[Any], folder: Path, number: int) -> list[Path]:
    """Write the rows of a query as files of a chunk each, without holding more than a chunk."""
    files: list[Path] = []
    with connection.execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS).execute(query) as result:
        names = list(result.keys())
        for chunk in result.partitions(CHUNK_ROWS):
            files.append(folder / f"range-{number:03}-{len(files):06}.parquet")
            pq.write_table(arrow_chunk(names, [tuple(row) for row in chunk]), files[-1])
    return files
