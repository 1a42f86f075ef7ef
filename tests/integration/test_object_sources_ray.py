"""Objects are read by Ray's workers as by one process, and what a worker is refused reaches the caller as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.object_world import BUCKET, WRITERS, events
from tests.ray_cluster import ray_cluster
from tests.s3_server import S3Server, s3_server

from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.data.source_files import Limits
from gnomon.errors import InvalidInput
from gnomon.storage.delta_tables import DeltaTables

pytestmark = [
    pytest.mark.cluster,
    # Ray Data sets settings of its own that it calls deprecated
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server() as server, ray_cluster(tmp_path_factory.mktemp("home"), server.variables()):
        yield server


def take_in(path: str, tables: Path, *, on_ray: bool) -> IngestReport:
    source = DataSource("events", path=path, id="id", event_time="at")
    return ingest(
        source, "", DeltaTables(tables), SystemClock(), local_rows=100, report=str, use_ray=on_ray,
        limits=Limits(part_bytes=20_000, part_rows=300),
    )  # fmt: skip


@pytest.mark.parametrize("ending", WRITERS)
def test_workers_read_what_one_process_reads(ending: str, store: S3Server, tmp_path: Path) -> None:
    for number in range(3):
        store.put(BUCKET, f"in/{number}.{ending}", WRITERS[ending](events(900 * number, 1000)))
    path = f"s3://{BUCKET}/in/*.{ending}"
    report = take_in(path, tmp_path / "ray", on_ray=True)
    assert (report.distributed, report.rows_added, report.duplicates) == (True, 2800, 200)
    take_in(path, tmp_path / "here", on_ray=False)
    columns = ["id", "at", "n", "text", "_digest"]
    on_ray, here = (
        DeltaTables(tmp_path / name).read("events").select(columns).sort_by("id") for name in ("ray", "here")
    )
    assert on_ray.equals(here)


def test_an_object_that_changed_before_a_worker_reads_it(store: S3Server, tmp_path: Path) -> None:
    store.put(BUCKET, "one/a.csv", WRITERS["csv"](events(0, 1000)))

    def replace(_: str) -> None:
        if len(store.gets()) >= scanned:
            store.put(BUCKET, "one/a.csv", WRITERS["csv"](events(0, 10)))

    store.asked.clear()
    take_in(f"s3://{BUCKET}/one/a.csv", tmp_path / "first", on_ray=False)
    scanned = len(store.gets())  # the last read of one process is a worker's
    store.asked.clear()
    store.on_get.append(replace)
    with pytest.raises(InvalidInput, match="changed while it was being ingested"):
        take_in(f"s3://{BUCKET}/one/a.csv", tmp_path / "second", on_ray=True)
    assert DeltaTables(tmp_path / "second").version("events") == -1
