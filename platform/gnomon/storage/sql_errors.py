"""Translate the errors of database drivers into the platform's own, in one place.

Used by `storage.sql.transaction` and `storage.sql.reading` only, so that nothing above ever sees a driver's error.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gnomon.errors import Conflict, CorruptData, Forbidden, GnomonError, InvalidInput, OutOfSpace, Unavailable

_IS_SERVED = "see that the database server runs and that GNOMON_STATE_URL names it, then repeat"
_FREE_SPACE = "free space on its disk, then repeat"
_REPEAT = "another process holds it; repeat"

_SQLITE: dict[int, tuple[type[GnomonError], str]] = {
    sqlite3.SQLITE_FULL: (OutOfSpace, _FREE_SPACE),
    sqlite3.SQLITE_BUSY: (Unavailable, _REPEAT),
    sqlite3.SQLITE_LOCKED: (Unavailable, _REPEAT),
    sqlite3.SQLITE_IOERR: (Unavailable, "see that its disk is there and healthy, then repeat"),
    sqlite3.SQLITE_CANTOPEN: (Unavailable, "see that its folder exists and may be written to"),
    sqlite3.SQLITE_READONLY: (Forbidden, "give this user the right to write the file and its folder"),
    sqlite3.SQLITE_PERM: (Forbidden, "give this user the right to write the file and its folder"),
    sqlite3.SQLITE_CORRUPT: (CorruptData, "restore the file from a backup, together with its -wal file"),
    sqlite3.SQLITE_NOTADB: (CorruptData, "it is no SQLite file: name another one, or move it away"),
}
"""By primary result code (https://www.sqlite.org/rescode.html)."""

_POSTGRESQL: dict[str, tuple[type[GnomonError], str]] = {
    "53100": (OutOfSpace, _FREE_SPACE),
    "53": (Unavailable, "the server lacks memory or connections; repeat"),
    "08": (Unavailable, _IS_SERVED),
    "57": (Unavailable, _IS_SERVED),
    "40": (Unavailable, _REPEAT),
    "55": (Unavailable, _REPEAT),
    "25": (Unavailable, "the server takes no writes (a standby?); name the primary in GNOMON_STATE_URL"),
    "58": (Unavailable, "the server has trouble with its disk; read its log"),
    "28": (Forbidden, "check user and password in GNOMON_STATE_URL"),
    "42501": (Forbidden, "let this user create and write tables (GRANT ALL ON SCHEMA public TO …)"),
    "3D000": (InvalidInput, "create the database, or name another one in GNOMON_STATE_URL"),
}
"""By SQLSTATE, or by its class where the whole class means one thing."""


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Raise the platform's errors for those of the driver; programming errors stay what they are.

    Args:
        engine: Names the database in the messages.

    Raises:
        OutOfSpace: The disk is full.
        Unavailable: The database does not answer, or not in time.
        Conflict: A constraint refused the change.
        CorruptData: The file is damaged.
        Forbidden: The database user may not do this.
        InvalidInput: A value does not fit its column.
    """
    try:
        yield
    except (IntegrityError, DataError, DBAPIError) as error:
        known = explain(engine, error)
        if known is None:
            raise
        raise known from error
    except PoolTimeout as error:
        message = f"all connections to {place(engine)} are in use"
        raise Unavailable(message, "fewer calls at a time, then repeat") from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise InvalidInput(
            f"a value cannot be stored: {error}", "numbers have 64 bits, text is valid Unicode"
        ) from error


def place(engine: Engine) -> str:
    """Return the database's URL without its password."""
    return engine.url.render_as_string(hide_password=True)


def explain(engine: Engine, error: DBAPIError) -> GnomonError | None:
    """Return the platform's error for a driver's, or None for a mistake in our own SQL."""
    cause = error.orig
    text = " ".join(str(cause).split())
    if isinstance(error, IntegrityError):
        return Conflict(f"{place(engine)} refused the change: {text}", "look at the present state, then choose")
    if isinstance(error, DataError):
        return InvalidInput(f"a value cannot be stored in {place(engine)}: {text}")
    kind, hint = _kind(cause)
    return kind(f"{place(engine)}: {text}", hint) if kind else None


def _kind(cause: BaseException | None) -> tuple[type[GnomonError] | None, str]:
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return _SQLITE.get(code & 0xFF, (None, ""))
    state = getattr(cause, "sqlstate", None)
    if state is None:  # the driver's own: the server could not be reached, or the connection broke
        return (
            (Unavailable, _IS_SERVED) if type(cause).__name__ in ("OperationalError", "InterfaceError") else (None, "")
        )
    return _POSTGRESQL.get(state, _POSTGRESQL.get(state[:2], (None, "")))
