"""Objects of an object store as files: found by pattern, told apart by their ETag, read by ranges.

Called by `stored_files` and `source_files`. An object is looked up once when it is first opened; every read names a
range and brings no more than is asked for, but for text that is read from its beginning to its end.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import PurePosixPath
from typing import Any, Self

from pyarrow import fs

from gnomon.contracts.object_urls import ObjectUrl
from gnomon.data.object_stores import STORE_ERRORS, failure, file_system, is_of_store, no_bucket
from gnomon.errors import GnomonError, InvalidInput

_FIRST_BYTES = 64 * 2**10
_AHEAD_BYTES = 8 * 2**20
_MAGIC = re.compile(r"[*?\[]")


class ObjectFile:
    """One object, with as much of a path's ways as reading needs.

    Args:
        url: Where it is.
    """

    def __init__(self, url: ObjectUrl) -> None:
        self.url = url
        self._native: Any = None
        self._window = (0, b"")

    def __str__(self) -> str:
        return str(self.url)

    @property
    def native(self) -> Any:
        """The object as Arrow's random-access file; opening it asks for size and ETag.

        Raises:
            NotFound: It is not there.
            InvalidInput: It may not be read.
            Unavailable: The store does not answer.
        """
        if self._native is None:
            try:
                self._native = file_system(self.url).open_input_file(self.url.path)
            except STORE_ERRORS as error:
                raise failure(self.url, error) from None
        return self._native

    def release(self) -> None:
        """Forget what was looked up and read; the next use asks again."""
        self._native, self._window = None, (0, b"")

    @property
    def stamp(self) -> tuple[int, str]:
        """Size in bytes, and what is another for other contents: the ETag, else all that the store tells."""
        told = {name.lower(): value.decode(errors="replace") for name, value in (self.native.metadata() or {}).items()}
        return self.native.size(), told.get("etag") or str(sorted(told.items()))

    def open(self, mode: str = "rb") -> ObjectStream:
        """Return a stream of its bytes from the beginning on."""
        assert mode == "rb", mode
        return ObjectStream(self)

    def read_bytes(self) -> bytes:
        """Return all of it."""
        return self.read_range(0, self.stamp[0])

    def read_range(self, start: int, size_bytes: int) -> bytes:
        """Read a range.

        Args:
            start: First byte.
            size_bytes: How many; fewer come back only at the end.

        Returns:
            The bytes, of the version that the stamp is of.

        Raises:
            Unavailable: The store does not answer, or ends the connection early.
            NotFound: The object is gone.
            InvalidInput: It may not be read, or was written to since it was opened.
        """
        whole = self.stamp[0]
        end = min(start + size_bytes, whole)
        if start >= end:
            return b""
        first, held = self._window
        stop = first + len(held)
        if first <= start < stop < end:  # the beginning of the text, of which a little was looked at
            self._window = (first, held + self._fetched(stop, min(max(end, stop + _FIRST_BYTES), whole)))
        elif not first <= start <= end <= stop:
            ahead = _FIRST_BYTES if start == 0 else _AHEAD_BYTES if start == stop else 0
            self._window = (start, self._fetched(start, max(end, min(start + ahead, whole))))
        first, held = self._window
        return held[start - first : end - first]

    def _fetched(self, start: int, end: int) -> bytes:
        try:
            data: bytes = self.native.read_at(end - start, start)
        except STORE_ERRORS as error:
            raise failure(self.url, error) from None
        # of an object that became shorter, Arrow returns as many bytes as were asked for, with anything in them
        if len(data) < end - start or ObjectFile(self.url).stamp != self.stamp:
            raise changed(self)
        return data

    def failure(self, error: BaseException) -> GnomonError | None:
        """Return what an error of the native file means, or None where the bytes are to blame."""
        return failure(self.url, error) if is_of_store(error) else None


class ObjectStream:
    """A place in an object, from which it is read on."""

    def __init__(self, file: ObjectFile) -> None:
        self._file = file
        self._position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the object open for the next stream."""

    def seek(self, position: int) -> int:
        """Go to a byte."""
        self._position = position
        return position

    def read(self, size_bytes: int) -> bytes:
        """Return so many bytes, or fewer at the end; raises as `ObjectFile.read_range`."""
        data = self._file.read_range(self._position, size_bytes)
        self._position += len(data)
        return data


def changed(file: object) -> InvalidInput:
    """Return the error for a file, here or in a store, that was written to while it was read."""
    return InvalidInput(f"file '{file}' changed while it was being ingested", "ingest again when it is complete")


def find_objects(url: ObjectUrl, suffixes: tuple[str, ...]) -> list[ObjectFile]:
    """Return the objects at a URL, ordered by key.

    Args:
        url: An object, a prefix (its objects with one of the suffixes, at any depth) or a pattern: `*` and `?` stand
            for anything within a part of the key, `**` for any number of parts.
        suffixes: Endings in lower case.

    Returns:
        Objects; none where nothing matches. Names that begin with `.` or `_` are taken as unfinished and left out.

    Raises:
        NotFound: There is no such bucket.
        InvalidInput: It may not be listed.
        Unavailable: The store does not answer.
    """
    system = file_system(url)
    try:
        if _MAGIC.search(url.key):
            paths = _matching(system, url)
        elif url.key and system.get_file_info(url.path).type == fs.FileType.File:
            return [ObjectFile(url)]
        else:
            listed = _listed(system, url.path, recursive=True)
            paths = [path for path in listed if PurePosixPath(path).suffix.lower() in suffixes]
    except STORE_ERRORS as error:
        raise failure(url, error) from None
    if not paths:
        _require_bucket(system, url)
    found = sorted(path for path in paths if not path.rpartition("/")[2].startswith((".", "_")))
    for path in found:
        if "//" in path:
            raise InvalidInput(f"object '{url.at(path)}' has an empty part in its name", "give it another name")
    return [ObjectFile(url.at(path)) for path in found]


def _require_bucket(system: fs.FileSystem, url: ObjectUrl) -> None:
    try:
        there = system.get_file_info(url.store).type != fs.FileType.NotFound
    except STORE_ERRORS:
        return  # not everybody who may list objects may look at the bucket
    if not there:
        raise no_bucket(url)


def _listed(system: fs.FileSystem, path: str, *, recursive: bool) -> list[str]:
    infos = system.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=recursive))
    return [info.path for info in infos if info.type == fs.FileType.File]


def _matching(system: fs.FileSystem, url: ObjectUrl) -> list[str]:
    parts = url.path.split("/")
    fixed = next(number for number, part in enumerate(parts) if _MAGIC.search(part))
    listed = _listed(system, "/".join(parts[:fixed]), recursive=fixed < len(parts) - 1)
    return [path for path in listed if _matches(path.split("/"), parts)]


def _matches(parts: list[str], patterns: list[str]) -> bool:
    if not patterns or not parts:
        return not patterns and not parts
    if patterns[0] == "**":
        return any(_matches(parts[skipped:], patterns[1:]) for skipped in range(len(parts)))
    return fnmatch.fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])
