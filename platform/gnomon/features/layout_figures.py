"""What the layouts of tables take on the disk, and their removal. Called by the gateway for `gnomon layouts`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.contracts.offline_store import OfflineStore
from gnomon.features.entity_layout import layout_folder
from gnomon.features.layout_segments import Segment, last_read_us, published_segments, remove_segments


@dataclass(frozen=True)
class LayoutFigures:
    """The segments of a table's layouts by one entity.

    Attributes:
        source: Name of the table.
        keys: Key columns of the entity.
        segments: Number of segments.
        rows: Rows in them; older segments hold rows that newer ones hold as well.
        size_bytes: What they take.
        last_read_us: When one of them was read last, microseconds since the epoch.
    """

    source: str
    keys: tuple[str, ...]
    segments: int
    rows: int
    size_bytes: int
    last_read_us: int


def layout_figures(offline: OfflineStore, tables: Sequence[str]) -> list[LayoutFigures]:
    """Look up the layouts of some tables.

    Args:
        offline: Holds the tables.
        tables: Which tables.

    Returns:
        One entry for each table and entity that has a layout, in the order of the tables and the keys.
    """
    found: list[LayoutFigures] = []
    for table in tables:
        folder = layout_folder(offline, table)
        if folder is None:
            continue
        by_keys: dict[tuple[str, ...], list[Segment]] = {}
        for segment in published_segments(folder).values():
            by_keys.setdefault(segment.keys, []).append(segment)
        for keys, segments in sorted(by_keys.items()):
            rows, size_bytes = sum(s.rows for s in segments), sum(s.size_bytes() for s in segments)
            read_us = max(last_read_us(folder, s.name) for s in segments)
            found.append(LayoutFigures(table, keys, len(segments), rows, size_bytes, read_us))
    return found


def remove_layouts(offline: OfflineStore, table: str) -> int:
    """Remove a table's layouts; who reads one now goes on without, and the next who needs one makes it again.

    Args:
        offline: Holds the table.
        table: Which table.

    Returns:
        The bytes that were taken.
    """
    folder = layout_folder(offline, table)
    segments = {} if folder is None else published_segments(folder)
    if folder is not None:
        remove_segments(folder, list(segments))
    return sum(segment.size_bytes() for segment in segments.values())
