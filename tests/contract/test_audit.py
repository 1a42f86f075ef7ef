"""SqlAuditTrail over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import text

from gnomon.governance.audit_trail import SqlAuditTrail
from gnomon.storage.sql import open_database, transaction
from gnomon.testing.audit_contract import AuditTrailContract
from gnomon.testing.openers import DatabaseOpener

TAMPERINGS = {
    "change": "UPDATE gnomon_audit SET details = '[]' WHERE number = :number",
    "remove": "DELETE FROM gnomon_audit WHERE number = :number",
    "renumber": "UPDATE gnomon_audit SET number = 99 WHERE number = :number",
}


class TestSqlAuditTrail(AuditTrailContract):
    @pytest.fixture
    def open_trail(self, database_url: str) -> DatabaseOpener:
        return DatabaseOpener(open_database, database_url, SqlAuditTrail)

    @pytest.fixture
    def tamper(self, database_url: str) -> Callable[[str, int], None]:
        def do(how: str, number: int) -> None:
            engine = open_database(database_url)
            with transaction(engine) as connection:
                connection.execute(text(TAMPERINGS[how]), {"number": number})
            engine.dispose()

        return do
