"""Builders of layouts that are killed again and again: no layout is ever half, and no row is lost or doubled in one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from ray.cluster_utils import Cluster

from gnomon.contracts.columns import DIGEST
from gnomon.features.entity_layout import _chain
from gnomon.features.event_order import SUPERSEDED
from gnomon.features.layout_segments import MANIFEST, published_segments
from gnomon.storage.delta_tables import DeltaTables

pytestmark = [pytest.mark.failure, pytest.mark.cluster, pytest.mark.timeout(1800)]

KILLS = 24
ROWS = 40_000
_IDENTITY = ("_event_id", "_event_time", "_known_time", "_ingested_at", "amount")

_WORK = """
import sys
import ray
from tests.unit.features.payments import label_requests, payment_rows, payments_app, requests_table, to_table
from gnomon.contracts.columns import DIGEST
from gnomon.features.point_in_time import point_in_time_join
from gnomon.storage.delta_tables import DeltaTables

root, address, seed, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
tables, app, requests = DeltaTables(root), payments_app(), requests_table(label_requests(50, seed))
ray.init(address=address, log_to_driver=False, logging_level="error")
print("started", flush=True)
batch = payment_rows(rows if tables.version("pay") < 0 else rows // 8, seed)
for i, row in enumerate(batch):
    row[DIGEST] = f"{seed:08x}{i:024x}"
tables.append("pay", to_table(batch), f"b{seed}")
lookups = ["sums.total", "sums.rows", "newest.amount"]
there = point_in_time_join(app, tables, requests, lookups, local_rows=0, partition_rows=rows // 8)
print("joined", flush=True)
here = point_in_time_join(app, tables, requests, lookups, local_rows=10**9)
print("equal" if there.equals(here) else "UNEQUAL", flush=True)
"""


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in (("HOME", str(tmp_path)), ("RAY_AUTH_MODE", "disabled"), ("RAY_USAGE_STATS_ENABLED", "0")):
        monkeypatch.setenv(name, value)
    node = {"num_cpus": 2, "num_gpus": 0, "object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    yield cluster.address
    cluster.shutdown()


def work(root: Path, address: str, seed: int, kill_after_s: float | None) -> tuple[bool, float]:
    """Add rows and join in a process of its own; return whether it was killed, and how long it worked."""
    command = [sys.executable, "-c", _WORK, str(root), address, str(seed), str(ROWS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        began = time.monotonic()
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            process.send_signal(signal.SIGKILL)
        lines = [process.stdout.readline()]
        took_s = time.monotonic() - began
        lines.append(process.stdout.read())
    assert "UNEQUAL\n" not in lines
    return process.returncode == -signal.SIGKILL, took_s


def check(root: Path) -> tuple[int, int, int]:
    """Compare every published layout with the table's files; return rows lost and doubled, and the layouts seen."""
    folder = root / "pay" / "_derived" / "by_entity"
    segments = published_segments(folder)
    assert {path.parent.name for path in folder.glob(f"[0-9a-f]*/{MANIFEST}")} == set(segments)
    lost = doubled = 0
    for segment in segments.values():
        chain = _chain(segment, segments)
        stored = [folder / part.name / file for part in chain for file in part.sizes if file.startswith("rows-")]
        table = [root / "pay" / file for part in chain for file in part.table_files]
        rows, counts = np.unique(np.concatenate([*map(_rows, stored), *map(_rows, table)]), return_counts=True)
        of_table, of_table_counts = np.unique(np.concatenate(list(map(_rows, table))), return_counts=True)
        expected = np.zeros(len(rows), np.int64)
        expected[np.searchsorted(rows, of_table)] = of_table_counts
        surplus = counts - 2 * expected
        lost, doubled = lost - int(surplus[surplus < 0].sum()), doubled + int(surplus[surplus > 0].sum())
    return lost, doubled, len(segments)


def _rows(path: Path) -> np.ndarray[Any, Any]:
    """Return a hash of each row; equal rows have equal ones."""
    table = pq.ParquetFile(path, page_checksum_verification=True).read()
    assert (SUPERSEDED in table.column_names) != (DIGEST in table.column_names)
    return pl.DataFrame({name: pl.Series(values=table.column(name)) for name in _IDENTITY}).hash_rows().to_numpy()


def test_builders_killed_at_many_moments_lose_and_double_nothing(tmp_path: Path, address: str) -> None:
    moments, root = random.Random(4), tmp_path / "tables"
    _, whole_s = work(root, address, 0, None)
    seed = killed = halves = 0
    while killed < KILLS:
        seed += 1
        was_killed, _ = work(root, address, seed, moments.uniform(0, 1.5 * whole_s))
        killed += was_killed
        folder = root / "pay" / "_derived" / "by_entity"
        halves += any(path.suffix == ".tmp" for path in folder.iterdir())
        lost, doubled, _ = check(root)
        assert (lost, doubled) == (0, 0), f"after kill {killed}"
    assert halves, "no builder was killed while it built"
    assert work(root, address, seed + 1, None)[0] is False
    lost, doubled, layouts = check(root)
    assert (lost, doubled) == (0, 0)
    assert layouts >= 2
    newest = max((root / "pay" / "_derived" / "by_entity").glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    assert DeltaTables(root).version("pay") >= 1
    assert newest.parent.name in published_segments(newest.parent.parent)
