"""Ingestion of real public data, tidy and messy: rows, quarantine or a clear error, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.columns import SYSTEM_COLUMNS
from gnomon.contracts.sources import DataSource
from gnomon.data.csv_rows import read_csv
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.data.parquet_rows import read_parquet_schema
from gnomon.data.text_layout import csv_header
from gnomon.errors import GnomonError, InvalidInput
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


def test_csv_spectrum(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "messy" / "csv-spectrum"
    for number, file in enumerate(sorted((folder / "csvs").glob("*.csv"))):
        header, *lines = file.read_bytes().splitlines(keepends=True)
        work = tmp_path / file.stem
        work.mkdir()
        rows = json.loads((folder / "json" / f"{file.stem}.json").read_text())
        (work / "a.csv").write_bytes(header + b"".join(lines))
        id_column = next(iter(rows[0]))
        # every file gets an event time of its own: the files have none
        spec = DataSource(
            f"s{number}", path="a.csv", id=id_column, event_time="at", fields=dict.fromkeys(rows[0], "string")
        )
        with pytest.raises(GnomonError, match=r"has a column 'at'"):
            take_in(spec, work, tmp_path / "tables")
        start, names = csv_header(work / "a.csv")
        raw = read_csv((work / "a.csv").read_bytes()[start:], names, 2, "a.csv")
        cells = {name: [(c or b"").decode() for c in column.to_pylist()] for name, column in raw.columns.items()}
        found = [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
        assert (found, raw.rejects) == (rows, ()), file.name


def test_parquet_testing(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "messy" / "parquet-testing"
    outcomes = {}
    named = True
    files = [*sorted((folder / "bad_data").glob("*.parquet")), *sorted((folder / "data").glob("*.parquet"))]
    # unpacks to one column of more than two gigabytes: refused as well, after half a minute
    files = [file for file in files if file.name != "large_string_map.brotli.parquet"]
    for number, file in enumerate(files):
        try:
            names = [name for name in read_parquet_schema(file).names if name not in SYSTEM_COLUMNS]
            source = DataSource(f"s{number}", path=file.name, id=names[0], event_time=names[-1], timezone="UTC")
            report = take_in(source, file.parent, tmp_path)
            assert report.rows_read == report.rows_added + report.duplicates + sum(report.quarantined.values())
            outcomes[file.name] = "rows"
        except GnomonError as error:
            outcomes[file.name] = error.code
            named = named and (file.name in error.message or f"s{number}" in error.message)
    assert named
    assert {"rows", "corrupt_data", "invalid_input"} <= set(outcomes.values())
