"""An ingestion that is killed again and again and sent again: no row lost, none doubled, quarantine exact as well."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon.storage.delta_tables import DeltaTables

pytestmark = pytest.mark.failure

KILLS = 24
ROUND_FILES = 40
FILE_ROWS = 50

INGEST = """
import sys
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.data.ingestion import ingest
from gnomon.data.source_files import Limits
from gnomon.storage.delta_tables import DeltaTables
from pathlib import Path
root, tables = sys.argv[1:]
source = DataSource("events", path="*.jsonl", id="id", event_time="at", fields={"n": "int64"})
print("started", flush=True)
report = ingest(source, root, DeltaTables(Path(tables)), SystemClock(), local_rows=10**9, limits=Limits(batch_files=3),
                report=lambda line: print(line, flush=True))
"""


def write_files(folder: Path, first: int) -> None:
    """Write files whose rows overlap: a tenth repeats the file before, a tenth cannot be read."""
    for file in range(first, first + ROUND_FILES):
        lines = []
        for n in range(file * FILE_ROWS - FILE_ROWS // 10, (file + 1) * FILE_ROWS):
            value = n if n % 10 else "bad"
            lines.append(json.dumps({"id": f"e{n}", "at": f"2025-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z", "n": value}))
        (folder / f"{file:05}.jsonl").write_text("\n".join(lines))


def expected(files: int) -> tuple[list[str], int]:
    read = [n for f in range(files) for n in range(f * FILE_ROWS - FILE_ROWS // 10, (f + 1) * FILE_ROWS)]
    return sorted({f"e{n}" for n in read if n % 10}), sum(n % 10 == 0 for n in read)


def test_killed_at_random_moments_and_sent_again(tmp_path: Path) -> None:
    root, tables = tmp_path / "files", tmp_path / "tables"
    root.mkdir()
    command = [sys.executable, "-c", INGEST, str(root), str(tables)]
    moments = random.Random(7)
    killed = files = 0
    while killed < KILLS:
        write_files(root, files)
        files += ROUND_FILES
        finished = False
        while killed < KILLS and not finished:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moments.uniform(0, 0.5))
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
            process.stdout.close()
            finished = process.wait() == 0
            killed += not finished
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ids, bad = expected(files)
    store = DeltaTables(tables)
    assert sorted(store.read("events")["id"].to_pylist()) == ids
    rejects = store.read("events__quarantine", columns=["_event_id"])["_event_id"].to_pylist()
    assert (len(rejects), len(set(rejects))) == (bad, bad)
    again = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert again.count("was ingested before") == again.count("batch") > 0
