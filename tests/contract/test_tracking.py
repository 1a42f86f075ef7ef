"""SqlTracker over SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from gnomon.storage.sql import open_database
from gnomon.testing.openers import DatabaseOpener
from gnomon.testing.tracking_contract import RunTrackerContract
from gnomon.tracking.sql_tracking import SqlTracker


class TestSqlTracker(RunTrackerContract):
    @pytest.fixture
    def open_tracker(self, database_url: str) -> DatabaseOpener:
        return DatabaseOpener(open_database, database_url, SqlTracker)
