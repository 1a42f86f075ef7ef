"""A process that is killed while it reads an object store, and a store that takes requests and never answers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.object_world import BUCKET, as_jsonl, events, s3

from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.data.ingestion import ingest
from gnomon.errors import Unavailable
from gnomon.storage.delta_tables import DeltaTables

__all__ = ["s3"]

pytestmark = pytest.mark.failure

SOURCE = DataSource("events", path=f"s3://{BUCKET}/in/*.jsonl", id="id", event_time="at", fields={"n": "int64"})
INGEST = f"""
import sys
from pathlib import Path
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.data.ingestion import ingest
from gnomon.data.source_files import Limits
from gnomon.storage.delta_tables import DeltaTables
source = DataSource("events", path="{SOURCE.path}", id="id", event_time="at", fields={{"n": "int64"}})
ingest(source, "", DeltaTables(Path(sys.argv[1])), SystemClock(), local_rows=10**9, limits=Limits(batch_files=2),
       report=lambda line: None, ingestion_id="one")
"""


def test_killed_at_reads_and_started_again(s3, tmp_path: Path) -> None:
    for number in range(8):
        s3.put(BUCKET, f"in/{number}.jsonl", as_jsonl(events(90 * number, 100)))
    kills, moment = 0, 20
    while True:
        s3.asked.clear()
        process = subprocess.Popen([sys.executable, "-c", INGEST, str(tmp_path)])

        def kill(_: str, at: int = moment, victim: subprocess.Popen[bytes] = process) -> None:
            if len(s3.gets()) == at:
                victim.send_signal(signal.SIGKILL)
                victim.wait()

        s3.on_get[:] = [kill]
        if process.wait(timeout=120) == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills, moment = kills + 1, moment + 3
    assert kills >= 2
    assert sorted(DeltaTables(tmp_path).read("events")["n"].to_pylist()) == list(range(730))


def test_a_store_that_takes_requests_and_never_answers(s3, tmp_path: Path) -> None:
    s3.silent = True
    before_s = time.monotonic()
    with pytest.raises(Unavailable, match="Timeout was reached") as raised:
        ingest(SOURCE, "", DeltaTables(tmp_path), SystemClock(), local_rows=10**9, report=str)
    assert raised.value.exit_code == 3
    assert time.monotonic() - before_s < 60, "the limit is three times five seconds of silence"
