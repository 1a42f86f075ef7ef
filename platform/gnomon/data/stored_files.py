"""A source's file, on a file system or in an object store, and whether it is still the same.

Called by whatever opens files of sources. A file is known by its text, a path or a URL, so that other processes can
open it; everything else is written once for both kinds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.contracts.object_urls import is_object_url, parse_object_url
from gnomon.data.object_files import ObjectFile, changed
from gnomon.errors import NotFound

SourceFile = Path | ObjectFile
"""Both have `open("rb")`, `read_bytes()` and a text."""

Stamp = tuple[int, int | str]
"""Size in bytes, and time of modification in nanoseconds or ETag."""


def file_at(place: str) -> SourceFile:
    """Return the file at a path, or at a URL that was checked when its source was defined."""
    return ObjectFile(parse_object_url(place)) if is_object_url(place) else Path(place)


def stamp_of(file: SourceFile) -> Stamp:
    """Return what changes when the file does; of an object, as it was when it was first opened."""
    if isinstance(file, ObjectFile):
        return file.stamp
    status = file.stat()
    return status.st_size, status.st_mtime_ns


@contextmanager
def held_still(file: SourceFile, stamp: Stamp | None = None) -> Iterator[Stamp]:
    """Refuse what the body made of a file, be it a result or an error, where the file was written to meanwhile.

    Args:
        file: The file.
        stamp: What it was when it was scanned; with it, a file that has changed before is not read either.

    Yields:
        Stamp: The file's.

    Raises:
        InvalidInput: The file is gone, or its stamp is another.
    """
    try:
        before = stamp_of(file)
    except (FileNotFoundError, NotFound):
        raise changed(file) from None
    if stamp is not None and before != stamp:
        raise changed(file)
    try:
        yield before
    finally:
        if isinstance(file, ObjectFile):
            file.release()
        try:
            after: Stamp | None = stamp_of(file)
        except (FileNotFoundError, NotFound):
            after = None
        if isinstance(file, ObjectFile):
            file.release()
        if after != before:
            raise changed(file)


def identity_of(file: ObjectFile) -> str:
    """Return a fingerprint of an object that needs none of its bytes: another for other contents, and for another name.

    An ETag is a digest of the contents only in some stores and of some objects, and so the name is part of it.
    """
    return hashlib.sha256(f"{file}\n{file.stamp}".encode()).hexdigest()
