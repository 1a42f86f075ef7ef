"""Every row once: resends, other file names, other batches, corrections, kills between commits, rival writers."""

from __future__ import annotations

import dataclasses
import sys
import time

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest

from gnomon.contracts.sources import DataSource, FieldSpec
from gnomon.data.ingestion import ingest
from gnomon.data.source_files import Limits
from gnomon.storage.delta_tables import DeltaTables

DAY_US = 86_400_000_000
START_US = 1_735_689_600_000_000


def events(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    times = pa.array([START_US + n * DAY_US // 1000 for n in numbers], pa.timestamp("us", tz="UTC"))
    return pa.table({"id": [f"e{n}" for n in numbers], "at": times, "n": list(numbers)})


def source(path="*.parquet", **options):
    return DataSource("events", path=path, **{"id": "id", "event_time": "at", **options})


def test_resend_under_another_name_and_with_more_files(root, take_in, offline):
    pq.write_table(events(0, 10), root / "a.parquet")
    assert take_in(source()).rows_added == 10
    assert take_in(source()).repeated_batches == 1
    (root / "a.parquet").rename(root / "b.parquet")
    assert take_in(source()).repeated_batches == 1
    pq.write_table(events(5, 10), root / "c.parquet")
    report = take_in(source())
    assert (report.rows_read, report.rows_added, report.duplicates, report.corrections) == (20, 5, 15, 0)
    assert sorted(offline.read("events")["n"].to_pylist()) == list(range(15))


def test_repeats_within_a_batch_and_in_other_formats(root, take_in, offline):
    table = events(0, 20)
    pq.write_table(pa.concat_tables([table, table]), root / "a.parquet")
    report = take_in(source())
    assert (report.rows_added, report.duplicates) == (20, 20)
    arrow_csv.write_csv(table.select(["n", "at", "id"]), root / "a.csv")
    assert take_in(source("a.csv")).duplicates == 20
    (root / "a.jsonl").write_bytes(
        b"\n".join(
            f'{{"id": "{row["id"]}", "n": {row["n"]}, "at": "{row["at"].isoformat()}", "x": null}}'.encode()
            for row in table.to_pylist()
        )
    )
    assert take_in(source("a.jsonl")).duplicates == 20


def test_corrections_are_kept_as_versions(root, take_in, offline):
    pq.write_table(events(0, 10), root / "a.parquet")
    take_in(source())
    changed = events(0, 10).set_column(2, "n", pa.array([100, *range(1, 10)]))
    pq.write_table(changed, root / "b.parquet")
    report = take_in(source("b.parquet"))
    assert (report.rows_added, report.duplicates, report.corrections) == (1, 9, 1)
    versions = [row["n"] for row in offline.read("events").to_pylist() if row["_event_id"] == "e0"]
    assert sorted(versions) == [0, 100]


def test_how_files_are_cut_changes_nothing(root, take_in, offline):
    text = "id,at,t\n" + "".join(f'{n},2025-01-01T00:00:{n % 60:02}Z,"x\n{n}"\n' for n in range(500)) + "bad\n"
    (root / "a.csv").write_text(text)
    report = take_in(source("a.csv"), limits=Limits(part_bytes=1000, batch_bytes=3000))
    assert (report.batches > 3, report.rows_added, report.quarantined) == (True, 500, {"cells": 1})
    assert offline.read("events__quarantine")["line"].to_pylist() == [1002]
    report = take_in(source("a.csv"))
    assert (report.rows_added, report.duplicates, report.quarantined) == (0, 500, {"cells": 1})
    assert offline.read("events__quarantine").num_rows == 1


def test_row_groups_are_parts(root, take_in, offline):
    pq.write_table(events(0, 1000), root / "a.parquet", row_group_size=100)
    report = take_in(source(), limits=Limits(part_rows=250, batch_files=2))
    assert (report.batches, report.rows_added) == (3, 1000)


def test_killed_between_the_two_commits(root, offline, clock, tmp_path):
    class DiesBetween(DeltaTables):
        def append(self, table, *arguments, **options):
            if table == "events":
                raise KeyboardInterrupt
            return super().append(table, *arguments, **options)

    (root / "a.csv").write_text("id,at\n1,2025-01-01T00:00:00Z\n,2025-01-01T00:00:00Z\n")
    common = {"local_rows": 10**9, "report": lambda line: None}
    with pytest.raises(KeyboardInterrupt):
        ingest(source("a.csv"), str(root), DiesBetween(tmp_path / "tables"), clock, **common)
    report = ingest(source("a.csv"), str(root), offline, clock, **common)
    assert (report.rows_added, report.quarantined) == (1, {"null_id": 1})
    assert offline.read("events").num_rows == 1
    assert offline.read("events__quarantine").num_rows == 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_between_batches_the_report_is_of_the_whole_ingestion(root, take_in, offline, clock, tmp_path, moment):
    class DiesAt(DeltaTables):
        commits = 0

        def append(self, table, *arguments, **options):
            self.commits += table == "events"
            if self.commits == 3 and moment == "before":
                raise KeyboardInterrupt
            done = super().append(table, *arguments, **options)
            if self.commits == 3:
                raise KeyboardInterrupt
            return done

    def rows(numbers):
        return "".join(f"{n},2025-01-01T00:00:0{n}Z\n" for n in numbers)

    for n in range(5):
        (root / f"{n}.csv").write_text("id,at\n" + rows([n, n + 1, n + 1]) + ",2025-01-01T00:00:00Z\n")
    common = {"local_rows": 10**9, "limits": Limits(batch_files=1), "ingestion_id": "one"}
    with pytest.raises(KeyboardInterrupt):
        ingest(source("*.csv"), str(root), DiesAt(tmp_path / "tables"), clock, report=str, **common)
    done = ingest(source("*.csv"), str(root), offline, clock, report=str, **common)
    assert (done.batches, done.repeated_batches, done.rows_read) == (5, 0, 20)
    assert (done.rows_added, done.duplicates, done.quarantined) == (6, 9, {"null_id": 5})
    other = take_in(source("*.csv"), limits=Limits(batch_files=1))
    assert (other.repeated_batches, other.rows_read, other.quarantined) == (5, 0, {})


def test_a_rival_writer_makes_it_compare_again(root, offline, clock, tmp_path):
    pq.write_table(events(0, 10), root / "a.parquet")
    pq.write_table(events(5, 10), root / "b.parquet")
    common = {"local_rows": 10**9, "report": lambda line: None}

    class Overtaken(DeltaTables):
        overtaken = False

        def append(self, table, *arguments, **options):
            if not self.overtaken:
                self.overtaken = True
                ingest(source("b.parquet"), str(root), offline, clock, **common)
            return super().append(table, *arguments, **options)

    report = ingest(source("a.parquet"), str(root), Overtaken(tmp_path / "tables"), clock, **common)
    assert (report.rows_added, report.duplicates) == (5, 5)
    assert sorted(offline.read("events")["n"].to_pylist()) == list(range(15))


def test_new_rules_read_again_what_was_quarantined(root, take_in, offline):
    pq.write_table(events(0, 10), root / "a.parquet")
    strict = source(fields={"n": FieldSpec("int64", max=4)})
    assert take_in(strict).quarantined == {"max:n": 5}
    report = take_in(source(fields={"n": "int64"}))
    assert (report.rows_added, report.duplicates) == (5, 5)


def test_known_time_and_composite_ids(root, take_in, offline):
    (root / "a.csv").write_text(
        "id,k,at,seen\na|b,c,2025-01-02T00:00:00Z,2025-01-01T00:00:00Z\na,b|c,2025-01-02T00:00:00Z,2025-01-03T00:00:00Z\n"
        "d,e,2025-01-02T00:00:00Z,\n"
    )
    report = take_in(source("a.csv", id=["id", "k"], known_time="seen"))
    assert report.quarantined == {"null_known_time": 1}
    rows = {row["_event_id"]: row for row in offline.read("events").to_pylist()}
    assert set(rows) == {"a\\|b|c", "a|b\\|c"}
    assert rows["a\\|b|c"]["_known_time"] < rows["a\\|b|c"]["_event_time"]
    assert rows["a\\|b|c"]["_ingested_at"].isoformat() == "2026-01-01T00:00:00+00:00"


def test_known_delay(root, take_in, offline):
    (root / "a.csv").write_text("id,at\n1,2025-01-02T00:00:00Z\n")
    take_in(source("a.csv", known_delay="7d"))
    assert offline.read("events")["_known_time"][0].as_py().isoformat() == "2025-01-09T00:00:00+00:00"


def test_report_adds_up_and_small_inputs_do_not_load_ray(root, take_in):
    pq.write_table(events(0, 1000), root / "a.parquet")
    before = "ray" in sys.modules
    began = time.perf_counter()
    report = take_in(source())
    assert report.rows_read == report.rows_added + report.duplicates + sum(report.quarantined.values()) == 1000
    assert 0 < report.elapsed_s <= time.perf_counter() - began
    assert ("ray" in sys.modules) is before
    assert report.as_json() == dataclasses.asdict(report)
