"""SqlOperations: the `OperationStore` over the state database. Opened by `client`, the control plane and workers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    Row,
    Table,
    Text,
    insert,
    select,
    update,
)

from gnomon.contracts.clocks import Clock, from_us
from gnomon.contracts.operations import FINAL, Operation, OperationKind, OperationState, new_operation_id
from gnomon.errors import Conflict, InvalidInput, NotFound, did_you_mean
from gnomon.storage.sql import SERIAL, create_tables, json_text, reading, transaction

METADATA = MetaData()
_OPERATIONS = Table(
    "gnomon_operations",
    METADATA,
    Column("number", SERIAL, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("lease", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("progress", Text, nullable=False),
    Column("result", Text),
    Column("error", Text),
    Column("actor", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Index("gnomon_operations_by_state", "state", "number"),
)
_T = _OPERATIONS.c


class SqlOperations:
    """Operations in SQLite or PostgreSQL; see `OperationStore` for what each method promises.

    Args:
        engine: From `storage.sql.open_database`.
        clock: Tells when an operation was made and changed.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        create_tables(engine, METADATA)

    def submit(
        self,
        kind: OperationKind,
        target: str,
        arguments: Mapping[str, Any],
        *,
        actor: str,
        operation_id: str | None = None,
    ) -> Operation:
        """Store the intent, or return the operation that already has that id and content."""
        if kind not in get_args(OperationKind):
            raise InvalidInput(f"there is no kind of operation '{kind}'", did_you_mean(kind, get_args(OperationKind)))
        if operation_id == "":
            raise InvalidInput("the operation's id is empty", "leave it out to have one made")
        now_us = self._clock.now_us()
        wanted = {"kind": kind, "target": target, "arguments": json_text(dict(arguments))}
        identity = operation_id or new_operation_id(now_us)
        fresh = {"state": "pending", "lease": 0, "attempts": 0, "progress": "", "actor": actor}
        with transaction(self._engine) as connection:
            known = _find(connection, identity)
            if known is None:
                times = {"created_us": now_us, "updated_us": now_us}
                connection.execute(insert(_OPERATIONS).values(id=identity, **wanted, **fresh, **times))
                return _operation(_require(connection, identity))
        differing = [name for name, value in wanted.items() if getattr(known, name) != value]
        if differing:
            raise Conflict(
                f"operation '{identity}' exists with other {' and '.join(differing)}: {known.kind} of '{known.target}'",
                "give a new request a new id",
                {"id": identity, "differing": differing},
            )
        return _operation(known)

    def get(self, operation_id: str) -> Operation:
        """Return an operation."""
        with reading(self._engine) as connection:
            return _operation(_require(connection, operation_id))

    def list(self, *, states: Sequence[OperationState] = (), limit: int = 100) -> list[Operation]:
        """Return operations, newest first."""
        query = select(_OPERATIONS).order_by(_T.number.desc()).limit(max(limit, 0))
        if states:
            query = query.where(_T.state.in_(states))
        with reading(self._engine) as connection:
            return [_operation(row) for row in connection.execute(query)]

    def lease(self, operation_id: str, expected_lease: int) -> Operation | None:
        """Start the next attempt, or return None if it moved on meanwhile or is final."""
        change = {"state": "running", "lease": expected_lease + 1, "attempts": _T.attempts + 1}
        with transaction(self._engine) as connection:
            row = _require(connection, operation_id)
            if row.lease != expected_lease or row.state in FINAL:
                return None
            self._write(connection, operation_id, change)
            return _operation(_require(connection, operation_id))

    def report(self, operation_id: str, lease: int, progress: str) -> bool:
        """Record progress under the current lease."""
        with transaction(self._engine) as connection:
            row = _require(connection, operation_id)
            if not _may_write(row, lease):
                return False
            self._write(connection, operation_id, {"progress": progress})
            return True

    def finish(
        self,
        operation_id: str,
        lease: int,
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> bool:
        """End an operation under the current lease."""
        change = {
            "state": "succeeded" if error is None else "failed",
            "result": None if result is None else json_text(dict(result)),
            "error": None if error is None else json_text(dict(error)),
        }
        with transaction(self._engine) as connection:
            if not _may_write(_require(connection, operation_id), lease):
                return False
            self._write(connection, operation_id, change)
            return True

    def cancel(self, operation_id: str) -> Operation:
        """End an operation that is not final as cancelled."""
        with transaction(self._engine) as connection:
            if _require(connection, operation_id).state not in FINAL:
                self._write(connection, operation_id, {"state": "cancelled"})
            return _operation(_require(connection, operation_id))

    def _write(self, connection: Connection, operation_id: str, change: Mapping[str, Any]) -> None:
        now_us = self._clock.now_us()
        connection.execute(update(_OPERATIONS).where(_T.id == operation_id).values(updated_us=now_us, **change))


def _may_write(row: Row[Any], lease: int) -> bool:
    return bool(row.state == "running" and row.lease == lease)


def _find(connection: Connection, operation_id: str) -> Row[Any] | None:
    return connection.execute(select(_OPERATIONS).where(_T.id == operation_id)).one_or_none()


def _require(connection: Connection, operation_id: str) -> Row[Any]:
    row = _find(connection, operation_id)
    if row is None:
        known = connection.execute(select(_T.id).order_by(_T.number.desc()).limit(100)).scalars()
        hint = did_you_mean(operation_id, known)
        raise NotFound(f"there is no operation '{operation_id}'", hint, {"id": operation_id})
    return row


def _operation(row: Row[Any]) -> Operation:
    return Operation(
        id=row.id, kind=row.kind, target=row.target, arguments=json.loads(row.arguments), state=row.state,
        lease=row.lease, attempts=row.attempts, progress=row.progress,
        result=None if row.result is None else json.loads(row.result),
        error=None if row.error is None else json.loads(row.error),
        actor=row.actor, created=from_us(row.created_us), updated=from_us(row.updated_us),
    )  # fmt: skip
