"""An imported app at work: ingested, looked up as of a time, and its on-demand features computed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.feast_repositories import REPOSITORIES, imported

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import HandClock
from gnomon.data.ingestion import ingest
from gnomon.data.source_schema import read_schema
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.request_features import compute_request_features
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.runtime.app_code import FunctionLoader, load_app
from gnomon.storage.artifacts import ArtifactFolder
from gnomon.storage.delta_tables import DeltaTables

DAY = datetime(2026, 1, 10)  # without a zone, as Feast's files often are
ROWS: dict[str, list[Any]] = {
    "driver_id": [1, 1, 1, 2],
    "event_timestamp": [DAY, DAY + timedelta(hours=1), DAY + timedelta(hours=1), DAY],
    "created": [DAY, DAY + timedelta(hours=1), DAY + timedelta(hours=2), DAY],
    "conv_rate": [0.1, 0.2, 0.3, 0.5],
    "acc_rate": [0.9, 0.8, 0.7, None],
    "avg_daily_trips": [10, 20, 300, 40],
}


@pytest.fixture
def app_file(tmp_path: Path) -> Path:
    repository = tmp_path / "repo"
    repository.mkdir()
    for file in (REPOSITORIES / "drivers").glob("*.*"):
        (repository / file.name).write_text(file.read_text())
    (repository / "data").mkdir()
    types = {"conv_rate": pa.float32(), "acc_rate": pa.float32()}
    columns = {name: pa.array(values, types.get(name)) for name, values in ROWS.items()}
    pq.write_table(pa.table(columns), repository / "data" / "driver_stats.parquet")
    (tmp_path / "app").mkdir()
    imported(repository, tmp_path / "app" / "drivers.py")
    return tmp_path / "app" / "drivers.py"


def resolved(app_file: Path) -> App:
    app, _ = load_app(app_file)
    return app.with_schemas({source.name: read_schema(source, app.root) for source in app.all(gn.DataSource)})


def test_rows_are_ingested_and_looked_up(app_file: Path, tmp_path: Path) -> None:
    app = resolved(app_file)
    tables = DeltaTables(tmp_path / "tables")
    clock = HandClock(tmp_path / "clock", datetime(2026, 2, 1, tzinfo=UTC))
    source = app.all(gn.DataSource)[0]
    report = ingest(source, app.root, tables, clock, local_rows=10**9, report=str)
    assert (report.rows_read, report.rows_added, report.quarantined) == (4, 4, {})

    def at(driver: int, hours: float) -> dict[str, Any]:
        moment = DAY.replace(tzinfo=UTC) + timedelta(hours=hours)
        asked = pa.table({"driver_id": [driver], REQUEST_TIME: [int(moment.timestamp() * 1_000_000)]})
        names = ["driver_hourly_stats.conv_rate", "driver_hourly_stats.avg_daily_trips"]
        found = point_in_time_join(app, tables, asked, names, local_rows=10**9)
        return {name.partition(".")[2]: found.column(name)[0].as_py() for name in names}

    assert at(1, 0.5) == {"conv_rate": pytest.approx(0.1), "avg_daily_trips": 10}
    assert at(1, 1.5) == {"conv_rate": pytest.approx(0.2), "avg_daily_trips": 20}  # the correction is not known yet
    assert at(1, 2.5) == {"conv_rate": pytest.approx(0.3), "avg_daily_trips": 300}  # the later created row counts
    assert at(2, 23.9)["avg_daily_trips"] == 40
    assert at(2, 24.1) == {"conv_rate": None, "avg_daily_trips": None}  # older than its ttl


def test_on_demand_features_are_what_the_functions_compute(app_file: Path, tmp_path: Path) -> None:
    app, text = resolved(app_file), app_file.read_text()
    artifacts = ArtifactFolder(tmp_path / "artifacts")
    code = artifacts.put_bytes(text.encode())
    columns = {
        "driver_hourly_stats.conv_rate": np.array([0.5, np.nan]),
        "driver_hourly_stats.avg_daily_trips": np.array([100.0, 101.0]),
        "driver_hourly_stats_fresh.conv_rate": np.array([0.25, np.nan]),
        "val_to_add": np.array([3.0, 4.0]),
        "prefix": np.array(["a", "b"], dtype=object),
    }
    names = ["conv_rate_plus_val", "many_trips", "transformed_fresh_conv_rate_plus_val", "label"]
    found = compute_request_features(app, names, columns, FunctionLoader(artifacts, str(code)))
    assert [found[name].to_pylist() for name in names] == [[4.0, None], [0, 1], [3.25, None], ["a!", "b!"]]
