"""An ingestion from a growing database that is killed again and again: what was extracted is neither lost nor mixed."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from gnomon.storage.delta_tables import DeltaTables

pytestmark = pytest.mark.failure

KILLS = 16
ROUND_ROWS = 2000

INGEST = """
import json, sys
import gnomon as gn
from pathlib import Path
from gnomon.contracts.clocks import SystemClock
from gnomon.data import sql_extraction
from gnomon.data.ingestion import ingest
from gnomon.data.source_files import Limits
from gnomon.storage.delta_tables import DeltaTables
folder, ingestion = Path(sys.argv[1]), sys.argv[2]
sql_extraction.CHUNK_ROWS = 200
source = gn.DataSource("events", table="events", url_env="SHOP_URL", id="id", event_time="at", watermark="at",
                       late="30s", partition_by="id", partitions=3, timezone="UTC", fields={"n": "int64"},
                       contract=[gn.Unique("n"), gn.Between("n", 0, severity="fail")])
memory = folder / "memory.json"
print("started", flush=True)
report = ingest(source, "", DeltaTables(folder / "tables"), SystemClock(), local_rows=10**9, report=str,
                limits=Limits(batch_files=3), ingestion_id=ingestion, work_folder=folder / "work",
                previous=json.loads(memory.read_text()) if memory.exists() else None)
memory.write_text(json.dumps(report.memory))
"""


def add_rows(database: Path, first: int) -> None:
    """Add rows of rising times, of which each tenth is a few seconds late, and each hundredth cannot be read."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS events (id INTEGER, at TEXT, n)")
        for n in range(first, first + ROUND_ROWS):
            second = n // 50 - (20 if n % 10 == 0 and n // 50 > 20 else 0)
            at = f"2025-01-01 {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
            connection.execute("INSERT INTO events VALUES (?, ?, ?)", (n, at, "bad" if n % 100 == 7 else n))


def test_killed_at_random_moments_and_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    moments = random.Random(5)
    killed = rounds = 0
    while killed < KILLS:
        add_rows(tmp_path / "shop.db", rounds * ROUND_ROWS)
        rounds += 1
        finished = False
        while not finished:
            command = [sys.executable, "-c", INGEST, str(tmp_path), f"round-{rounds}"]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            process.stdout.readline()
            if killed < KILLS:
                time.sleep(moments.uniform(0, 0.6))
                process.send_signal(signal.SIGKILL)
            process.stdout.read()
            process.stdout.close()
            finished = process.wait() == 0
            killed += not finished
    rows = rounds * ROUND_ROWS
    store = DeltaTables(tmp_path / "tables")
    assert sorted(store.read("events")["id"].to_pylist()) == [n for n in range(rows) if n % 100 != 7]
    assert store.read("events__quarantine").num_rows == rows // 100
    assert list((tmp_path / "work").iterdir()) == []
