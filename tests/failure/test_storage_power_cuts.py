"""Power cuts at every step: what was acknowledged is there, and what is there can be read.

First on a simulated disk, the worst that POSIX allows, which needs no rights; then on a real ext4 file system whose
device is copied while the writer stands still, which needs root.
"""

import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import deltalake
import pytest

from gnomon.errors import CorruptData
from gnomon.storage.artifacts import ArtifactFolder
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.artifact_store_contract import read_files, write_files
from gnomon.testing.numbered_batches import BATCH_ROWS, TABLE, batch_rows

pytestmark = pytest.mark.failure

WRITER = [sys.executable, "-m", "gnomon.testing.numbered_batches", "gnomon.storage.delta_tables:DeltaTables"]
CUTS = 12


class WorstDisk:
    """Follows fsync, link and rename, and says what a power cut would leave at that moment.

    Content is kept only as of the last fsync of the file. Names are kept in two extremes, between which a real disk
    lies: only those of the last fsync of their folder, or all of them at once.
    """

    def __init__(self, folder: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._images = images
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {folder.stat().st_ino: {}}
        self._folders: set[int] = {folder.stat().st_ino}
        self.events = 0
        self.on_event: Callable[[Path], None] = lambda image: None
        for name in ("fsync", "link", "replace"):
            monkeypatch.setattr(os, name, self._followed(getattr(os, name), name))

    def _followed(self, call: Callable[..., object], name: str) -> Callable[..., object]:
        def followed(*arguments: object, **options: object) -> object:
            self._cut()
            result = call(*arguments, **options)
            if name == "fsync":
                self._sync(arguments[0])
            self._cut()
            return result

        return followed

    def _sync(self, descriptor: object) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        inode = path.stat().st_ino
        if path.is_dir():
            self._names[inode] = {child.name: child.lstat().st_ino for child in path.iterdir()}
            self._folders.update(child.lstat().st_ino for child in path.iterdir() if child.is_dir())
        else:
            self._contents[inode] = path.read_bytes()

    def _cut(self) -> None:
        self.events += 1
        for build in (self._synced_names, self._all_names):
            image = self._images / f"{self.events}"
            image.mkdir(parents=True)
            build(image)
            self.on_event(image)
            shutil.rmtree(image)

    def _synced_names(self, image: Path) -> None:
        todo = [(self._folder.stat().st_ino, image)]
        while todo:
            inode, target = todo.pop()
            for name, child in self._names.get(inode, {}).items():
                if child in self._folders:
                    (target / name).mkdir()
                    todo.append((child, target / name))
                else:
                    (target / name).write_bytes(self._contents.get(child, b""))

    def _all_names(self, image: Path) -> None:
        for path in sorted(self._folder.rglob("*")):
            target = image / path.relative_to(self._folder)
            if stat.S_ISDIR(path.lstat().st_mode):
                target.mkdir()
            else:
                target.write_bytes(self._contents.get(path.lstat().st_ino, b""))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def worst_disk(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorstDisk:
    return WorstDisk(disk, tmp_path / "images", monkeypatch)


def _require_batches(root: Path, acknowledged: set[int], under_way: set[int]) -> None:
    """Fail unless the acknowledged batches are there, whole and once, and nothing but them and the one under way."""
    rows = DeltaTables(root).read(TABLE)["row"].to_pylist() if acknowledged or (root / TABLE).exists() else []
    batches = {row // BATCH_ROWS for row in rows}
    assert acknowledged <= batches <= acknowledged | under_way
    assert sorted(rows) == sorted(n * BATCH_ROWS + i for n in batches for i in range(BATCH_ROWS))
    if acknowledged:
        assert deltalake.DeltaTable(str(root / TABLE)).to_pyarrow_table().num_rows == len(rows)


def test_acknowledged_batches_survive_a_cut_at_every_step(
    disk: Path, worst_disk: WorstDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.storage.delta_log.CHECKPOINT_EVERY", 3)
    acknowledged: set[int] = set()
    under_way: set[int] = set()

    def require(image: Path) -> None:
        if DeltaTables(image / "offline").version(TABLE) < 0:
            assert not acknowledged
        else:
            _require_batches(image / "offline", acknowledged, under_way)

    worst_disk.on_event = require
    store = DeltaTables(disk / "offline")
    for number in range(6):
        under_way.add(number)
        store.append(TABLE, batch_rows(number), f"batch {number}")
        acknowledged.add(number)
    staged = [store.stage(TABLE, batch_rows(number)) for number in (6, 7)]
    under_way |= {6, 7}
    store.commit(TABLE, batch_rows(6).schema, staged, "batches 6 and 7")
    acknowledged |= {6, 7}
    store.append(TABLE, batch_rows(0), "batch 0")
    assert worst_disk.events >= 8 * 8


def test_the_commit_is_seen_with_the_link_and_not_before(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DeltaTables(disk)
    store.append(TABLE, batch_rows(0), "batch 0")
    link = os.link
    seen = []

    def followed(*arguments: Path) -> None:
        seen.append(DeltaTables(disk).read(TABLE).num_rows)
        link(*arguments)
        seen.append(DeltaTables(disk).read(TABLE).num_rows)

    monkeypatch.setattr(os, "link", followed)
    store.append(TABLE, batch_rows(1), "batch 1")
    assert seen == [BATCH_ROWS, 2 * BATCH_ROWS]


def test_acknowledged_artifacts_survive_a_cut_at_every_step(disk: Path, worst_disk: WorstDisk, tmp_path: Path) -> None:
    put: dict[str, dict[str, bytes]] = {}

    def require(image: Path) -> None:
        for digest, files in put.items():
            assert read_files(ArtifactFolder(image / "artifacts").get_folder(digest)) == files

    def calm(image: Path) -> None:
        worst_disk.on_event, waiting = lambda _: None, worst_disk.on_event
        require(image)
        worst_disk.on_event = waiting

    worst_disk.on_event = calm
    store = ArtifactFolder(disk / "artifacts")
    for number in range(3):
        files = {"config": b"{}", "weights": b"%d" % number * 5000}
        digest = store.put_folder(write_files(tmp_path / f"model{number}", files))
        put[digest] = files
        store.get_folder(digest)
    assert worst_disk.events >= 3 * 8


def test_the_simulated_disk_convicts_a_writer_that_does_not_sync(disk: Path, worst_disk: WorstDisk) -> None:
    deltalake.write_deltalake(str(disk / "offline" / TABLE), batch_rows(0))
    versions: list[int] = []
    worst_disk.on_event = lambda image: versions.append(_version_or_damaged(image / "offline"))
    DeltaTables(disk / "offline").append("refunds", batch_rows(0), "batch 0")
    assert set(versions) == {-1}


def _version_or_damaged(root: Path) -> int:
    try:
        return DeltaTables(root).version(TABLE)
    except CorruptData:
        return -1


@pytest.fixture
def ext4_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A mounted ext4 file system, and the file that is its device."""
    image, folder = tmp_path / "disk.img", tmp_path / "ext4"
    folder.mkdir()
    _make_ext4(image)
    if not _mount(image, folder):
        pytest.skip("mounting an ext4 image is not permitted: run as root with CAP_SYS_ADMIN and loop devices")
    yield folder, image
    subprocess.run(["umount", folder], check=True)


def _make_ext4(image: Path) -> None:
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed (package e2fsprogs)")
    with image.open("wb") as sink:
        sink.truncate(96 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)


def _mount(image: Path, folder: Path) -> bool:
    return subprocess.run(["mount", "-o", "loop,commit=60", image, folder], capture_output=True).returncode == 0


def _copy_standing_still(image: Path, copy: Path) -> None:
    """Copy the device; again if the kernel wrote to it meanwhile, for such a copy mixes two moments."""
    while True:
        before = image.stat()
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        after = image.stat()
        if (before.st_mtime_ns, before.st_blocks) == (after.st_mtime_ns, after.st_blocks):
            return


def test_acknowledged_batches_survive_on_a_copied_device(ext4_disk: tuple[Path, Path], tmp_path: Path) -> None:
    folder, image = ext4_disk
    moments = random.Random(12)
    acks = tmp_path / "acknowledged"
    checked = tmp_path / "checked"
    checked.mkdir()
    with acks.open("w") as sink:
        writer = subprocess.Popen([*WRITER, folder / "offline", "0", "1000000"], stdout=sink)
    try:
        for cut in range(CUTS):
            while len(acks.read_text().splitlines()) <= cut:
                time.sleep(0.05)
            time.sleep(moments.uniform(0, 0.2))
            writer.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
            acknowledged = {int(line.split()[0]) for line in acks.read_text().splitlines()}
            _copy_standing_still(image, tmp_path / "copy.img")
            writer.send_signal(signal.SIGCONT)
            assert _mount(tmp_path / "copy.img", checked)
            try:
                _require_batches(checked / "offline", acknowledged, {max(acknowledged) + 1})
            finally:
                subprocess.run(["umount", checked], check=True)
    finally:
        writer.kill()
        writer.wait()
