"""Tests of `storage.artifacts` beyond the port's contract."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from gnomon.errors import CorruptData
from gnomon.storage.artifacts import ArtifactFolder
from gnomon.testing.artifact_store_contract import read_files, write_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def store(root: Path) -> ArtifactFolder:
    return ArtifactFolder(root)


def _object(root: Path, content: bytes) -> Path:
    digest = hashlib.sha256(content).hexdigest()
    return root / "objects" / digest[:2] / digest[2:]


def _damage(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"tampered")


def test_damaged_bytes_are_told_and_healed_by_the_next_put(store: ArtifactFolder, root: Path) -> None:
    digest = store.put_bytes(b"model")
    _damage(_object(root, b"model"))
    with pytest.raises(CorruptData, match=digest[2:]):
        store.get_bytes(digest)
    assert store.put_bytes(b"model") == digest
    assert store.get_bytes(digest) == b"model"


@pytest.mark.parametrize("assembled_before", [True, False])
def test_a_damaged_file_of_a_folder_is_told_and_healed(
    store: ArtifactFolder, root: Path, tmp_path: Path, assembled_before: bool
) -> None:
    source = write_files(tmp_path / "model", {"a": b"1", "b": b"2"})
    digest = store.put_folder(source)
    if assembled_before:
        store.get_folder(digest)
    _damage(_object(root, b"2"))
    with pytest.raises(CorruptData, match="is damaged"):
        store.get_folder(digest)
    store.put_folder(source)
    assert read_files(store.get_folder(digest)) == {"a": b"1", "b": b"2"}


def test_a_lost_file_of_a_folder_is_told(store: ArtifactFolder, root: Path, tmp_path: Path) -> None:
    digest = store.put_folder(write_files(tmp_path / "model", {"a": b"1"}))
    _object(root, b"1").unlink()
    with pytest.raises(CorruptData, match="is gone"):
        store.get_folder(digest)


def test_a_folder_that_someone_changed_is_made_anew(store: ArtifactFolder, tmp_path: Path) -> None:
    files = {"a": b"1", "b/c": b"2"}
    digest = store.put_folder(write_files(tmp_path / "model", files))
    folder = store.get_folder(digest)
    (folder / "extra").write_bytes(b"3")
    (folder / "a").unlink()
    (folder / "a").symlink_to("/etc/hostname")
    assert read_files(store.get_folder(digest)) == files
    assert not (folder / "a").is_symlink()


@pytest.mark.parametrize("name", ["../up", "/etc/x", "a/../../b", "", "a//b", "./a"])
def test_a_manifest_that_leads_out_of_the_folder_is_refused(store: ArtifactFolder, root: Path, name: str) -> None:
    part = store.put_bytes(b"1")
    content = json.dumps({name: [part, 1]}).encode()
    digest = hashlib.sha256(content).hexdigest()
    write_files(root / "manifests", {f"{digest[:2]}/{digest[2:]}": content})
    with pytest.raises(CorruptData, match="leads out of the folder"):
        store.get_folder(digest)


def test_a_put_leaves_no_temporary_files(store: ArtifactFolder, root: Path, tmp_path: Path) -> None:
    store.get_folder(store.put_folder(write_files(tmp_path / "model", {"a": b"1", "b": b"1"})))
    store.put_bytes(b"1")
    assert not list((root / "staging").iterdir())
    assert len([path for path in (root / "objects").rglob("*") if path.is_file()]) == 1


def test_leftovers_of_killed_writers_are_removed_by_age(store: ArtifactFolder, root: Path) -> None:
    store.put_bytes(b"1")
    (root / "staging" / ".objects.1.tmp").write_bytes(b"half")
    (root / "staging" / "folder-1").mkdir()
    (root / "staging" / "folder-1" / "a").write_bytes(b"half")
    assert store.remove_leftovers(older_than_s=3600) == 0
    assert store.remove_leftovers(older_than_s=-1) == 2
    assert not list((root / "staging").iterdir())


def test_the_store_travels_to_other_processes(store: ArtifactFolder) -> None:
    digest = store.put_bytes(b"1")
    assert pickle.loads(pickle.dumps(store)).get_bytes(digest) == b"1"
