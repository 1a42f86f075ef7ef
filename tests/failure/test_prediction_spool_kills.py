"""A process that logs predictions is killed; every record that reached its spool is in the log, exactly once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon.serving.prediction_log import OfflinePredictionLog
from gnomon.serving.spool import ship_orphans
from gnomon.storage.delta_tables import DeltaTables

KILLS = 12

# Prints N once all records below N have been spooled: the queue is empty, and the sink's writer is not at work.
_WRITER = """
import sys, time
from pathlib import Path
from gnomon.serving.prediction_log import OfflinePredictionLog
from gnomon.serving.spooling_sink import SpoolingSink
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.prediction_log_contract import record
folder, life = Path(sys.argv[1]), sys.argv[2]
sink = SpoolingSink(folder / "spool", "fraud", 0.15, OfflinePredictionLog(DeltaTables(folder / "tables")))
put = 0
while True:
    for _ in range(50):
        sink.put(record(f"{life}-{put}", time_us=put + 1))
        put += 1
    while sink._queue:
        time.sleep(0.001)
    with sink._writing:
        print(put, flush=True)
    time.sleep(0.005)
"""


@pytest.mark.failure
def test_a_killed_writer_loses_and_doubles_nothing_that_was_spooled(tmp_path: Path) -> None:
    pause = random.Random(7)
    promised: dict[str, int] = {}
    log = OfflinePredictionLog(DeltaTables(tmp_path / "tables"))
    for life in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), str(life)], stdout=subprocess.PIPE, text=True
        )  # fmt: skip
        assert writer.stdout is not None
        assert writer.stdout.readline()
        time.sleep(pause.uniform(0.0, 0.6))
        writer.kill()
        lines = writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        promised[str(life)] = int(next((line for line in reversed(lines) if line), "50"))
    ship_orphans(tmp_path / "spool", log)
    stored = DeltaTables(tmp_path / "tables").read("predictions__fraud", columns=["_event_id"])["_event_id"].to_pylist()
    assert len(stored) == len(set(stored)), "records were doubled"
    missing = [f"{life}-{i}" for life, count in promised.items() for i in range(count)]
    assert not set(missing) - set(stored)
    assert sum(promised.values()) > 50 * KILLS
    assert not list((tmp_path / "spool").glob("*.spool"))
