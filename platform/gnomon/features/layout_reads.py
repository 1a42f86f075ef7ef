"""Reads buckets of a layout by entity as events, each with the time at which it was superseded.

Called in the tasks of the distributed join and of materialization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.errors import CorruptData
from gnomon.features.event_columns import Int64s, tie_ranks
from gnomon.features.event_order import SUPERSEDED, TIE
from gnomon.features.event_versions import ROW, among
from gnomon.features.layout_segments import Piece, Segment


@dataclass(frozen=True)
class EntityLayout:
    """A layout that holds all rows of a version of a table.

    Attributes:
        folder: Of its segments.
        segments: The one that stands alone, then each that stands on the one before.
    """

    folder: Path
    segments: tuple[Segment, ...]

    def bucket_rows(self) -> Int64s:
        """Return the number of rows of each bucket."""
        result = np.zeros(self.segments[0].buckets, np.int64)
        for segment in self.segments:
            for piece in segment.pieces:
                result[piece.bucket] += piece.rows
        return result


def bucket_events(
    layout: EntityLayout, keys: Sequence[str], buckets: Sequence[int], columns: Sequence[str]
) -> pa.Table:  # fmt: skip
    """Read all events of some buckets.

    Args:
        layout: Which layout.
        keys: Its key columns.
        buckets: Which buckets.
        columns: Columns to read, with the keys and the times; event id and digest are not read.

    Returns:
        The columns, `SUPERSEDED`, and `TIE` in place of event id and digest.

    Raises:
        CorruptData: A file is damaged or gone; `layout` in its details names the segment.
    """
    wanted, chosen = [*(name for name in columns if name not in (EVENT_ID, DIGEST)), SUPERSEDED], set(buckets)
    parts: list[pa.Table] = []
    for number, segment in enumerate(layout.segments):
        for piece in (p for p in segment.pieces if p.bucket in chosen):
            rows = _read(layout.folder, segment, piece.file, wanted, piece.row_groups)
            parts.append(_patched(layout, number, piece, rows))
    if not parts:
        segment = layout.segments[0]
        parts = [_read(layout.folder, segment, segment.pieces[0].file, wanted, ())]
    events = pa.concat_tables(parts)
    return events.append_column(TIE, pa.array(_ties(layout, keys, chosen, events)))


def _patched(layout: EntityLayout, number: int, piece: Piece, rows: pa.Table) -> pa.Table:
    """Take in what later segments supersede."""
    name = layout.segments[number].name
    superseded: Int64s | None = None
    for later in layout.segments[number + 1 :]:
        for patch in (p for p in later.patches if (p.segment, p.of) == (name, piece.file)):
            if superseded is None:
                superseded = np.array(rows.column(SUPERSEDED), np.int64)
            table = _read(layout.folder, later, patch.file, [ROW, SUPERSEDED])
            at = np.asarray(table.column(ROW)) - piece.first_row
            mine = (at >= 0) & (at < piece.rows)
            np.minimum.at(superseded, at[mine], np.asarray(table.column(SUPERSEDED))[mine])
    if superseded is None:
        return rows
    return rows.set_column(rows.column_names.index(SUPERSEDED), SUPERSEDED, pa.array(superseded))


def _ties(layout: EntityLayout, keys: Sequence[str], buckets: set[int], events: pa.Table) -> Int64s:
    """Return the order of rows that agree in entity and times.

    Within a segment they lie in that order. Only where rows of two segments tie, the event ids are read; rows of one
    event never do so, for the segment would then not stand on the earlier one.
    """
    place = np.arange(events.num_rows)
    first = sum(piece.rows for piece in layout.segments[0].pieces if piece.bucket in buckets)
    if first == events.num_rows or (not first and len(layout.segments) == 2):
        return place
    by = [*keys, EVENT_TIME, KNOWN_TIME, INGESTED_AT]
    hashes = (
        pl.DataFrame({f"by{i}": pl.Series(values=events.column(c)) for i, c in enumerate(by)}).hash_rows().to_numpy()
    )
    added = np.sort(hashes[first:])
    if not (among(hashes[:first], added).any() or (added[1:] == added[:-1]).any()):
        return place
    ids = pa.concat_tables([
        _read(layout.folder, segment, piece.file, [EVENT_ID], piece.row_groups)
        for segment in layout.segments for piece in segment.pieces if piece.bucket in buckets
    ])  # fmt: skip
    result = np.empty(events.num_rows, np.int64)
    result[np.lexsort((place, tie_ranks(ids, EVENT_ID, place)))] = place
    return result


def _read(
    folder: Path, segment: Segment, file: str, columns: Sequence[str], groups: Sequence[int] | None = None
) -> pa.Table:  # fmt: skip
    path = folder / segment.name / file
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            chosen = range(parquet.num_row_groups) if groups is None else groups
            return parquet.read_row_groups(list(chosen), columns=list(columns), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        hint = "repeat: the layout is made again from the table"
        raise CorruptData(f"{path} of a layout is damaged: {error}", hint, {"layout": segment.name}) from error
