"""Ingestion of real public data: every row, exactly; for messy data see `test_messy_data`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.errors import InvalidInput
from gnomon.storage.delta_tables import DeltaTables


def take_in(source: DataSource, root: Path, tables: Path) -> IngestReport:
    return ingest(source, str(root), DeltaTables(tables), SystemClock(), local_rows=10**9, report=lambda line: None)


def test_flights(shared_data: Path, tmp_path: Path) -> None:
    flights = DataSource(
        "flights", path="flights-10k.json", id=["date", "origin", "destination"], event_time="date",
        time_format="%Y/%m/%d %H:%M", timezone="UTC",
    )  # fmt: skip
    folder = shared_data / "events" / "flights"
    report = take_in(flights, folder, tmp_path)
    assert (report.rows_read, report.quarantined) == (10_000, {})
    stored = DeltaTables(tmp_path).read("flights").to_pylist()
    read = json.loads((folder / "flights-10k.json").read_text())
    key = ("origin", "destination", "delay", "distance")
    assert {(r["date"].strftime("%Y/%m/%d %H:%M"), *(r[k] for k in key)) for r in stored} == {
        (r["date"], *(r[k] for k in key)) for r in read
    }
    assert take_in(flights, folder, tmp_path).repeated_batches == 1


def test_feast_credit(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "events" / "feast_credit"
    options = {"event_time": "event_timestamp", "known_time": "created_timestamp"}
    credit = DataSource(
        "credit", path="credit_history_sample.csv", id=["dob_ssn", "event_timestamp"], timezone="UTC", **options
    )
    assert take_in(credit, folder, tmp_path).rows_added == 1000
    loans = DataSource("loans", path="loan_table.parquet", id="loan_id", timezone="UTC", **options)
    report = take_in(loans, folder, tmp_path)
    assert report.rows_added + report.duplicates == 28_638
    with pytest.raises(InvalidInput, match="timezone="):
        take_in(DataSource("zoneless", path="credit_history_sample.csv", id="dob_ssn", **options), folder, tmp_path)
