"""A place for source files, an offline store and a clock that stands still."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.object_world import s3

from gnomon.contracts.clocks import HandClock
from gnomon.contracts.sources import DataSource
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.storage.delta_tables import DeltaTables

__all__ = ["s3"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock(tmp_path: Path) -> HandClock:
    return HandClock(tmp_path / "clock", NOW)


@pytest.fixture
def offline(tmp_path: Path) -> DeltaTables:
    return DeltaTables(tmp_path / "tables")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    return folder


@pytest.fixture
def take_in(root: Path, offline: DeltaTables, clock: HandClock) -> Callable[..., IngestReport]:
    """Ingest in this process; `lines` collects the progress."""

    def call(source: DataSource, **options: Any) -> IngestReport:
        return ingest(source, str(root), offline, clock, local_rows=10**9, report=lambda line: None, **options)

    return call


@pytest.fixture
def rejects(offline: DeltaTables) -> Callable[[str], list[dict[str, Any]]]:
    def read(source: str) -> list[dict[str, Any]]:
        rows = offline.read(f"{source}__quarantine").to_pylist()
        return sorted(rows, key=lambda row: (row["file"], row["line"]))

    return read
