"""Ingestion on a real Ray cluster ends in the same tables as in one process."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.ray_cluster import ray_cluster

import gnomon as gn
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource, FieldSpec
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.data.source_files import Limits
from gnomon.errors import CorruptData, Unavailable
from gnomon.storage.delta_tables import DeltaTables

pytestmark = [
    pytest.mark.cluster,
    # Ray Data sets settings of its own that it calls deprecated
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*"),
]

EVENTS = DataSource(
    "events", path="*.jsonl", id="id", event_time="at", fields={"n": FieldSpec("int64", max=3000), "text": "string"}
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ray_cluster(tmp_path_factory.mktemp("home"), object_store_memory=200_000_000) as ray:
        yield ray


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Six files of 1,000 rows: some repeated within and across files, some corrected, some bad."""
    folder = tmp_path / "files"
    folder.mkdir()
    chance = random.Random(3)
    for file in range(6):
        lines = []
        for _ in range(1000):
            n = chance.randrange(3100)
            text = chance.choice(["same", "same", "same", "corrected"])
            lines.append(json.dumps({"id": f"e{n}", "at": f"2025-01-{1 + n % 28:02}T00:00:00Z", "n": n, "text": text}))
            lines.extend(["{broken"] * (n % 500 == 0))
        (folder / f"{file}.jsonl").write_text("\n".join(lines))
    return folder


def take_in(root: Path, tables: Path, *, on_ray: bool, source: DataSource = EVENTS, **options: Any) -> IngestReport:
    return ingest(
        source, str(root), DeltaTables(tables), SystemClock(), local_rows=100, report=lambda line: None,
        use_ray=None if on_ray else False, **options,
    )  # fmt: skip


def rows_of(tables: Path, table: str) -> list[tuple[str, ...]]:
    """Return the rows but for what depends on the moment and the batch."""
    read = DeltaTables(tables).read(table)
    # a reject without a time of its own carries the moment of its ingestion
    dated = ("_event_time", "_known_time", "batch") if table.endswith("quarantine") else ()
    names = [name for name in read.column_names if name not in ("_ingested_at", *dated)]
    return sorted(tuple(str(row[name]) for name in names) for row in read.to_pylist())


def counts(report: IngestReport) -> tuple[Any, ...]:
    return (report.rows_read, report.rows_added, report.duplicates, report.corrections, report.quarantined)


def test_it_says_when_ray_is_not_connected(files: Path, tmp_path: Path) -> None:
    import ray

    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(Unavailable, match="gnomon up"):
        take_in(files, tmp_path / "tables", on_ray=True)


def test_the_same_tables_as_in_one_process(cluster: Any, files: Path, tmp_path: Path) -> None:
    here = take_in(files, tmp_path / "here", on_ray=False)
    there = take_in(files, tmp_path / "there", on_ray=True, ingestion_id="one")
    assert (here.distributed, there.distributed) == (False, True)
    assert counts(here) == counts(there)
    assert there.duplicates > 0
    assert there.corrections > 0
    assert set(there.quarantined) == {"json", "max:n"}
    for table in ("events", "events__quarantine"):
        assert rows_of(tmp_path / "here", table) == rows_of(tmp_path / "there", table)
    resumed = take_in(files, tmp_path / "there", on_ray=True, ingestion_id="one")
    assert (resumed.repeated_batches, counts(resumed)) == (0, counts(there))
    assert take_in(files, tmp_path / "there", on_ray=True).repeated_batches == 1


def test_transforms_do_the_same_there(cluster: Any, files: Path, tmp_path: Path) -> None:
    steps = [gn.Replace("id", "^e", "E"), gn.NullIf("text", "corrected"), gn.Clip("n", max=3000), gn.Fill("text", "?"),
             gn.Compute("half", gn.col("n") / 2)]  # fmt: skip
    made = EVENTS.model_copy(update={"transforms": tuple(steps)})
    here = take_in(files, tmp_path / "here", on_ray=False, source=made)
    there = take_in(files, tmp_path / "there", on_ray=True, source=made)
    assert counts(here) == counts(there)
    assert (here.distributed, there.distributed, set(there.quarantined)) == (False, True, {"json"})
    assert there.transforms == here.transforms
    assert [each["changed"] for each in there.transforms if each["step"] in ("replace:id", "compute:half")] == [
        6000,
        6000,
    ]
    for table in ("events", "events__quarantine"):
        assert rows_of(tmp_path / "here", table) == rows_of(tmp_path / "there", table)


def test_stored_rows_are_known_to_it(cluster: Any, files: Path, tmp_path: Path) -> None:
    first = take_in(files, tmp_path / "tables", on_ray=False, limits=Limits(batch_files=2))
    again = take_in(files, tmp_path / "tables", on_ray=True)
    assert again.repeated_batches == 0
    assert (again.rows_added, again.rows_read) == (0, first.rows_read)
    assert again.quarantined == first.quarantined
    quarantine = DeltaTables(tmp_path / "tables").read("events__quarantine")["_event_id"].to_pylist()
    assert len(quarantine) == len(set(quarantine)) == sum(first.quarantined.values())


def test_a_damaged_page_is_named(cluster: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [f"{n}" for n in range(5000)], "at": ["2025-01-01T00:00:00Z"] * 5000}), file)
    data = bytearray(file.read_bytes())
    data[10:2000] = bytes(1990)
    file.write_bytes(data)
    source = DataSource("damaged", path="a.parquet", id="id", event_time="at")
    with pytest.raises(CorruptData, match=r"a\.parquet"):
        take_in(tmp_path, tmp_path / "tables", on_ray=True, source=source)
    assert DeltaTables(tmp_path / "tables").tables() == []
