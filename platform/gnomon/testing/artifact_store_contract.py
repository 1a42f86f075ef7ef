"""What every ArtifactStore must do; run by `tests/contract/test_artifact_store.py` for each implementation.

Subclass `ArtifactStoreContract` and override the fixture `store`.
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gnomon.contracts.artifact_store import ArtifactStore
from gnomon.errors import InvalidInput, NotFound

ABSENT = "0" * 64


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files by relative path, and return the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class ArtifactStoreContract:
    """Bytes and folders by digest, sharing, refusals."""

    @pytest.fixture
    def store(self) -> ArtifactStore:
        """Return an empty store."""
        raise NotImplementedError

    @pytest.mark.parametrize("content", [b"", b"model", bytes(range(256)) * 20_000])
    def test_bytes_come_back_by_their_sha256(self, store: ArtifactStore, content: bytes) -> None:
        digest = store.put_bytes(content)
        assert digest == hashlib.sha256(content).hexdigest()
        assert store.put_bytes(content) == digest
        assert store.get_bytes(digest) == content

    def test_a_folder_comes_back_by_its_manifest(self, store: ArtifactStore, tmp_path: Path) -> None:
        files = {"config.json": b"{}", "weights/layer 1.safetensors": b"\0" * 70_000, "weights/ä": b"", "copy": b"{}"}
        digest = store.put_folder(write_files(tmp_path / "model", files))
        manifest = {name: [hashlib.sha256(content).hexdigest(), len(content)] for name, content in files.items()}
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert digest == hashlib.sha256(text.encode()).hexdigest()
        assert read_files(store.get_folder(digest)) == files
        assert store.get_folder(digest) == store.get_folder(digest)

    def test_equal_folders_have_one_digest(self, store: ArtifactStore, tmp_path: Path) -> None:
        one = write_files(tmp_path / "one", {"a": b"1", "b": b"2"})
        two = write_files(tmp_path / "two", {"b": b"2", "a": b"1"})
        other = write_files(tmp_path / "other", {"a": b"1", "c": b"2"})
        assert store.put_folder(one) == store.put_folder(two) != store.put_folder(other)

    def test_what_is_stored_does_not_follow_its_source(self, store: ArtifactStore, tmp_path: Path) -> None:
        folder = write_files(tmp_path / "model", {"a": b"before"})
        digest = store.put_folder(folder)
        (folder / "a").write_bytes(b"after")
        assert read_files(store.get_folder(digest)) == {"a": b"before"}

    def test_the_files_are_read_only(self, store: ArtifactStore, tmp_path: Path) -> None:
        folder = store.get_folder(store.put_folder(write_files(tmp_path / "model", {"a/b": b"1"})))
        assert (folder / "a/b").stat().st_mode & 0o222 == 0

    def test_absent_digests_are_not_found(self, store: ArtifactStore, tmp_path: Path) -> None:
        for get in (store.get_bytes, store.get_folder):
            with pytest.raises(NotFound, match=ABSENT):
                get(ABSENT)
        with pytest.raises(NotFound):
            store.get_folder(store.put_bytes(b'{"a": ["../b", 1]}'))

    @pytest.mark.parametrize("digest", ["", "abc", "../" * 21 + "a", "A" * 64, "0" * 63 + "\n", "0" * 65])
    def test_what_is_no_digest_is_refused(self, store: ArtifactStore, digest: str) -> None:
        for get in (store.get_bytes, store.get_folder):
            with pytest.raises(InvalidInput, match="is no digest"):
                get(digest)

    def test_links_and_devices_are_refused(self, store: ArtifactStore, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"key")
        linked = write_files(tmp_path / "linked", {"a": b"1"})
        (linked / "b").symlink_to(secret)
        with pytest.raises(InvalidInput, match="symbolic link"):
            store.put_folder(linked)
        piped = write_files(tmp_path / "piped", {"a": b"1"})
        os.mkfifo(piped / "p")
        with pytest.raises(InvalidInput, match="not a regular file"):
            store.put_folder(piped)
        (tmp_path / "folder link").symlink_to(piped)
        for wrong in (tmp_path / "folder link", secret, tmp_path / "absent"):
            with pytest.raises(NotFound, match=wrong.name):
                store.put_folder(wrong)

    def test_concurrent_puts_and_gets_of_one_content_agree(self, store: ArtifactStore, tmp_path: Path) -> None:
        files = {f"part{number}": bytes([number]) * 1000 for number in range(5)}
        folder = write_files(tmp_path / "model", files)
        with ThreadPoolExecutor(6) as pool:
            digests = set(pool.map(lambda _: store.put_folder(folder), range(12)))
            (digest,) = digests
            folders = set(pool.map(lambda _: store.get_folder(digest), range(12)))
        (found,) = folders
        assert read_files(found) == files
