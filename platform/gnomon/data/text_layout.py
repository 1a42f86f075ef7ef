"""Where the lines of a text file lie: its CSV header, safe places to cut it, line numbers of its records.

Called by `source_files` for every file, and by the readers for the line numbers of bad rows. A newline within CSV
quotes ends no record: it is told from others by the number of quotes before it, which is even outside of quotes.
"""

from __future__ import annotations

import csv
import hashlib
import io

import numpy as np
import numpy.typing as npt

from gnomon.data.stored_files import SourceFile
from gnomon.errors import InvalidInput

_BOM = b"\xef\xbb\xbf"
_CHUNK_BYTES = 2**20
_HEADER_BYTES = 2**20


def csv_header(file: SourceFile) -> tuple[int, tuple[str, ...]]:
    """Read the header of a CSV file.

    Args:
        file: The file; a byte order mark and blank lines before the header are skipped.

    Returns:
        Offset of the first byte after the header, and the column names without surrounding spaces; a column without
        a name, such as a written-out row index, is named `column_<n>`, counted from 1.

    Raises:
        InvalidInput: A name occurs twice, the header is not UTF-8 or does not end within a megabyte.
    """
    with file.open("rb") as stream:
        start = stream.read(_HEADER_BYTES)
    skipped = len(_BOM) if start.startswith(_BOM) else 0
    while start[skipped : skipped + 1] in (b"\n", b"\r"):
        skipped += 1
    length = _record_length(start[skipped:])
    if length == _HEADER_BYTES - skipped:
        raise InvalidInput(f"file '{file}' has no end of its header line in the first megabyte", "is this a CSV file?")
    try:
        text = start[skipped : skipped + length].decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the header of file '{file}' is not UTF-8 text: {error}", "convert it to UTF-8") from error
    cells = next(csv.reader(io.StringIO(text, newline="")), [])
    names = tuple(cell.strip() or f"column_{number}" for number, cell in enumerate(cells, start=1))
    refuse_repeats(names, file)
    return skipped + length, names


def refuse_repeats(names: tuple[str, ...], file: SourceFile) -> None:
    """Raise InvalidInput when a file names a column twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidInput(
            f"file '{file}' has {names.count(repeated[0])} columns named '{repeated[0]}'",
            "give each column a name of its own",
        )


def cut_text(file: SourceFile, start: int, part_bytes: int, *, quoted: bool) -> tuple[str, list[tuple[int, int, int]]]:
    """Fingerprint a text file and cut it after lines, in one pass over it.

    Args:
        file: The file.
        start: Where its rows begin, in bytes; the lines before are counted, not cut.
        part_bytes: A part ends with the first record that reaches this size.
        quoted: Whether newlines within double quotes belong to a record.

    Returns:
        SHA-256 as hex, and at least one (start, stop, number of the first line) that cover the file from `start` on.
    """
    digest = hashlib.sha256()
    parts = []
    position, line, quotes = 0, 1, 0
    begin, begin_line = start, 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            if position <= start <= position + len(chunk) and not begin_line:
                begin_line = line + chunk.count(b"\n", 0, start - position)
            cut = _cut_in(chunk, begin + part_bytes - position, quotes if quoted else None)
            while cut is not None:
                cut_line = line + chunk.count(b"\n", 0, cut)
                parts.append((begin, position + cut, begin_line))
                begin, begin_line = position + cut, cut_line
                cut = _cut_in(chunk, begin + part_bytes - position, quotes if quoted else None)
            line += chunk.count(b"\n")
            quotes += chunk.count(b'"') if quoted else 0
            position += len(chunk)
    if begin < position or not parts:
        parts.append((begin, position, begin_line))
    return digest.hexdigest(), parts


def record_lines(data: bytes, first_line: int) -> npt.NDArray[np.int64]:
    """Return the line number on which each CSV record of `data` begins; blank records are not counted."""
    text = np.frombuffer(data, dtype=np.uint8)
    newlines = np.flatnonzero(text == ord("\n"))
    quotes = np.flatnonzero(text == ord('"'))
    ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
    if len(text) and (not len(ends) or ends[-1] != len(text) - 1):
        ends = np.append(ends, len(text))
    starts = np.append(0, ends[:-1] + 1) if len(ends) else ends
    stripped_ends = ends - (text[np.maximum(ends - 1, 0)] == ord("\r"))
    lines: npt.NDArray[np.int64] = np.searchsorted(newlines, starts[stripped_ends > starts]).astype(np.int64)
    return lines + first_line


def _record_length(data: bytes) -> int:
    inside = False
    for position, byte in enumerate(data):
        if byte == ord('"'):
            inside = not inside
        elif byte == ord("\n") and not inside:
            return position + 1
        elif byte == ord("\r") and not inside:
            return position + (2 if data[position + 1 : position + 2] == b"\n" else 1)
    return len(data)


def _cut_in(chunk: bytes, least: int, quotes_before: int | None) -> int | None:
    """Return the place after the first record that ends in the chunk at or after `least`, if there is one."""
    if least >= len(chunk):
        return None
    position = chunk.find(b"\n", max(least, 0))
    while position >= 0:
        if quotes_before is None or (quotes_before + chunk.count(b'"', 0, position)) % 2 == 0:
            return position + 1
        position = chunk.find(b"\n", position + 1)
    return None
