"""SqlAuditTrail: who did what, to what and why, in a chain of hashes. Written by `client` and the control plane.

Each entry's hash covers the hash of the entry before it, and the newest hash is kept apart, so that an entry that was
changed, removed or cut off at the end is noticed. Whoever can rewrite the whole database can rewrite the chain as well:
to be safe from that too, copy `head()` to another place from time to time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
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
    insert,
    select,
    update,
)

from gnomon.contracts.clocks import Clock, from_us
from gnomon.contracts.platform_state import AuditEntry
from gnomon.errors import CorruptData
from gnomon.storage.sql import create_tables, json_text, reading, transaction

METADATA = MetaData()
_ENTRIES = Table(
    "gnomon_audit",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False, index=True),
    Column("details", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
_HEAD = Table(
    "gnomon_audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)
_START = "0" * 64
_E = _ENTRIES.c


class SqlAuditTrail:
    """The audit trail in the state database; see `AuditTrail` for what each method promises.

    Args:
        engine: From `storage.sql.open_database`.
        clock: Tells when something was done.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        create_tables(engine, METADATA)

    def record(self, actor: str, action: str, target: str, details: Mapping[str, Any]) -> AuditEntry:
        """Append an entry; durable on return."""
        entry = {"time_us": self._clock.now_us(), "actor": actor, "action": action, "target": target}
        entry["details"] = json_text(dict(details))
        with transaction(self._engine) as connection:
            number, previous = _head(connection)
            entry["number"] = number + 1
            entry["hash"] = _chained(previous, entry)
            connection.execute(insert(_ENTRIES).values(**entry))
            head = {"number": number + 1, "hash": entry["hash"]}
            if not connection.execute(update(_HEAD).values(**head)).rowcount:
                connection.execute(insert(_HEAD).values(id=1, **head))
            return _entry(connection.execute(select(_ENTRIES).where(_E.number == number + 1)).one())

    def entries(self, *, target: str | None = None, limit: int = 100) -> list[AuditEntry]:
        """Return entries, newest first."""
        query = select(_ENTRIES).order_by(_E.number.desc()).limit(max(limit, 0))
        if target is not None:
            query = query.where(_E.target == target)
        with reading(self._engine) as connection:
            return [_entry(row) for row in connection.execute(query)]

    def head(self) -> tuple[int, str]:
        """Return number and hash of the newest entry; (0, zeros) when there is none."""
        with reading(self._engine) as connection:
            return _head(connection)

    def verify(self) -> int:
        """Check the chain in memory of one batch of rows; return the number of entries."""
        count, previous = 0, _START
        query = select(_ENTRIES).order_by(_E.number).execution_options(yield_per=1000)
        with reading(self._engine) as connection:
            with connection.execute(query) as rows:
                for row in rows:
                    if row.number != count + 1:
                        raise _broken(count + 1, "is missing")
                    if row.hash != _chained(previous, row._asdict()):
                        raise _broken(row.number, "was changed, or the one before it")
                    count, previous = row.number, row.hash
            newest, newest_hash = _head(connection)
        if newest > count:
            raise _broken(count + 1, f"is missing; the newest was {newest}")
        if newest < count or newest_hash != previous:
            raise _broken(count, "is not the one that was recorded last")
        return count


def _head(connection: Connection) -> tuple[int, str]:
    row = connection.execute(select(_HEAD.c.number, _HEAD.c.hash)).one_or_none()
    return (0, _START) if row is None else (row.number, row.hash)


def _chained(previous: str, entry: Mapping[str, Any]) -> str:
    content = [entry[name] for name in ("number", "time_us", "actor", "action", "target", "details")]
    return hashlib.sha256((previous + json_text(content)).encode()).hexdigest()


def _broken(number: int, what: str) -> CorruptData:
    hint = "compare with a backup of the state database; nobody but the platform may write it"
    return CorruptData(f"audit entry {number} {what}", hint, {"number": number})


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(row.number, from_us(row.time_us), row.actor, row.action, row.target, json.loads(row.details))
