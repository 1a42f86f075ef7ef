"""ArtifactFolder, the artifact store: immutable files in a local folder, each named by its SHA-256.

Given by the composition root to the registry, training sets and app code. Content lies under `objects/`, the manifests
of folders under `manifests/`, and `folders/` holds hard links for readers, which can be rebuilt at any time. Nothing is
ever unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from gnomon.errors import CorruptData, InvalidInput, NotFound
from gnomon.storage.durable_files import (
    disk_errors,
    is_older,
    make_folder,
    publish,
    remove_temporary_files,
    sync_folder,
    temporary,
)  # fmt: skip

Manifest = dict[str, tuple[str, int]]
"""Digest and size in bytes by relative path, with `/` on every system."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_READ_ONLY = 0o444
_CHUNK_BYTES = 1 << 20


class ArtifactFolder:
    """Implements `contracts.artifact_store.ArtifactStore`; safe for threads and processes, and it can be pickled.

    Args:
        root: Folder of the store; created on the first write.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root).absolute()

    def put_bytes(self, content: bytes) -> str:
        """Store bytes; return their digest. What is damaged in the store is replaced by the content given."""
        return self._put("objects", [content])[0]

    def put_folder(self, folder: Path) -> str:
        """Store all regular files below a folder; return the manifest's digest. Empty folders are not kept.

        Args:
            folder: Where the files lie; it is left as it is.

        Returns:
            64 hex digits.

        Raises:
            NotFound: There is no such folder.
            InvalidInput: It holds a symbolic link, a device, or a name that is not UTF-8.
            OutOfSpace: The disk is full; nothing is visible.
        """
        folder = Path(folder)
        if folder.is_symlink() or not folder.is_dir():
            raise NotFound(f"there is no folder {folder}", "give a folder, not a file or a symbolic link")
        files = sorted(_regular_files(folder))
        manifest = {path.relative_to(folder).as_posix(): self._put("objects", _chunks(path)) for path in files}
        content = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return self._put("manifests", [content.encode()])[0]

    def get_bytes(self, digest: str) -> bytes:
        """Return the bytes, verified against the digest; see the port."""
        return self._get("objects", digest)

    def get_folder(self, digest: str) -> Path:
        """Return a local folder with the files, each verified now; read-only, shared between callers.

        Args:
            digest: What `put_folder` returned.

        Returns:
            Absolute path; it stays until the store is removed.

        Raises:
            NotFound: Nothing has that digest.
            CorruptData: A file does not match the manifest.
            OutOfSpace: The disk is full; the folder was not made.
        """
        manifest = _parse_manifest(self._get("manifests", digest), digest)
        folder = self._root / "folders" / digest
        if folder.is_dir() and not _matches(folder, manifest):
            self._discard(folder)
        if not folder.is_dir():
            self._assemble(folder, manifest)
        return folder

    def remove_leftovers(self, older_than_s: float) -> int:
        """Remove what killed writers left, if older than `older_than_s` seconds; return how many things went."""
        staging = self._root / "staging"
        folders = [path for path in staging.glob("folder-*") if is_older(path, older_than_s)]
        for path in folders:
            shutil.rmtree(path, ignore_errors=True)
        return len(folders) + remove_temporary_files(staging, older_than_s)

    def _path(self, kind: str, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput(f"'{digest}' is no digest", "a digest is 64 hexadecimal digits in lower case")
        return self._root / kind / digest[:2] / digest[2:]

    def _put(self, kind: str, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Store content and return digest and size; what was written is hashed, so a changing source does no harm."""
        make_folder(self._root / "staging")
        with temporary(self._root / "staging" / kind) as temp:
            hasher, size_bytes = hashlib.sha256(), 0
            with temp.open("wb") as sink:
                for chunk in chunks:
                    hasher.update(chunk)
                    size_bytes += len(chunk)
                    sink.write(chunk)
            digest = hasher.hexdigest()
            final = self._path(kind, digest)
            make_folder(final.parent)
            if _digest_of(final) == digest:
                sync_folder(final.parent)
            else:
                temp.chmod(_READ_ONLY)
                publish(temp, final)
        return digest, size_bytes

    def _get(self, kind: str, digest: str) -> bytes:
        path = self._path(kind, digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            hint = "list what the registry names, or put the content again"
            raise NotFound(f"nothing has the digest {digest}", hint, {"digest": digest}) from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise _damaged(path, digest)
        return content

    def _assemble(self, folder: Path, manifest: Manifest) -> None:
        """Make the folder out of hard links in one step; of several processes the first one's stays."""
        building = self._root / "staging" / f"folder-{uuid.uuid4().hex}"
        try:
            with disk_errors(folder):
                building.mkdir(parents=True)
                for name, (digest, _) in manifest.items():
                    source = self._path("objects", digest)
                    if _digest_of(source) != digest:
                        raise _damaged(source, digest)
                    (building / name).parent.mkdir(parents=True, exist_ok=True)
                    _link_or_copy(source, building / name)
                folder.parent.mkdir(exist_ok=True)
                _rename_unless_taken(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def _discard(self, folder: Path) -> None:
        """Take away a folder that no longer matches; who has its files open keeps them."""
        doomed = self._root / "staging" / f"folder-{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _chunks(path: Path) -> Iterator[bytes]:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            yield chunk


def _digest_of(path: Path) -> str | None:
    """Return the digest of a file's content; None where there is no such regular file."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def _damaged(path: Path, digest: str) -> CorruptData:
    hint = "put the same content again, which replaces it, or restore the file from a backup"
    found = "is damaged" if path.exists() else "is gone"
    return CorruptData(f"artifact {path} {found}: it does not match its digest", hint, {"digest": digest})


def _regular_files(folder: Path) -> list[Path]:
    """Return all regular files below a folder; anything else there, and a name that is not UTF-8, is refused."""
    files: list[Path] = []
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            files.append(path)
        elif not stat.S_ISDIR(mode):
            what = "a symbolic link" if stat.S_ISLNK(mode) else "not a regular file"
            raise InvalidInput(f"{str(path)!r} is {what}", "put the file itself there")
        try:
            path.name.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"the name {path.name!r} is not UTF-8", "rename the file") from None
    return files


def _parse_manifest(content: bytes, digest: str) -> Manifest:
    """Return the manifest, refusing names that lead out of the folder: the one who stored it may have meant harm."""
    manifest: Manifest = {name: (part, size) for name, (part, size) in json.loads(content).items()}
    for name in manifest:
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or path.as_posix() != name:
            raise CorruptData(f"manifest {digest} names '{name}', which leads out of the folder", "do not use it")
    return manifest


def _matches(folder: Path, manifest: Manifest) -> bool:
    """Tell whether the folder holds exactly the files of the manifest."""
    names = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()
    }
    return names == set(manifest) and all(_digest_of(folder / name) == digest for name, (digest, _) in manifest.items())


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.EXDEV):
            raise
        shutil.copyfile(source, target)
        target.chmod(_READ_ONLY)


def _rename_unless_taken(building: Path, folder: Path) -> None:
    try:
        building.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
