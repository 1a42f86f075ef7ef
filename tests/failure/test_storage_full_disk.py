"""A disk that fills up at every step: nothing half-written is seen, and the same call works once there is room."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnomon.errors import OutOfSpace
from gnomon.storage.artifacts import ArtifactFolder
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.artifact_store_contract import read_files, write_files
from gnomon.testing.numbered_batches import BATCH_ROWS, TABLE, batch_rows

pytestmark = pytest.mark.failure

PAGE_BYTES = 4096


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB and 400 files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=400", "none", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not permitted: run as root with CAP_SYS_ADMIN")
    yield disk
    subprocess.run(["umount", disk], check=True)


def _leave_pages(disk: Path, pages: int) -> None:
    """Fill the disk except for so many pages."""
    filled_bytes = 0
    with (disk / "filler").open("wb", buffering=0) as filler:
        with contextlib.suppress(OSError):
            while True:
                filled_bytes += filler.write(bytes(PAGE_BYTES))
        filler.truncate(max(0, filled_bytes - pages * PAGE_BYTES))


def _leave_names(disk: Path, names: int) -> None:
    """Use up the disk's files except for so many."""
    (disk / "names").mkdir()
    made = []
    try:
        for number in range(10_000):
            made.append(disk / "names" / str(number))
            made[-1].touch()
    except OSError:
        made.pop()
    for path in made[len(made) - names :]:
        path.unlink()


def _empty(disk: Path) -> None:
    subprocess.run(["rm", "-rf", disk / "filler", disk / "names"], check=True)


@pytest.mark.parametrize("leave", [_leave_pages, _leave_names])
@pytest.mark.parametrize("table_exists", [True, False], ids=["existing table", "new table"])
def test_an_append_succeeds_or_leaves_nothing(small_disk: Path, leave: object, table_exists: bool) -> None:
    refused = 0
    for room in range(12):
        root = small_disk / f"root{room}"
        if table_exists:
            DeltaTables(root).append(TABLE, batch_rows(0), "batch 0")
        before = DeltaTables(root).version(TABLE)
        leave(small_disk, room)  # type: ignore[operator]
        try:
            DeltaTables(root).append(TABLE, batch_rows(1), "batch 1")
        except OutOfSpace:
            refused += 1
            assert DeltaTables(root).version(TABLE) == before
            assert len([path for path in root.rglob("*") if path.is_file()]) == 2 * table_exists
        else:
            assert DeltaTables(root).contains(TABLE, "batch 1")
        _empty(small_disk)
        DeltaTables(root).append(TABLE, batch_rows(1), "batch 1")
        assert DeltaTables(root).read(TABLE).num_rows == (1 + table_exists) * BATCH_ROWS
        subprocess.run(["rm", "-rf", root], check=True)
    assert 2 <= refused <= 11


@pytest.mark.parametrize("leave", [_leave_pages, _leave_names])
def test_a_put_succeeds_or_leaves_nothing(small_disk: Path, tmp_path: Path, leave: object) -> None:
    files = {"config.json": b"{}", "weights": bytes(6 * PAGE_BYTES), "more/weights": b"1" * PAGE_BYTES}
    folder = write_files(tmp_path / "model", files)
    refused = 0
    for room in range(0, 24, 2):
        root = small_disk / f"root{room}"
        leave(small_disk, room)  # type: ignore[operator]
        try:
            ArtifactFolder(root).get_folder(ArtifactFolder(root).put_folder(folder))
        except OutOfSpace:
            refused += 1
            assert not (root / "staging").is_dir() or not list((root / "staging").iterdir())
        _empty(small_disk)
        store = ArtifactFolder(root)
        assert read_files(store.get_folder(store.put_folder(folder))) == files
        subprocess.run(["rm", "-rf", root], check=True)
    assert 2 <= refused <= 11


def test_a_full_disk_during_a_checkpoint_is_no_error(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gnomon.storage.delta_log.CHECKPOINT_EVERY", 1)
    DeltaTables(small_disk).append(TABLE, batch_rows(0), "batch 0")
    pages = 1
    while True:
        _leave_pages(small_disk, pages)
        try:
            DeltaTables(small_disk).append(TABLE, batch_rows(1), "batch 1")
        except OutOfSpace:
            pages += 1
        else:
            break
        finally:
            _empty(small_disk)
    assert not list((small_disk / TABLE / "_delta_log").glob("*.checkpoint.parquet"))
    assert DeltaTables(small_disk).read(TABLE).num_rows == 2 * BATCH_ROWS
