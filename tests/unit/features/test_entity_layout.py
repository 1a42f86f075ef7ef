"""Layouts by entity on a real Ray: whatever is appended, corrected or damaged, the join gives the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.features.payments import (
    LOOKUPS,
    S,
    label_requests,
    oracle,
    payment_rows,
    payments_app,
    requests_table,
    to_table,
)

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView
from gnomon.features import layout_segments
from gnomon.features.distributed_join import _join_shuffled
from gnomon.features.entity_layout import bucket_groups, entity_layout
from gnomon.features.layout_segments import Segment, published_segments, remove_unread
from gnomon.features.materialization import _partition_rows
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.view_rows import CHUNK_PAIRS, REQUEST_TIME
from gnomon.storage.delta_tables import DeltaTables

pytestmark = pytest.mark.cluster

EXAMPLES = int(os.environ.get("GNOMON_LAYOUT_EXAMPLES", "8"))  # each takes seconds, for it runs on Ray
BY_CUSTOMER = ("sums.total", "sums.rows")


class World:
    """A table of payments, and joins over it."""

    def __init__(self, folder: Path) -> None:
        self.app = payments_app()
        self.tables = DeltaTables(folder / "tables")
        self.rows: list[list[dict[str, Any]]] = []
        self.folder = folder / "tables" / "pay" / "_derived" / "by_entity"
        self.asked = label_requests(60)

    def append(self, rows: list[dict[str, Any]], *, amounts: bool = True) -> None:
        """Add rows as one version."""
        self.tables.append("pay", to_table(rows, amounts=amounts), f"b{len(self.rows)}")
        self.rows.append(rows)

    def join(self, lookups: Sequence[str] = LOOKUPS, *, version: int = -1, rows: int = 100) -> pa.Table:
        """Join on Ray, in partitions of so many rows."""
        return point_in_time_join(
            self.app, self.tables, requests_table(self.asked), lookups, local_rows=0, partition_rows=rows,
            versions={"pay": version},
        )  # fmt: skip

    def check(self, lookups: Sequence[str] = LOOKUPS, *, version: int = -1, rows: int = 100) -> None:
        """Compare the join on Ray with the one in this process, and with brute force."""
        there = self.join(lookups, version=version, rows=rows)
        requests = requests_table(self.asked)
        versions = {"pay": version}
        here = point_in_time_join(self.app, self.tables, requests, lookups, local_rows=10**9, versions=versions)
        assert there.equals(here)
        known = [row for batch in (self.rows if version < 0 else self.rows[: version + 1]) for row in batch]
        expected = oracle(self.app, known, self.asked)
        assert there.to_pydict() == {name: expected[name] for name in lookups}

    def segments(self) -> list[Segment]:
        """Return what is published, those with most rows first."""
        return sorted(published_segments(self.folder).values(), key=lambda segment: -segment.rows)


@pytest.fixture
def world(tmp_path: Path, ray_cluster: Any) -> World:
    made = World(tmp_path)
    made.append(payment_rows(400))
    return made


def more(number: int, seed: int, of: Sequence[dict[str, Any]], stored: int = 3) -> list[dict[str, Any]]:
    """Further payments, of which each second corrects one of some earlier ones; stored later than all others."""
    rows = payment_rows(number, seed)
    for i, row in enumerate(rows):
        row[EVENT_ID] = of[(i * 37) % len(of)][EVENT_ID] if i % 2 else f"{seed}-{row[EVENT_ID]}"
        row[INGESTED_AT], row[DIGEST] = stored, f"{seed:08x}{i:024x}"
    return rows


def test_the_second_training_set_reads_what_the_first_laid_out(world: World) -> None:
    world.check()
    made = {s.name: s.keys for s in world.segments()}
    assert sorted(made.values()) == [("c",), ("c", "shop"), ("shop",)]
    world.check()
    assert {s.name: s.keys for s in world.segments()} == made
    (customers,) = (s for s in world.segments() if s.keys == ("c",))
    assert set(customers.columns) == {"c", "amount", EVENT_TIME, KNOWN_TIME, INGESTED_AT, EVENT_ID}
    assert customers.rows == 400
    assert customers.size_bytes() == sum(
        path.stat().st_size for path in (world.folder / customers.name).iterdir() if path.name != "manifest.json"
    )


def test_rows_that_came_since_become_a_segment_of_their_own(world: World) -> None:
    world.check(BY_CUSTOMER)
    world.append(more(40, 7, world.rows[0]))
    world.check(BY_CUSTOMER)
    first, second = world.segments()
    assert (first.rows, second.rows, second.parent) == (400, 40, first.name)
    assert second.patches, "a correction supersedes a row of the first segment"
    world.check(BY_CUSTOMER, version=0)
    assert len(world.segments()) == 2


def test_small_segments_give_way_to_one_that_holds_their_rows(world: World) -> None:
    for i in range(6):
        world.append(more(10, 20 + i, world.rows[0], stored=3 + i))
        world.check(BY_CUSTOMER)
    newest = next(s for s in world.segments() if world.tables.files("pay")[-1].endswith(tuple(s.table_files)))
    chain = [newest]
    while chain[-1].parent:
        chain.append(published_segments(world.folder)[chain[-1].parent])
    assert sum(s.rows for s in chain) == 460
    assert len(chain) <= 4


def test_a_layout_of_which_only_digests_would_decide_is_made_anew(world: World) -> None:
    """A correction with the known time and the ingestion time of the row that it corrects."""
    world.check(BY_CUSTOMER)
    old = world.rows[0][5]
    world.append([old | {"c": 1, "amount": 77, DIGEST: "0" * 32}, old | {"c": 2, "amount": 78, DIGEST: "f" * 32}])
    world.check(BY_CUSTOMER)
    assert [s.rows for s in world.segments()] == [402, 400]
    assert not world.segments()[0].parent


@pytest.mark.parametrize(("later_id", "amount"), [("x4", 1), ("x6", 2)])
def test_rows_of_two_segments_that_tie_go_by_their_ids(world: World, later_id: str, amount: int) -> None:
    """Two events of one shop at one time, known and stored at once; the greater id counts, be it older or newer."""
    row = {"c": 1, "shop": "a", EVENT_TIME: 900 * S, KNOWN_TIME: 900 * S, INGESTED_AT: 9}
    world.asked = [{"c": 1, "shop": "a", REQUEST_TIME: 901 * S}]
    first = row | {"amount": 1, EVENT_ID: "x5", DIGEST: "1" * 32}
    world.append([first, first | {"shop": "b", EVENT_ID: "other"}])
    world.check(["newest.amount"])
    world.append([row | {"amount": 2, EVENT_ID: later_id, DIGEST: "2" * 32}])
    world.check(["newest.amount"])
    assert world.join(["newest.amount"])["newest.amount"].to_pylist() == [amount]
    assert [segment.rows for segment in world.segments()] == [402, 1]


def test_rows_without_an_event_id_are_shuffled(world: World) -> None:
    world.append([row | {EVENT_ID: None} for row in more(20, 3, world.rows[0])])
    world.check()
    assert world.segments() == []


def test_a_column_that_is_read_anew_is_laid_out_anew(tmp_path: Path, ray_cluster: Any) -> None:
    world = World(tmp_path)
    world.append([row | {"amount": None} for row in payment_rows(100)], amounts=False)
    every = world.app
    count = every.get(FeatureView, "spend").features[0]
    source, customer = every.get(gn.DataSource, "pay"), every.get(gn.Entity, "customer")
    spend = gn.FeatureView("spend", entity=customer, source=source, features=[count])
    world.app = App.of("app", [source, customer, spend]).with_schemas(every.schemas)
    found = world.join(["spend.n"])
    assert ["amount" in s.columns for s in world.segments()] == [False]
    world.app = every
    world.append(more(30, 5, world.rows[0]))
    assert world.join(["spend.n"], version=0).equals(found)
    assert len(world.segments()) == 1
    world.check(BY_CUSTOMER)
    assert [("amount" in s.columns, s.rows) for s in world.segments()] == [(True, 130), (False, 100)]


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x55
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("harm", [_flip, _cut, Path.unlink])
@pytest.mark.parametrize("appended", [False, True])
def test_a_damaged_layout_changes_nothing_and_is_made_again(world: World, harm: Any, appended: bool) -> None:
    world.check(BY_CUSTOMER)
    (segment,) = world.segments()
    if appended:
        world.append(more(20, 4, world.rows[0]))
    for file in segment.sizes:
        harm(world.folder / segment.name / file)
    world.check(BY_CUSTOMER)
    world.check(BY_CUSTOMER)
    whole = world.segments()[0]
    assert whole.rows == 420 if appended else 400
    for file in whole.sizes:
        pq.ParquetFile(world.folder / whole.name / file, page_checksum_verification=True).read()


def test_a_layout_can_be_removed_at_any_time(world: World) -> None:
    world.check(BY_CUSTOMER)
    world.append(more(20, 4, world.rows[0]))
    world.check(BY_CUSTOMER)
    shutil.rmtree(world.folder / world.segments()[0].name)
    world.check(BY_CUSTOMER)
    shutil.rmtree(world.folder.parent)
    world.check(BY_CUSTOMER)
    assert [segment.rows for segment in world.segments()] == [420]


def test_files_that_are_no_longer_of_the_table_are_not_read(world: World) -> None:
    """Another Delta writer compacts the table: one file with the same rows takes the place of two."""
    world.append(more(20, 4, world.rows[0]))
    world.check(BY_CUSTOMER)
    before = world.join(BY_CUSTOMER)
    staged = world.tables.stage("pay", world.tables.read("pay"))
    folder = world.tables.derived_folder("pay").parent
    removes = [{"remove": {"path": Path(p).name, "deletionTimestamp": 1, "dataChange": False}} for p in
               world.tables.files("pay")]  # fmt: skip
    stats = json.dumps({"numRecords": staged.rows})
    add = {"add": {"path": staged.path, "partitionValues": {}, "size": staged.size_bytes, "modificationTime": 1,
                   "dataChange": False, "stats": stats}}  # fmt: skip
    lines = "".join(json.dumps(action) + "\n" for action in [*removes, add])
    (folder / "_delta_log" / f"{2:020d}.json").write_text(lines)
    assert world.join(BY_CUSTOMER).equals(before)
    assert staged.path in {file for segment in world.segments() for file in segment.table_files}
    assert world.join(BY_CUSTOMER, version=1).equals(before)


def test_builders_at_once_make_one_layout(world: World) -> None:
    found: list[pa.Table] = []
    threads = [threading.Thread(target=lambda: found.append(world.join(BY_CUSTOMER))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(table.equals(found[0]) for table in found)
    (segment,) = world.segments()
    assert {path.name for path in world.folder.iterdir()} == {segment.name}
    world.check(BY_CUSTOMER)


def test_what_nobody_reads_is_removed_and_what_stands_on_it(world: World) -> None:
    world.join(BY_CUSTOMER)
    world.append(more(20, 4, world.rows[0]))
    world.join(BY_CUSTOMER)
    base, added = world.segments()
    _unread(world, base, layout_segments.UNREAD_S - 60)
    assert remove_unread(world.folder, 10**9) == []
    _unread(world, base, layout_segments.UNREAD_S + 60)
    (world.folder / ".0.tmp").mkdir()
    os.utime(world.folder / ".0.tmp", (0, 0))
    assert set(remove_unread(world.folder, 10**9)) == {base.name, added.name}
    assert list(world.folder.iterdir()) == []
    world.check(BY_CUSTOMER)


def test_the_longest_unread_is_removed_where_layouts_grow_too_large(world: World) -> None:
    world.join(["newest.amount"])
    (shops,) = world.segments()
    world.join(BY_CUSTOMER)
    (customers,) = (segment for segment in world.segments() if segment.name != shops.name)
    assert remove_unread(world.folder, customers.size_bytes()) == [], "a reader may be at it still"
    _unread(world, shops, layout_segments.SPARED_S + 60)
    assert remove_unread(world.folder, customers.size_bytes()) == [shops.name]
    assert [segment.name for segment in world.segments()] == [customers.name]


def _unread(world: World, segment: Segment, for_s: float) -> None:
    manifest = world.folder / segment.name / layout_segments.MANIFEST
    moment_s = manifest.stat().st_mtime - for_s
    os.utime(manifest, (moment_s, moment_s))


@pytest.mark.parametrize("options", ["size=16k", "ro"])
def test_a_disk_without_room_or_leave_to_write_costs_time_only(world: World, options: str) -> None:
    """The disk of the layouts alone is full, or read-only."""
    world.folder.parent.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", world.folder.parent], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not permitted: run as root with CAP_SYS_ADMIN")
    try:
        world.check(BY_CUSTOMER)
        assert world.segments() == []
        assert [path for path in world.folder.parent.rglob("*") if path != world.folder] == []
    finally:
        subprocess.run(["umount", world.folder.parent], check=True)


def test_buckets_fit_a_worker_also_when_the_table_has_grown_or_less_is_asked_for(world: World) -> None:
    layout = entity_layout(world.app, world.app.get(FeatureView, "pair"), None, world.tables, 0, 100)
    assert layout is not None
    assert layout.segments[0].buckets == 8
    smaller = entity_layout(world.app, world.app.get(FeatureView, "pair"), None, world.tables, 0, 20)
    assert smaller is not None
    assert smaller.segments[0].buckets == 40
    assert smaller.bucket_rows().sum() == layout.bucket_rows().sum() == 400
    assert list(bucket_groups([30, 40, 30, 90, 200, 5, 5], 100)) == [[0, 1, 2], [3], [4], [5, 6]]
    world.check(["pair.rows"], rows=20)


def test_materialized_rows_are_the_same_with_a_layout(world: World) -> None:
    from gnomon.features.distributed_join import compute_entities, shuffle_events

    world.append(more(40, 7, world.rows[0]))
    view, at_us = world.app.get(FeatureView, "sums"), 250 * S
    how = (world.app.as_json(), "sums", at_us, 100)
    pieces = shuffle_events(world.app, view, None, world.tables, 1, 2, 100)
    import ray

    expected = pa.concat_tables([_partition_rows(how, *ray.get(list(parts))) for parts in pieces]).sort_by("c")
    for damage in (False, False, True):
        if damage:
            _flip(next((world.folder / world.segments()[0].name).glob("rows-*.parquet")))
        tables = list(compute_entities(world.app, view, world.tables, 1, 100, _partition_rows, how))
        assert pa.concat_tables(tables).sort_by("c").equals(expected)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[list[dict[str, Any]], list[int]]]:
    """Batches of rows, each with the versions that are asked for after it; -1 is the newest."""
    batches: list[tuple[list[dict[str, Any]], list[int]]] = []
    ids = [f"e{i}" for i in range(draw(st.sampled_from([3, 12, 60])))]
    seconds = st.integers(0, draw(st.sampled_from([1, 3, 12]))).map(lambda s: s * S)
    stored = st.integers(0, draw(st.sampled_from([0, 2])))
    row = st.fixed_dictionaries({
        "c": st.sampled_from([None, 1, 2, 3, 4, 2**53, 2**53 + 1]), "shop": st.sampled_from([None, "a", "b"]),
        "amount": st.sampled_from([None, 1, 5, 2**53 + 1]), EVENT_TIME: seconds, KNOWN_TIME: seconds,
        INGESTED_AT: stored, EVENT_ID: st.sampled_from(ids),
    })  # fmt: skip
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.lists(row, min_size=1, max_size=draw(st.sampled_from([2, 10, 40]))))
        for i, each in enumerate(rows):
            each[DIGEST] = f"{(i * 7919 + len(batches) * 31) % 97:08x}{len(batches):08x}{i:016x}"
        batches.append((rows, draw(st.lists(st.integers(-1, len(batches)), max_size=2))))
    return batches


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=histories(), seed=st.integers(0, 5))
def test_any_history_gives_the_bytes_of_the_shuffle_and_of_brute_force(
    batches: list[tuple[list[dict[str, Any]], list[int]]], seed: int, tmp_path_factory: pytest.TempPathFactory,
    ray_cluster: Any,
) -> None:  # fmt: skip
    world = World(tmp_path_factory.mktemp("world"))
    world.asked = [asked | {REQUEST_TIME: asked[REQUEST_TIME] % (15 * S)} for asked in label_requests(30, seed)]
    for rows, versions in batches:
        world.append(rows)
        for version in versions:
            world.check(BY_CUSTOMER, version=version, rows=16)
            world.check(["newest.amount"], version=version, rows=16)
    world.check(rows=16)
    view, names = world.app.get(FeatureView, "sums"), ["total", "rows"]
    how = (world.app.as_json(), "sums", names, None, CHUNK_PAIRS, 16)
    asked, version = requests_table(world.asked).select(["c", REQUEST_TIME]), len(batches) - 1
    shuffled = _join_shuffled(world.app, view, names, world.tables, version, asked, how)
    assert shuffled.rename_columns(list(BY_CUSTOMER)).equals(world.join(BY_CUSTOMER, rows=16))
    ids = pa.concat_tables(
        pq.read_table(path, columns=[EVENT_ID]) for path in world.folder.glob("*/rows-*.parquet")
    ) if world.folder.is_dir() else pa.table({EVENT_ID: pa.array([], pa.string())})  # fmt: skip
    assert set(pc.unique(ids[EVENT_ID]).to_pylist()) <= {row[EVENT_ID] for rows, _ in batches for row in rows}
