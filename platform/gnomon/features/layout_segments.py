"""The segments of a table's layouts by entity, as folders: published whole, found, marked as read, removed.

Used by `entity_layout` and `layout_build`. A segment holds the rows of some files of the table, dealt out to buckets by
the hash of the entity key. It stands alone or on a parent, whose rows it adds to; who reads it reads its parents as
well. Its name is the hash of what it is made from, so that two who make the same at once make one. A folder gets its
name when all in it is durable. Everything here can be made again from the table: what is damaged is taken for absent,
and what nobody has read for long is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gnomon.errors import CorruptData
from gnomon.storage.durable_files import disk_errors, is_older, make_folder, sync_file, sync_folder

MANIFEST = "manifest.json"

UNREAD_S = 7 * 86_400.0
"""A segment that nobody has read for this long is removed when the next one is published."""

SPARED_S = 3_600.0
"""A segment that was read within this time is not removed for its size: a reader may still be at it."""

_ABANDONED_S = 86_400.0
_FORMAT = 1


@dataclass(frozen=True)
class Piece:
    """Rows of a bucket that lie together in a file of a segment, by entity and event time.

    Attributes:
        bucket: Which bucket.
        file: Name of the file in the segment's folder.
        first_row: Rows before it in the file.
        row_groups: The file's row groups that it is.
        rows: Number of rows.
    """

    bucket: int
    file: str
    first_row: int
    row_groups: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class Patch:
    """A file that says which rows of a parent's file this segment's rows supersede, and from when.

    Attributes:
        segment: Name of the parent, or of one of its parents.
        of: The parent's file.
        file: Name of the patch in this segment's folder; columns `row` (in the parent's file) and `SUPERSEDED`.
    """

    segment: str
    of: str
    file: str


@dataclass(frozen=True)
class Segment:
    """What a segment's manifest says.

    Attributes:
        name: Of its folder; the hash of keys, buckets, columns, parent and table files.
        parent: Name of the segment that it adds to; empty where it stands alone.
        keys: Key columns of the entity.
        buckets: Number of buckets, the same in all of its parents.
        columns: Columns and their types.
        table_files: Files of the table whose rows it holds, relative to the table's folder; sorted.
        rows: Number of rows.
        sizes: Bytes of each of its files.
        pieces: Where the buckets are.
        patches: What it changes in its parents.
    """

    name: str
    parent: str
    keys: tuple[str, ...]
    buckets: int
    columns: Mapping[str, str]
    table_files: tuple[str, ...]
    rows: int
    sizes: Mapping[str, int]
    pieces: tuple[Piece, ...]
    patches: tuple[Patch, ...]

    def size_bytes(self) -> int:
        """Return the bytes of its files."""
        return sum(self.sizes.values())


def segment_name(
    parent: str, keys: Sequence[str], buckets: int, columns: Mapping[str, str], table_files: Sequence[str]
) -> str:  # fmt: skip
    """Return the name of a segment made from this; another one where rows would go to other buckets."""
    hashing = [_FORMAT, pl.__version__, platform.machine()]  # polars may change its hash from version to version
    body = json.dumps([hashing, parent, list(keys), buckets, dict(columns), sorted(table_files)])
    return hashlib.sha256(body.encode()).hexdigest()[:40]


def published_segments(folder: Path) -> dict[str, Segment]:
    """Return the whole segments in a folder by name; those whose files are gone or cut short are left out."""
    found = (_read_manifest(path) for path in sorted(folder.glob(f"[0-9a-f]*/{MANIFEST}")))
    return {segment.name: segment for segment in found if segment is not None}


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yield a new folder to build a segment in; on leaving, what still lies under that name is removed."""
    make_folder(folder)
    temp = folder / f".{uuid.uuid4().hex}.tmp"
    try:
        with disk_errors(folder):
            temp.mkdir()
            yield temp
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def publish_segment(temp: Path, folder: Path, segment: Segment) -> Segment:
    """Make a folder with durable files the segment that it is, in one step.

    Args:
        temp: The folder, as `building` gave it.
        folder: Of the segments.
        segment: What is in it.

    Returns:
        The segment of that name; another builder's, where that one was faster.

    Raises:
        CorruptData: It was removed at once, or its name cannot be taken.
    """
    for path in temp.iterdir():
        if path.name not in segment.sizes:  # of a task that was repeated
            path.unlink()
    manifest = temp / MANIFEST
    manifest.write_text(json.dumps(asdict(segment)))
    sync_file(manifest)
    sync_folder(temp)
    remove_segments(folder, [] if _read_manifest(folder / segment.name / MANIFEST) else [segment.name])
    with contextlib.suppress(OSError):  # the name is taken by an equal segment of another builder
        temp.rename(folder / segment.name)
    sync_folder(folder)
    found = _read_manifest(folder / segment.name / MANIFEST)
    if found is None:
        raise CorruptData(f"{folder / segment.name} is gone or damaged", "repeat", {"layout": segment.name})
    return found


def mark_read(folder: Path, names: Sequence[str]) -> None:
    """Note that segments, each standing on the one before, are being read now."""
    for name in reversed(names):
        with contextlib.suppress(OSError):  # a folder that cannot be written is read all the same
            os.utime(folder / name / MANIFEST)


def remove_unread(folder: Path, most_bytes: int) -> list[str]:
    """Remove segments that nobody has read for a week, and those read longest ago while all are above a size.

    Args:
        folder: Of the segments.
        most_bytes: Bytes that all segments together may have; one read within the last hour stays in any case.

    Returns:
        Names of the removed segments, with those that stood on them.
    """
    for abandoned in folder.glob(".*.tmp"):
        if is_older(abandoned, _ABANDONED_S):
            shutil.rmtree(abandoned, ignore_errors=True)
    present = {path.name for path in folder.glob("[0-9a-f]*")}
    segments = published_segments(folder)
    by_age = sorted(segments.values(), key=lambda s: last_read_us(folder, s.name))
    total = sum(segment.size_bytes() for segment in by_age)
    gone: list[str] = []
    for segment in by_age:
        manifest = folder / segment.name / MANIFEST
        unread = is_older(manifest, UNREAD_S)
        if unread or (total > most_bytes and is_older(manifest, SPARED_S)):
            gone.append(segment.name)
            total -= segment.size_bytes()
    while orphans := [s.name for s in by_age if s.name not in gone and s.parent in gone]:
        gone += orphans
    remove_segments(folder, [*gone, *(present - set(segments))])
    return gone


def remove_segments(folder: Path, names: Sequence[str]) -> None:
    """Remove segments; each is gone as a whole before its files are."""
    for name in names:
        temp = folder / f".{uuid.uuid4().hex}.tmp"
        with contextlib.suppress(FileNotFoundError):
            (folder / name).rename(temp)
        shutil.rmtree(temp, ignore_errors=True)


def last_read_us(folder: Path, name: str) -> int:
    """Return when a segment was read last, microseconds since the epoch; 0 where it is gone."""
    try:
        return (folder / name / MANIFEST).stat().st_mtime_ns // 1000
    except FileNotFoundError:
        return 0


def _read_manifest(path: Path) -> Segment | None:
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        pieces = tuple(Piece(**{**p, "row_groups": tuple(p["row_groups"])}) for p in body["pieces"])
        patches = tuple(Patch(**patch) for patch in body["patches"])
        names = {"keys": tuple(body["keys"]), "table_files": tuple(body["table_files"])}
        segment = Segment(**{**body, **names, "pieces": pieces, "patches": patches})
        made_from = (segment.parent, segment.keys, segment.buckets, segment.columns, segment.table_files)
        whole = all((path.parent / file).stat().st_size == size for file, size in segment.sizes.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return segment if whole and path.parent.name == segment.name == segment_name(*made_from) else None
