"""Writes that survive a power cut: content before its name, the name before the acknowledgement.

Used by `storage.delta_log`, `storage.delta_tables` and `storage.artifacts` for every byte that they promise to keep.
A file is written beside its final name, fsynced, given the name in one step, and its folder is fsynced. A crash leaves
at most a file whose name begins with `.` and ends with `.tmp`.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.errors import Forbidden, OutOfSpace, Unavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EROFS)
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into the error that says so; other system errors pass through.

    Args:
        path: What is being written, for the message.

    Yields:
        None: The body does the writing.

    Raises:
        OutOfSpace: The file system that holds `path` is full, or its quota is used up.
        Forbidden: This process may not write there.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            hint = "free space on that disk, then repeat; repeating is safe"
            raise OutOfSpace(f"the disk that holds {path} is full", hint, {"path": str(path)}) from error
        if error.errno in _REFUSED:
            hint = "give this user permission to write there, or choose another folder"
            raise Forbidden(f"{path} cannot be written: {os.strerror(error.errno)}", hint) from error
        raise


def sync_file(path: Path) -> None:
    """Force the content of a file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Force the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Create a folder and those above it, durably.

    The folder above is synced even where the folder exists: the process that created it may not have come that far.
    """
    with disk_errors(path):
        if not path.parent.exists():
            make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


@contextmanager
def temporary(final: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a name for a file that is to become `final`; on leaving, what still lies under that name is removed.

    Args:
        final: Where the file will lie.
        folder: Where the temporary file lies, on the same file system; the folder of `final` when left out.

    Yields:
        Path: The temporary name; nothing lies there yet.

    Raises:
        OutOfSpace: The body met a full disk.
        Forbidden: The body may not write there.
    """
    temp = (folder or final.parent) / f".{final.name}.{uuid.uuid4().hex}.tmp"
    try:
        with disk_errors(final):
            yield temp
    finally:
        temp.unlink(missing_ok=True)


def publish(temp: Path, final: Path) -> None:
    """Make the finished file `temp` appear as `final`, whole and durable; replaces what has that name."""
    sync_file(temp)
    temp.replace(final)
    sync_folder(final.parent)


def write_file(final: Path, content: bytes) -> None:
    """Write `final` whole and durably; replaces what has that name."""
    with temporary(final) as temp:
        temp.write_bytes(content)
        publish(temp, final)


def write_once(final: Path, content: bytes) -> bool:
    """Write `final` whole and durably unless the name is taken; of several writers exactly one succeeds.

    Args:
        final: Where the file will lie; its folder exists.
        content: All of its bytes.

    Returns:
        False where the name was taken; nothing is changed then. An error after the name was given, such as a failing
        disk, passes through as OSError, never as OutOfSpace: readers may have seen the file already.

    Raises:
        OutOfSpace: The disk is full; the name was not given.
        Unavailable: The file system has no hard links.
    """
    with temporary(final) as temp:
        temp.write_bytes(content)
        sync_file(temp)
        try:
            os.link(temp, final)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in _NO_LINKS:
                hint = "use a local file system with hard links, such as ext4 or xfs"
                raise Unavailable(f"the file system that holds {final.parent} has no hard links", hint) from error
            raise
    sync_folder(final.parent)
    return True


def is_older(path: Path, than_s: float) -> bool:
    """Tell whether a file was last written more than `than_s` seconds ago, by the clock that stamps files."""
    try:
        return time.time() - path.stat().st_mtime > than_s
    except FileNotFoundError:
        return False


def remove_temporary_files(folder: Path, older_than_s: float) -> int:
    """Remove what killed writers left in a folder; return how many files went."""
    stale = [path for path in folder.glob(".*.tmp") if is_older(path, older_than_s)]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)
