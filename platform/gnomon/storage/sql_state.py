"""SqlDefinitions and SqlStates: the applied apps, and small documents, in the state database. Opened by `client`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import Clock, from_us
from gnomon.contracts.platform_state import Applied, check_names_free
from gnomon.errors import Conflict, NotFound
from gnomon.storage.sql import create_tables, json_text, reading, transaction

METADATA = MetaData()
_REVISIONS = Table(
    "gnomon_app_revisions",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("app_hash", Text, nullable=False, index=True),
    Column("app", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("applied_us", BigInteger, nullable=False),
)
_DEFINITIONS = Table(
    "gnomon_definitions",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("app", Text, nullable=False, index=True),
)
_STATES = Table(
    "gnomon_states",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)
_R = _REVISIONS.c


class SqlDefinitions:
    """Applied apps; see `DefinitionStore` for what each method promises.

    Args:
        engine: From `storage.sql.open_database`.
        clock: Tells when an app was applied.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        create_tables(engine, METADATA)

    def apply(self, app: App, *, actor: str, expected_revision: int | None = None) -> Applied:
        """Make an app the current revision; an equal app keeps its revision, whatever was expected."""
        text, app_hash, now_us = json_text(app.as_json()), app.content_hash(), self._clock.now_us()
        with transaction(self._engine) as connection:
            known = _current(connection, app.name)
            if known is not None and known.app_hash == app_hash:
                if known.app != text:  # only the root differs: the app file has moved
                    same = (_R.name == app.name) & (_R.revision == known.revision)
                    connection.execute(update(_REVISIONS).where(same).values(app=text))
                return Applied(app, known.revision, app_hash, from_us(known.applied_us))
            _check_expected(app, known, expected_revision)
            _claim_names(connection, app)
            revision = known.revision + 1 if known is not None else 1
            connection.execute(
                insert(_REVISIONS).values(
                    name=app.name, revision=revision, app_hash=app_hash, app=text, actor=actor, applied_us=now_us
                )
            )
        return Applied(app, revision, app_hash, from_us(now_us))

    def current(self, name: str) -> Applied | None:
        """Return the current revision of an app, or None."""
        with reading(self._engine) as connection:
            row = _current(connection, name)
        return None if row is None else _applied(row)

    def revision(self, app_hash: str) -> Applied:
        """Return the newest revision with that hash."""
        query = select(_REVISIONS).where(_R.app_hash == app_hash).order_by(_R.applied_us.desc(), _R.revision.desc())
        with reading(self._engine) as connection:
            row = connection.execute(query.limit(1)).one_or_none()
        if row is None:
            raise NotFound(f"no app was ever applied with the hash {app_hash}", "apply it first", {"hash": app_hash})
        return _applied(row)

    def revisions(self, name: str) -> list[Applied]:
        """Return every revision of an app, newest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(_REVISIONS).where(_R.name == name).order_by(_R.revision.desc())).all()
        return [_applied(row) for row in rows]

    def apps(self) -> list[Applied]:
        """Return the current revision of every app, by name."""
        newest = select(_R.name, func.max(_R.revision).label("revision")).group_by(_R.name).subquery()
        join = (newest.c.name == _R.name) & (newest.c.revision == _R.revision)
        with reading(self._engine) as connection:
            rows = connection.execute(select(_REVISIONS).join(newest, join)).all()
        return sorted((_applied(row) for row in rows), key=lambda applied: applied.app.name)


class SqlStates:
    """Documents by kind and name; see `StateStore` for what each method promises.

    Args:
        engine: From `storage.sql.open_database`.
        clock: Tells when a document was put.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        create_tables(engine, METADATA)

    def put(self, kind: str, name: str, document: Mapping[str, Any]) -> None:
        """Replace a document."""
        values = {"document": json_text(dict(document)), "updated_us": self._clock.now_us()}
        same = (_STATES.c.kind == kind) & (_STATES.c.name == name)
        with transaction(self._engine) as connection:
            if not connection.execute(update(_STATES).where(same).values(**values)).rowcount:
                connection.execute(insert(_STATES).values(kind=kind, name=name, **values))

    def get(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Return a document, or None."""
        query = select(_STATES.c.document).where(_STATES.c.kind == kind, _STATES.c.name == name)
        with reading(self._engine) as connection:
            text = connection.execute(query).scalar()
        return None if text is None else dict(json.loads(text))

    def all(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        """Return all documents of a kind, by name."""
        query = select(_STATES.c.name, _STATES.c.document).where(_STATES.c.kind == kind)
        with reading(self._engine) as connection:
            rows = connection.execute(query).all()
        return {row.name: json.loads(row.document) for row in sorted(rows, key=lambda row: row.name)}

    def take(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Remove a document and return it, or None; of several takers at once one gets it."""
        same = (_STATES.c.kind == kind) & (_STATES.c.name == name)
        with transaction(self._engine) as connection:
            text = connection.execute(delete(_STATES).where(same).returning(_STATES.c.document)).scalar()
        return None if text is None else dict(json.loads(text))


def _current(connection: Connection, name: str) -> Row[Any] | None:
    query = select(_REVISIONS).where(_R.name == name).order_by(_R.revision.desc()).limit(1)
    return connection.execute(query).one_or_none()


def _check_expected(app: App, known: Row[Any] | None, expected: int | None) -> None:
    revision = known.revision if known is not None else 0
    if expected is not None and expected != revision:
        raise Conflict(
            f"app '{app.name}' is at revision {revision}, not {expected}: it was applied meanwhile",
            "look at the plan again, then apply",
            {"revision": revision, "expected": expected},
        )


def _claim_names(connection: Connection, app: App) -> None:
    """Give the app's names to it and free those that it no longer defines."""
    wanted = {(spec.kind, spec.name) for spec in app.definitions}
    check_names_free(app, {(row.kind, row.name): row.app for row in connection.execute(select(_DEFINITIONS))})
    connection.execute(delete(_DEFINITIONS).where(_DEFINITIONS.c.app == app.name))
    connection.execute(insert(_DEFINITIONS), [{"kind": k, "name": n, "app": app.name} for k, n in sorted(wanted)])


def _applied(row: Row[Any]) -> Applied:
    return Applied(_read_app(row.app), row.revision, row.app_hash, from_us(row.applied_us))


@lru_cache(maxsize=32)
def _read_app(text: str) -> App:
    # Validating an app takes milliseconds, and the control plane asks twice a second.
    return App.from_json(json.loads(text))
