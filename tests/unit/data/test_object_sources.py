"""Sources in an object store, from a real S3 server in this process: the same rows as from files, and clear errors."""

from __future__ import annotations

import pytest
from tests.object_world import BUCKET, WRITERS, as_csv, as_jsonl, as_parquet, events

from gnomon.contracts.object_urls import parse_object_url
from gnomon.contracts.sources import DataSource
from gnomon.data.ingestion import ingest
from gnomon.data.object_files import find_objects
from gnomon.data.source_files import Limits, find_files
from gnomon.data.source_schema import read_schema
from gnomon.errors import NotFound
from gnomon.storage.delta_tables import DeltaTables


def source(path: str, **options: object) -> DataSource:
    return DataSource("events", path=path, **{"id": "id", "event_time": "at", **options})


@pytest.mark.parametrize("ending", WRITERS)
def test_rows_are_those_of_local_files(ending, s3, root, take_in, tmp_path, clock, offline):
    s3.page_keys = 2
    limits = Limits(part_bytes=4000, part_rows=150, batch_bytes=20_000)
    for number in range(5):
        data = WRITERS[ending](events(300 * number, 300))
        (root / f"day {number}+%.{ending}").write_bytes(data)
        s3.put(BUCKET, f"in/day {number}+%.{ending}", data)
    s3.put(BUCKET, f"in/_unfinished.{ending}", b"half")
    s3.put(BUCKET, f"in/deeper/other.{ending}", b"half")
    here = take_in(source(f"*.{ending}"), limits=limits)
    there = DeltaTables(tmp_path / "others")
    remote = source(f"s3://{BUCKET}/in/*.{ending}")
    report = ingest(remote, str(root), there, clock, local_rows=10**9, report=str, limits=limits)
    assert (report.rows_added, report.quarantined, report.files) == (1500, {}, 5)
    assert here.rows_added == 1500
    assert there.read("events").sort_by("id").equals(offline.read("events").sort_by("id"))
    assert read_schema(remote, "") == read_schema(source(f"*.{ending}"), str(root))
    assert not any("unfinished" in path or "deeper" in path for path, _ in s3.gets())


@pytest.mark.parametrize("ending", WRITERS)
def test_late_objects_and_what_is_known(ending, s3, take_in, offline):
    everything = source(f"s3://{BUCKET}/in/**/*.{ending}")
    s3.put(BUCKET, f"in/2026/01/a.{ending}", WRITERS[ending](events(0, 50)))
    first = take_in(everything)
    again = take_in(everything, previous=first.memory)
    assert (first.rows_added, again.rows_added, again.repeated_batches) == (50, 0, 1)
    s3.put(BUCKET, f"in/2025/12/late.{ending}", WRITERS[ending](events(40, 60)))
    late = take_in(everything, previous=again.memory)
    assert (late.rows_added, late.duplicates) == (50, 60)
    s3.put(BUCKET, f"in/2026/01/a.{ending}", WRITERS[ending](events(90, 20)))
    assert take_in(everything, previous=late.memory).rows_added == 10
    assert sorted(offline.read("events")["n"].to_pylist()) == list(range(110))


def test_a_look_at_what_is_known_fetches_footers_and_beginnings(s3, take_in):
    s3.put(BUCKET, "a.parquet", as_parquet(events(0, 80_000), row_group_rows=10_000))
    s3.put(BUCKET, "a.csv", as_csv(events(0, 100_000)))
    for name, most in (("a.parquet", 0.2), ("a.csv", 0.7)):
        one = source(f"s3://{BUCKET}/{name}")
        report, schema = take_in(one), read_schema(one, "")
        s3.asked.clear()
        assert take_in(one, previous=report.memory, schema=schema).repeated_batches == 1
        size_bytes = len(s3.buckets[BUCKET][name].data)
        assert sum(_length(wanted, size_bytes) for _, wanted in s3.gets()) < most * size_bytes


def _length(wanted: str, size_bytes: int) -> int:
    assert wanted, "an object was asked for without a range"
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    return min(int(last), size_bytes - 1) - int(first) + 1


def test_json_arrays_prefixes_and_single_objects(s3, take_in):
    array = b"[" + b",".join(as_jsonl(events(0, 20)).splitlines()) + b"]"
    s3.put(BUCKET, "arrays/a.json", array)
    s3.put(BUCKET, "arrays/sub/b.json", array)
    s3.put(BUCKET, "arrays/notes.txt", b"no")
    assert take_in(source(f"s3://{BUCKET}/arrays", format="json")).files == 2
    assert take_in(source(f"s3://{BUCKET}/arrays/", format="json")).repeated_batches == 1
    assert take_in(source(f"s3://{BUCKET}/arrays/sub/b.json")).duplicates == 20
    assert take_in(source(f"s3://{BUCKET}", format="json")).files == 2


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.csv", ["a.csv"]),
        ("*/*.csv", ["x/b.csv", "y/b.csv", "y/d[1].csv"]),
        ("**/b.csv", ["x/b.csv", "x/z/b.csv", "y/b.csv"]),
        ("[xy]/b.csv", ["x/b.csv", "y/b.csv"]),
        ("x/**/?.csv", ["x/b.csv", "x/z/b.csv", "x/z/c.csv"]),
        ("[!x]/*", ["y/b.csv", "y/d[1].csv"]),
        ("y/d[[]1].csv", ["y/d[1].csv"]),
        ("none/*.csv", []),
    ],
)
def test_patterns_mean_what_they_mean_for_files(pattern, found, s3, tmp_path):
    for key in ("a.csv", "x/b.csv", "x/z/b.csv", "x/z/c.csv", "y/b.csv", "y/d[1].csv", "x/.hidden.csv", "y/_part.csv"):
        s3.put(BUCKET, f"in/{key}", b"id\n1\n")
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(b"id\n1\n")
    there = [str(file) for file in find_objects(parse_object_url(f"s3://{BUCKET}/in/{pattern}"), (".csv",))]
    assert there == [f"s3://{BUCKET}/in/{key}" for key in found]
    try:
        here = [str(file.relative_to(tmp_path)) for file in find_files(source(pattern, format="csv"), str(tmp_path))]
    except NotFound:
        here = []
    assert here == found


def test_public_buckets_need_no_credentials(s3, take_in, monkeypatch):
    s3.public.add(BUCKET)
    s3.put(BUCKET, "a.csv", as_csv(events(0, 5)))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert take_in(source(f"s3://{BUCKET}/a.csv")).rows_added == 5
