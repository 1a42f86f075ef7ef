"""Writers that are killed, and writers that run at once: every acknowledged row is there, and once."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import deltalake
import pytest

from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.numbered_batches import BATCH_ROWS, TABLE

pytestmark = pytest.mark.failure

WRITER = [sys.executable, "-m", "gnomon.testing.numbered_batches", "gnomon.storage.delta_tables:DeltaTables"]
KILLS = 24
RESENT_BATCHES = 10


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([*WRITER, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def _acknowledged(lines: Iterator[str]) -> list[int]:
    return [int(line.split()[0]) for line in lines if line.endswith("\n")]


def _rows(root: Path) -> list[int]:
    return DeltaTables(root).read(TABLE, columns=["row"])["row"].to_pylist()


def test_a_writer_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path) -> None:
    moments = random.Random(20)
    acknowledged: set[int] = set()
    killed = 0
    while killed < KILLS:
        first = max(0, max(acknowledged, default=-1) + 1 - RESENT_BATCHES)
        writer = _start(tmp_path, first, 1_000_000)
        assert writer.stdout is not None
        acknowledged.add(int(writer.stdout.readline().split()[0]))
        time.sleep(moments.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        acknowledged.update(_acknowledged(writer.stdout))
        killed += writer.wait() == -signal.SIGKILL
        writer.stdout.close()
        rows = _rows(tmp_path)
        lost = {n * BATCH_ROWS + i for n in acknowledged for i in range(BATCH_ROWS)} - set(rows)
        doubled = len(rows) - len(set(rows))
        assert (len(lost), doubled) == (0, 0), f"after kill {killed}"
        assert len(rows) - len(acknowledged) * BATCH_ROWS in (0, BATCH_ROWS)
    last = max(acknowledged) + 2
    subprocess.run([*WRITER, tmp_path, "0", str(last)], check=True, stdout=subprocess.DEVNULL)
    assert sorted(_rows(tmp_path)) == list(range(last * BATCH_ROWS))
    assert deltalake.DeltaTable(str(tmp_path / TABLE)).to_pyarrow_table().num_rows == last * BATCH_ROWS
    DeltaTables(tmp_path).remove_orphans(TABLE, older_than_s=-1)
    named = {Path(path).name for path in DeltaTables(tmp_path).files(TABLE)}
    assert {path.name for path in (tmp_path / TABLE).iterdir()} == named | {"_delta_log"}


def test_four_writers_at_once_resend_each_others_batches(tmp_path: Path) -> None:
    batches = 60
    writers = [_start(tmp_path, 0, batches, seed) for seed in range(4)]
    first_time = 0
    for writer in writers:
        assert writer.stdout is not None
        lines = writer.stdout.read().splitlines()
        writer.stdout.close()
        assert writer.wait() == 0
        assert len(lines) == batches
        first_time += sum(line.endswith(" 0") for line in lines)
    assert first_time == batches
    assert sorted(_rows(tmp_path)) == list(range(batches * BATCH_ROWS))
    assert DeltaTables(tmp_path).version(TABLE) == batches - 1
    assert len(list((tmp_path / TABLE).glob("*.parquet"))) == batches
