"""The spool: prediction records on the replica's own disk, on their way into the prediction log.

`SpoolingSink` writes segments; whoever holds a segment's lock ships it. A segment is one batch of the log, named by the
segment, so that shipping it again adds nothing. Its lock ends with its owner's process, however that ends, and another
process then ships what is left: a sealed segment whole, a torn one up to its last whole frame.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import msgpack

from gnomon.contracts.predictions import PredictionLog, PredictionRecord
from gnomon.errors import CorruptData, InvalidInput
from gnomon.storage.durable_files import is_older, remove_temporary_files
from gnomon.telemetry.logs import logger

_FRAME = struct.Struct("<II")  # length and CRC-32 of what follows
_SUFFIX = ".spool"
_REJECTED = ".rejected"
_TEMPORARY_S = 60.0


class Segment:
    """An open segment whose lock this process holds.

    Args:
        path: An existing file of this process's own.
        descriptor: Open for reading and writing, and locked; closed by `close`.

    Attributes:
        path: The file; its stem names the batch.
        size_bytes: Bytes of whole frames.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size_bytes = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, folder: Path, deployment: str, name: str) -> Self:
        """Create an empty segment; it gets its name once it is locked, so that nobody takes it for an orphan.

        Args:
            folder: The spool, on a local disk.
            deployment: The endpoint whose records it takes.
            name: Unique for ever; it becomes the id of the batch.

        Returns:
            The segment, empty and locked by this process.

        Raises:
            OSError: The disk is full or read-only.
        """
        path = folder / f"{deployment}.{name}{_SUFFIX}"
        temporary = folder / f".{path.name}.tmp"
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        temporary.rename(path)
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Take over a segment whose owner has ended; None while it lives, or when another took it over."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_there = os.fstat(descriptor).st_nlink > 0
        except BlockingIOError:
            is_there = False
        if is_there:
            return cls(path, descriptor)
        os.close(descriptor)
        return None

    def write(self, records: Sequence[PredictionRecord]) -> None:
        """Append records as one frame, which readers see whole or not at all; not synced, a power cut may lose it.

        Args:
            records: Any number of records of the segment's endpoint.

        Raises:
            OSError: The disk is full; the segment is as before.
        """
        payload = msgpack.packb([_fields_of(record) for record in records])
        frame = _FRAME.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            written = os.write(self._descriptor, frame)
            if written != len(frame):
                raise OSError(f"only {written} of {len(frame)} bytes could be written to {self.path}")
        except OSError:
            os.ftruncate(self._descriptor, self.size_bytes)
            raise
        self.size_bytes += len(frame)

    def ship(self, log: PredictionLog) -> int:
        """Store the segment's records in the log, then remove the segment and let go of it.

        A segment that cannot be read, or that the log refuses for good, is set aside under the suffix `.rejected`, so
        that others pass.

        Args:
            log: Where the records go, as one batch.

        Returns:
            How many records the segment held; 0 where it was set aside.

        Raises:
            Unavailable: The log cannot be written now; the segment stays, and repeating is safe.
        """
        deployment, _, name = self.path.name.removesuffix(_SUFFIX).partition(".")
        try:
            records = list(_records(self.path))
            if records:
                log.append(deployment, records, name)
        except (InvalidInput, CorruptData) as error:
            logger().error("prediction records were refused", segment=self.path.name, error=str(error))
            self.path.rename(self.path.with_suffix(_REJECTED))
            records = []
        else:
            self.path.unlink()
        self.close()
        return len(records)

    def close(self) -> None:
        """Let go of the segment; it then counts as an orphan, if it still exists."""
        os.close(self._descriptor)


def ship_orphans(folder: Path, log: PredictionLog, older_than_s: float = 0.0) -> int:
    """Ship the segments that dead replicas left; called by replicas at their start and now and then.

    Args:
        folder: The spool folder.
        log: Where records go.
        older_than_s: Spare segments that were written to within this time, in seconds.

    Returns:
        How many records were shipped.

    Raises:
        Unavailable: The log cannot be written now.
    """
    shipped = 0
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        segment = Segment.adopt(path) if older_than_s <= 0 or is_older(path, older_than_s) else None
        if segment is None:
            continue
        try:
            shipped += segment.ship(log)
        except BaseException:
            segment.close()
            raise
    remove_temporary_files(folder, _TEMPORARY_S)
    return shipped


def _fields_of(record: PredictionRecord) -> tuple[Any, ...]:
    """Return a record's fields in order, without copying its mappings."""
    return tuple(record.__dict__.values())


def _unpacked(path: Path, payload: bytes) -> list[PredictionRecord]:
    try:
        return [PredictionRecord(*fields) for fields in msgpack.unpackb(payload)]
    except (TypeError, ValueError, msgpack.UnpackException) as error:  # of another layout: no retry would mend it
        raise CorruptData(f"{path.name} holds no prediction records: {error}", "an older version wrote it") from error


def _records(path: Path) -> Iterator[PredictionRecord]:
    content = path.read_bytes()
    start = 0
    while start + _FRAME.size <= len(content):
        length, checksum = _FRAME.unpack_from(content, start)
        payload = content[start + _FRAME.size : start + _FRAME.size + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            break
        yield from _unpacked(path, payload)
        start += _FRAME.size + length
    if start < len(content):
        logger().warning("a torn end of the spool is left out", segment=path.name, lost_bytes=len(content) - start)
