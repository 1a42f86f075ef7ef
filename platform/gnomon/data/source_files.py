"""Finds the files of a source, fingerprints them and cuts them into parts and batches.

Called by `ingestion` and `source_schema`. Every file is looked at before any row is committed, so that a missing,
empty or truncated file stops an ingestion before it has done anything. A batch is named by the contents of its files
and by the definition it is read with, never by file names: the same bytes under another name are the same batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnomon.contracts.columns import Dtype
from gnomon.contracts.object_urls import is_object_url, parse_object_url
from gnomon.contracts.sources import DataSource, FileFormat
from gnomon.contracts.specs import content_hash
from gnomon.data.object_files import ObjectFile, find_objects
from gnomon.data.parquet_rows import cut_row_groups, read_parquet_schema
from gnomon.data.stored_files import SourceFile, Stamp, held_still, identity_of, stamp_of
from gnomon.data.text_layout import csv_header, cut_text
from gnomon.errors import InvalidInput, NotFound

_SUFFIXES: Mapping[FileFormat, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"), "csv": (".csv",), "jsonl": (".jsonl", ".ndjson", ".json"), "json": (".json",),
}  # fmt: skip
_JSON_ARRAY_BYTES = 512 * 2**20
_BYTES_PER_ROW_GUESS = 100
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd", b"PK": "zip"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Limits:
    """How much is handled at once; what is read does not depend on it.

    Attributes:
        part_bytes: A file larger than this is read in parts of about this size, each in the memory of one process.
        part_rows: The same for Parquet files, by rows, because their bytes are compressed.
        batch_bytes: Parts are committed together up to this many bytes.
        batch_rows: The same by rows, as far as they are known beforehand.
        batch_files: Parts are committed together up to this many.
    """

    part_bytes: int = 32 * 2**20
    part_rows: int = 500_000
    batch_bytes: int = 64 * 2**20
    batch_rows: int = 1_000_000
    batch_files: int = 256


@dataclass(frozen=True)
class FilePart:
    """A file, or a range of one, that one process reads at a time.

    Attributes:
        path: Absolute path, or URL of an object.
        fingerprint: SHA-256 of the whole file, as hex; of an object, of its name and ETag.
        format: How to read it.
        start: First byte, or first row group of a Parquet file.
        stop: Byte, or row group, after the last.
        first_line: Line number of the first row in a text file; row number in Parquet and JSON arrays; from 1.
        size_bytes: Size of the part on disk.
        rows: Number of rows in Parquet, an estimate in text.
        header: Column names of a CSV or Parquet file; empty for JSON, whose every object has its own.
        stamp: Size, and modification time or ETag, of the file when it was fingerprinted.
        label: Where the rows were extracted from, for rows that come from no file of the user's.
    """

    path: str
    fingerprint: str
    format: FileFormat
    start: int
    stop: int
    first_line: int
    size_bytes: int
    rows: int
    header: tuple[str, ...]
    stamp: Stamp
    label: str = ""

    def place(self) -> str:
        """Return where its rows come from, in words."""
        return self.label or f"file '{self.path}'"


@dataclass(frozen=True)
class Batch:
    """Parts that are committed together, as one version of the table."""

    id: str
    parts: tuple[FilePart, ...]


def find_files(source: DataSource, root: str) -> Sequence[SourceFile]:
    """Return the files of a source, ordered by path.

    Args:
        source: Its path is a file, a folder (its files of the format, at any depth) or a glob; or the same of objects.
        root: Folder that a relative path starts from.

    Returns:
        At least one file, by absolute path or URL. Names that begin with `.` or `_` count as unfinished and are left
        out.

    Raises:
        NotFound: No file is there; the message has the path as resolved.
        InvalidInput: An object store refuses.
        Unavailable: An object store does not answer.
    """
    suffixes = _SUFFIXES[source.file_format()]
    if is_object_url(source.path):
        url = parse_object_url(source.path)
        files: Sequence[SourceFile] = find_objects(url, suffixes)
        place, hint = str(url), "names that begin with . or _ do not count"
    else:
        path = Path(root, source.path).expanduser().absolute()
        files = _paths(path, suffixes)
        place, hint = str(path), "relative paths start from the folder of the app file"
    if not files:
        raise NotFound(f"source '{source.name}': no {source.format} file at '{place}'", hint, {"path": place})
    return files


def _paths(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix.lower() in suffixes]
    else:
        found = list(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    return sorted(file for file in found if file.is_file() and not file.name.startswith((".", "_")))


def scan_parts(source: DataSource, root: str, limits: Limits) -> list[FilePart]:
    """Fingerprint every file of a source and cut it into parts.

    Args:
        source: Its path and format count.
        root: Folder that a relative path starts from.
        limits: How large a part may be.

    Returns:
        Parts in order of path, at least one a file.

    Raises:
        NotFound: No file matches the source's path.
        InvalidInput: A file is empty, compressed or not UTF-8, or a CSV header names a column twice.
        CorruptData: A Parquet file has no readable footer.
    """
    return [part for file in find_files(source, root) for part in scan_file(file, source.file_format(), limits)]


def scan_file(file: SourceFile, file_format: FileFormat, limits: Limits) -> list[FilePart]:
    """Fingerprint one file and cut it into parts; raises as `scan_parts`."""
    with held_still(file) as stamp:
        refuse_unreadable(file, file_format)
        if file_format == "parquet":
            cuts, header = list(cut_row_groups(file, limits.part_rows)), tuple(read_parquet_schema(file).names)
            fingerprint = _fingerprint(file)
        else:
            data_start, header = csv_header(file) if file_format == "csv" else (0, ())
            part_bytes = limits.part_bytes if file_format != "json" else _JSON_ARRAY_BYTES
            fingerprint, ranges = _text_ranges(file, data_start, part_bytes, quoted=file_format == "csv")
            cuts = [
                (begin, end, line, end - begin, (end - begin) // _BYTES_PER_ROW_GUESS) for begin, end, line in ranges
            ]
    return [
        FilePart(str(file), fingerprint, file_format, start, stop, line, size_bytes, rows, header, stamp)
        for start, stop, line, size_bytes, rows in cuts
    ]


def _fingerprint(file: SourceFile) -> str:
    if isinstance(file, ObjectFile):
        return identity_of(file)
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _text_ranges(
    file: SourceFile, start: int, part_bytes: int, *, quoted: bool
) -> tuple[str, list[tuple[int, int, int]]]:  # fmt: skip
    """Return fingerprint and parts; an object that is one part is not read for it."""
    if not isinstance(file, ObjectFile):
        return cut_text(file, start, part_bytes, quoted=quoted)
    size_bytes = file.stamp[0]
    if size_bytes > start + part_bytes:
        return identity_of(file), cut_text(file, start, part_bytes, quoted=quoted)[1]
    return identity_of(file), [(start, size_bytes, 1 + file.read_range(0, start).count(b"\n"))]


def group_batches(
    source: DataSource, schema: Mapping[str, Dtype], parts: Sequence[FilePart], limits: Limits
) -> list[Batch]:
    """Group parts into batches; the id of each follows from contents, definition and schema alone.

    A changed definition gives other ids: what was quarantined under the old rules is read again under the new.
    """
    definition = {**source.as_json(), "path": "", "name": source.name, "schema": dict(schema)}
    read_as = content_hash(definition)
    batches = []
    for group in _groups(parts, limits):
        names = "\n".join(f"{part.fingerprint} {part.start} {part.stop}" for part in group)
        digest = hashlib.sha256(f"{read_as}\n{names}".encode()).hexdigest()[:32]
        batches.append(Batch(f"{source.name}-{digest}", tuple(group)))
    return batches


def _groups(parts: Sequence[FilePart], limits: Limits) -> Iterator[list[FilePart]]:
    group: list[FilePart] = []
    size_bytes = rows = 0
    for part in parts:
        size_bytes, rows = size_bytes + part.size_bytes, rows + part.rows
        full = size_bytes > limits.batch_bytes or rows > limits.batch_rows or len(group) == limits.batch_files
        if group and full:
            yield group
            group, size_bytes, rows = [], part.size_bytes, part.rows
        group.append(part)
    if group:
        yield group


def refuse_unreadable(file: SourceFile, file_format: FileFormat) -> None:
    """Raise InvalidInput where a file is empty, compressed, UTF-16, or a JSON array that is too large."""
    size_bytes = stamp_of(file)[0]
    with file.open("rb") as stream:
        start = stream.read(4096)
    if not start.strip(b"\xef\xbb\xbf \t\r\n"):
        raise InvalidInput(f"file '{file}' is empty", "remove it, or write it again")
    if file_format == "parquet":
        return
    if start[:2] in _COMPRESSED:
        raise InvalidInput(f"file '{file}' is {_COMPRESSED[start[:2]]}-compressed", "decompress it first")
    if start[:2] in _UTF16:
        raise InvalidInput(f"file '{file}' is UTF-16 text", "convert it to UTF-8")
    if file_format == "json" and size_bytes > _JSON_ARRAY_BYTES:
        raise InvalidInput(
            f"file '{file}' is one JSON array of {size_bytes} bytes, the most is {_JSON_ARRAY_BYTES}",
            "write one object a line (jsonl): such files may have any size",
        )
