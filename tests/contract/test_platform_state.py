"""SqlDefinitions and SqlStates over SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from gnomon.storage.sql import open_database
from gnomon.storage.sql_state import SqlDefinitions, SqlStates
from gnomon.testing.openers import DatabaseOpener
from gnomon.testing.platform_state_contract import DefinitionStoreContract, StateStoreContract


class TestSqlDefinitions(DefinitionStoreContract):
    @pytest.fixture
    def open_store(self, database_url: str) -> DatabaseOpener:
        return DatabaseOpener(open_database, database_url, SqlDefinitions)


class TestSqlStates(StateStoreContract):
    @pytest.fixture
    def open_store(self, database_url: str) -> DatabaseOpener:
        return DatabaseOpener(open_database, database_url, SqlStates)
