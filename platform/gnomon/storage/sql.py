"""The state database: opening it, and the transactions in which everything is read and written.

SQLite in a file, or PostgreSQL by URL, with one meaning: write transactions are serial, across all processes, and what
was committed survives a power cut. Used by `storage.sql_operations`, `storage.sql_state`, `registry.sql_registry`,
`tracking.sql_tracking` and `governance.audit_trail`, each with a `MetaData` of its own; opened by `client`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from gnomon.errors import Conflict, InvalidInput
from gnomon.storage.durable_files import disk_errors, make_folder, sync_file, sync_folder, temporary
from gnomon.storage.sql_errors import place, translated_errors

SCHEMA_VERSION = 1
"""Grows with every change of a table that older code could not read or write."""

SERIAL = BigInteger().with_variant(Integer(), "sqlite")
"""Type of a primary key that counts insertions; with serial writers it is their order."""

LOCK_TIMEOUT_S = 30
"""Longest wait for another writer. A write takes milliseconds; half a minute is a stuck process."""

_POOL_CONNECTIONS = 5
_WRITE_LOCK = 0x676E6F6D6F6E  # "gnomon"; one advisory lock per PostgreSQL database
_WRITES = "gnomon_writes"

_METADATA = MetaData()
_SCHEMA = Table("gnomon_schema", _METADATA, Column("version", Integer, nullable=False))


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def open_database(url: str) -> Engine:
    """Open the state database; create its file, folder and schema row where they are absent.

    An engine belongs to the process that opened it: open another one in a child, and `dispose()` it at the end.

    Args:
        url: `sqlite:///path` or `postgresql://user:password@host:port/database`.

    Returns:
        A pool of at most 10 connections, with the rules of durability set on each.

    Raises:
        InvalidInput: The URL names no database that can hold the state.
        Conflict: The database was written by another schema version.
        Unavailable: It does not answer.
    """
    engine = _make_engine(url)
    if engine.dialect.name == "sqlite":
        _prepare_file(engine)
    create_tables(engine, _METADATA)
    with transaction(engine) as connection:
        version = connection.execute(select(_SCHEMA.c.version)).scalar()
        if version is None:
            connection.execute(insert(_SCHEMA).values(version=SCHEMA_VERSION))
    if version not in (None, SCHEMA_VERSION):
        engine.dispose()
        hint = "upgrade Gnomon" if version > SCHEMA_VERSION else "migrate it with the Gnomon that comes between"
        raise Conflict(
            f"{place(engine)} has schema version {version}; this Gnomon reads and writes version {SCHEMA_VERSION}",
            f"{hint}, or name another database in GNOMON_STATE_URL",
        )
    return engine


def create_tables(engine: Engine, metadata: MetaData) -> None:
    """Create the tables of a package that do not exist yet; safe to call from many processes at once."""
    with transaction(engine) as connection:
        metadata.create_all(connection)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Write in one transaction, alone: no other writes between its first read and its commit. Durable on exit.

    Args:
        engine: From `open_database`.

    Yields:
        Connection: The transaction is rolled back if the block raises.

    Raises:
        Unavailable: The database does not answer, or another writer held it for `LOCK_TIMEOUT_S`.
        OutOfSpace: The disk is full; nothing of the transaction is visible.
        Conflict: A constraint refused the change.
    """
    with translated_errors(engine), engine.connect() as connection:
        connection = connection.execution_options(**{_WRITES: True})
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITE_LOCK})
            yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Read one consistent snapshot; waits for no writer.

    Args:
        engine: From `open_database`.

    Yields:
        Connection: It cannot write on PostgreSQL.

    Raises:
        Unavailable: The database does not answer.
    """
    with translated_errors(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


def json_text(value: Any) -> str:
    """Return the canonical JSON of a value: equal values have equal texts.

    Args:
        value: None, booleans, finite numbers, text, and lists and mappings of them.

    Returns:
        ASCII text with sorted keys and no spaces.

    Raises:
        InvalidInput: The value is not JSON; it holds NaN, an infinity or an object.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "…"
        raise InvalidInput(f"{shown} is not JSON: {error}", "use null for what has no number") from error


def _make_engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidInput(
            "the URL of the state database cannot be read", "such as sqlite:////var/gnomon/state.db"
        ) from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise InvalidInput(f"the state cannot be kept in '{backend}'", "use sqlite:///path or postgresql://…")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InvalidInput(f"'{url}' names no file, and the state must outlive the process", "use sqlite:///path")
    try:
        engine = create_engine(
            parsed, pool_pre_ping=backend == "postgresql", pool_size=_POOL_CONNECTIONS, max_overflow=_POOL_CONNECTIONS,
            pool_timeout=LOCK_TIMEOUT_S, connect_args={"connect_timeout": 10} if backend == "postgresql" else {},
        )  # fmt: skip
    except ModuleNotFoundError as error:
        raise InvalidInput(f"'{backend}' needs the package '{error.name}'", "pip install 'gnomon[postgres]'") from error
    event.listen(engine, "connect", _set_up_sqlite if backend == "sqlite" else _set_up_postgresql)
    if backend == "sqlite":
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions itself, later and deferred
    connection.execute(f"PRAGMA busy_timeout={LOCK_TIMEOUT_S * 1000}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # NORMAL loses commits in a power cut
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails when another wrote in between.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_up_postgresql(connection: DBAPIConnection, _record: object) -> None:
    with connection.cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute("SET synchronous_commit = on")
        cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{2 * LOCK_TIMEOUT_S}s'")
    connection.commit()


def _prepare_file(engine: Engine) -> None:
    """Create the folder and the file, readable by their owner only."""
    path = Path(str(engine.url.database))
    try:
        with disk_errors(path):
            if not path.parent.exists():
                make_folder(path.parent)
                path.parent.chmod(0o700)
        if path.exists():
            return
        with temporary(path) as temp:
            os.close(os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            temp.write_bytes(_empty_wal_database())
            sync_file(temp)
            with suppress(FileExistsError):  # another process was faster, with the same bytes
                os.link(temp, path)
            sync_folder(path.parent)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be created: {error.strerror}", "name another file") from error


def _empty_wal_database() -> bytes:
    """Return the bytes of an empty database that is in WAL mode from its birth.

    Several processes that turn WAL on at the same moment answer one another "database is locked", without waiting.
    The mode is bytes 18 and 19 of the header (https://www.sqlite.org/fileformat2.html, 1.3.3).
    """
    with closing(sqlite3.connect(":memory:")) as memory:
        memory.executescript("CREATE TABLE t (c); DROP TABLE t; VACUUM")
        content = memory.serialize()
    return content[:18] + b"\x02\x02" + content[20:]
