"""Tests of `storage.delta_tables`, `delta_log`, `delta_files` and `delta_checkpoints` beyond the port's contract."""

import json
import os
from pathlib import Path

import pytest

from gnomon.errors import Conflict, CorruptData, InvalidInput
from gnomon.storage.delta_log import CHECKPOINT_EVERY
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.offline_store_contract import event_rows, event_times_us


@pytest.fixture
def store(tmp_path: Path) -> DeltaTables:
    return DeltaTables(tmp_path)


@pytest.fixture
def long_table(store: DeltaTables, tmp_path: Path) -> Path:
    """A table with one checkpoint, and commits after it."""
    for number in range(CHECKPOINT_EVERY + 3):
        store.append("payments", event_rows([number]), f"b{number}")
    return tmp_path / "payments"


def _age(path: Path, age_s: float) -> None:
    moment_s = path.stat().st_mtime - age_s
    os.utime(path, (moment_s, moment_s))


def test_a_checkpoint_holds_files_batches_and_schema(long_table: Path) -> None:
    log = long_table / "_delta_log"
    (log / f"{5:020d}.json").rename(long_table.parent / "hidden")
    store = DeltaTables(long_table.parent)
    assert store.version("payments") == CHECKPOINT_EVERY + 2
    assert store.contains("payments", "b5")
    assert event_times_us(store.read("payments")) == list(range(CHECKPOINT_EVERY + 3))


def test_states_before_the_checkpoint_are_replayed(long_table: Path) -> None:
    store = DeltaTables(long_table.parent)
    assert event_times_us(store.read("payments", version=5)) == list(range(6))
    assert store.read("payments").num_rows == CHECKPOINT_EVERY + 3


@pytest.mark.parametrize("damaged", ["_last_checkpoint", f"{CHECKPOINT_EVERY:020d}.checkpoint.parquet"])
@pytest.mark.parametrize("content", [b"", b'{"version": 1', b"\0" * 100])
def test_a_damaged_checkpoint_costs_only_time(long_table: Path, damaged: str, content: bytes) -> None:
    (long_table / "_delta_log" / damaged).write_bytes(content)
    store = DeltaTables(long_table.parent)
    assert store.read("payments").num_rows == CHECKPOINT_EVERY + 3
    assert store.append("payments", event_rows([5]), "b5").repeated


def test_a_damaged_log_file_is_named(store: DeltaTables, tmp_path: Path) -> None:
    store.append("payments", event_rows([1]), "b1")
    path = tmp_path / "payments" / "_delta_log" / f"{1:020d}.json"
    path.write_text('{"add": {')
    with pytest.raises(CorruptData, match=path.name):
        store.read("payments")


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    """Flip one bit in the first data page, after Parquet's magic and the page header."""
    return content[:60] + bytes([content[60] ^ 1]) + content[61:]


@pytest.mark.parametrize("damage", [_cut, _flip, lambda _: b"", lambda _: b"no parquet"])
def test_a_damaged_data_file_is_named(store: DeltaTables, damage: object) -> None:
    store.append("payments", event_rows([1], a=[1]), "b1")
    store.append("payments", event_rows(range(1000, 9000), a=list(range(8000))), "b2")
    (path,) = (Path(name) for name in store.files("payments", after_us=1))
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(CorruptData, match=path.name):
        store.read("payments")
    assert store.read("payments", until_us=1).num_rows == 1


def test_a_lost_data_file_is_named(store: DeltaTables) -> None:
    store.append("payments", event_rows([1]), "b1")
    (path,) = store.files("payments")
    Path(path).unlink()
    with pytest.raises(CorruptData, match=Path(path).name):
        store.read("payments")


def test_staged_files_of_another_shape_are_refused(store: DeltaTables, tmp_path: Path) -> None:
    staged = store.stage("payments", event_rows([1]))
    schema = event_rows([]).schema
    for path in ("../other/part.parquet", str(tmp_path / "payments" / staged.path), "_delta_log/x"):
        with pytest.raises(InvalidInput, match="was not staged"):
            store.commit("payments", schema, [type(staged)(path, 1, 1, 1, 1)], "b1")
    (tmp_path / "payments" / staged.path).unlink()
    with pytest.raises(Conflict, match="is gone"):
        store.commit("payments", schema, [staged], "b1")
    assert store.version("payments") == -1


def test_refused_and_repeated_appends_leave_no_files(store: DeltaTables, tmp_path: Path) -> None:
    store.append("payments", event_rows([1], a=[1]), "b1")
    before = sorted(tmp_path.rglob("*"))
    store.append("payments", event_rows([1], a=[1]), "b1")
    with pytest.raises(InvalidInput):
        store.append("payments", event_rows([1], a=["x"]), "b2")
    with pytest.raises(Conflict):
        store.append("payments", event_rows([1], a=[1]), "b3", expected_version=7)
    assert sorted(tmp_path.rglob("*")) == before


def test_orphans_are_removed_and_nothing_else(store: DeltaTables, tmp_path: Path) -> None:
    folder = tmp_path / "payments"
    store.append("payments", event_rows([1]), "b1")
    old, young = (store.stage("payments", event_rows([2])) for _ in range(2))
    torn = folder / ".part-x.parquet.1.tmp"
    torn.write_bytes(b"PAR1")
    torn_commit = folder / "_delta_log" / f".{1:020d}.json.1.tmp"
    torn_commit.write_bytes(b'{"add"')
    for path in (folder / old.path, torn, torn_commit, Path(store.files("payments")[0])):
        _age(path, 7200)
    assert store.version("payments") == 0
    assert store.remove_orphans("payments", older_than_s=3600) == 3
    assert [path.name for path in folder.glob("*.parquet") if path.name == young.path] == [young.path]
    assert store.read("payments").num_rows == 1
    store.commit("payments", event_rows([]).schema, [young], "b2")
    assert store.read("payments").num_rows == 2


def test_orphans_of_a_table_with_checkpoints_are_told_from_its_files(long_table: Path) -> None:
    store = DeltaTables(long_table.parent)
    for path in long_table.glob("*.parquet"):
        _age(path, 7200)
    assert store.remove_orphans("payments", older_than_s=3600) == 0
    assert store.read("payments").num_rows == CHECKPOINT_EVERY + 3


def test_a_table_of_a_newer_protocol_is_refused(store: DeltaTables, tmp_path: Path) -> None:
    store.append("payments", event_rows([1]), "b1")
    raised = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"]}}
    (tmp_path / "payments" / "_delta_log" / f"{1:020d}.json").write_text(json.dumps(raised))
    with pytest.raises(Conflict, match="reader version 3"):
        store.read("payments")


def test_statistics_cut_to_milliseconds_or_missing_prune_nothing_wrongly(store: DeltaTables, tmp_path: Path) -> None:
    store.append("payments", event_rows([1_000_999]), "b1")
    first = tmp_path / "payments" / "_delta_log" / f"{0:020d}.json"
    text = first.read_text()
    first.write_text(text.replace("01.000999Z", "01.000Z"))
    assert DeltaTables(tmp_path).read("payments", after_us=1_000_500).num_rows == 1
    first.write_text("\n".join(
        json.dumps({"add": {**action["add"], "stats": None}} if "add" in action else action)
        for action in map(json.loads, text.splitlines())
    ))  # fmt: skip
    assert DeltaTables(tmp_path).read("payments", after_us=1_000_998).num_rows == 1


@pytest.mark.parametrize("moment_us", [-62_135_596_800_000_000, -1, 0, 253_402_300_799_999_999])
def test_extreme_event_times_are_found(tmp_path: Path, moment_us: int) -> None:
    DeltaTables(tmp_path).append("payments", event_rows([moment_us]), "b1")
    found = DeltaTables(tmp_path).read("payments", after_us=moment_us - 1, until_us=moment_us)
    assert event_times_us(found) == [moment_us]
    assert DeltaTables(tmp_path).files("payments", after_us=moment_us) == []


def test_a_folder_without_commits_is_no_table(store: DeltaTables, tmp_path: Path) -> None:
    store.stage("payments", event_rows([1]))
    (tmp_path / "lost+found").mkdir()
    assert store.tables() == []
    assert store.version("payments") == -1
