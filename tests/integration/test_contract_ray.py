"""A data contract checked on a real Ray cluster finds what one process finds, and leaves as little."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ray_cluster import ray_cluster

import gnomon as gn
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.data import ray_contract
from gnomon.data.ingestion import ingest
from gnomon.errors import ContractViolated
from gnomon.storage.delta_tables import DeltaTables

pytestmark = [
    pytest.mark.cluster,
    # Ray Data sets settings of its own that it calls deprecated
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ray_cluster(tmp_path_factory.mktemp("home"), object_store_memory=200_000_000) as ray:
        yield ray


def events(**options: Any) -> DataSource:
    rules = [
        gn.Check("order", gn.col("a") <= gn.col("b"), severity="warn"), gn.Between("a", max=95),
        gn.NullRatio("b", 0.01, severity="warn"), gn.Unique(["a", "b"], severity="warn"),
        gn.Fresh("1h", severity="warn"), gn.RowCount(max_drop=0.5),
    ]  # fmt: skip
    return DataSource("events", path="*.parquet", id="id", event_time="at", contract=[*rules, *options.pop("more", [])])


def write(folder: Path, first: int) -> None:
    chance = random.Random(first)
    for file in range(4):
        rows = [(first + file * 500 + n, chance.randrange(100), chance.choice([None, *range(40)])) for n in range(500)]
        times = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=row[0]) for row in rows]
        at = pa.array(times, pa.timestamp("us", tz="UTC"))
        table = pa.table({"id": [r[0] for r in rows], "at": at, "a": [r[1] for r in rows], "b": [r[2] for r in rows]})
        pq.write_table(table, folder / f"{first}-{file}.parquet")


def test_the_same_findings_as_in_one_process(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(ray_contract, "_BUCKET_ROWS", 1_000)  # several buckets for what must be unique
    files = tmp_path / "files"
    files.mkdir()
    memory: dict[str, Any] = {"here": None, "there": None}
    for first in (0, 10_000):
        write(files, first)
        found = {}
        for where, use_ray in (("here", False), ("there", True)):
            report = ingest(
                events(), str(files), DeltaTables(tmp_path / where), SystemClock(), local_rows=10, report=str,
                use_ray=use_ray, previous=memory[where],
            )  # fmt: skip
            memory[where] = report.memory
            found[where] = [(r["rule"], r["checked"], r["violations"], r["passed"]) for r in report.contract]
            assert report.distributed is use_ray
        assert found["here"] == found["there"]
        counts = {rule: (checked, violations) for rule, checked, violations, _ in found["there"]}
        assert 0 < counts["unique:a:b"][1] < counts["unique:a:b"][0]
        assert counts["row_count"][0] == (first > 0)
    more = [gn.Between("b", max=38, severity="fail")]
    with pytest.raises(ContractViolated, match="between:b is broken"):
        ingest(events(more=more), str(files), DeltaTables(tmp_path / "none"), SystemClock(), local_rows=10, report=str)
    assert DeltaTables(tmp_path / "none").tables() == []
