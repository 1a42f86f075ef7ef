"""SqlOperations over SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from gnomon.storage.sql import open_database
from gnomon.storage.sql_operations import SqlOperations
from gnomon.testing.openers import DatabaseOpener
from gnomon.testing.operation_store_contract import OperationStoreContract


class TestSqlOperations(OperationStoreContract):
    @pytest.fixture
    def open_store(self, database_url: str) -> DatabaseOpener:
        return DatabaseOpener(open_database, database_url, SqlOperations)
