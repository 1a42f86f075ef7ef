"""Layouts of a table by entity: its rows in buckets, so that a join reads them without shuffling them again.

Called by the distributed join and by materialization. The first that needs a layout makes it; the next ones add the
rows that came since as a segment of its own, which takes the place of segments of that size, so that there are few. A
layout holds the rows of exactly one version of the table; one of an older version stands on the segments of that
version's files. It is a cache: whatever is wrong with it, the answer is to make it again, or to go without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from gnomon.contracts.apps import App
from gnomon.contracts.columns import DIGEST, EVENT_ID
from gnomon.contracts.features import FeatureView
from gnomon.contracts.offline_store import OfflineStore
from gnomon.errors import CorruptData, Forbidden, OutOfSpace
from gnomon.features.layout_build import Plan, build_segment
from gnomon.features.layout_reads import EntityLayout
from gnomon.features.layout_segments import Segment, mark_read, published_segments, remove_segments, remove_unread
from gnomon.features.view_events import event_columns
from gnomon.features.view_plans import view_keys

_LARGER = 2
"""A segment stays under a new one when it has this many times its rows; additions thus at most double a layout."""

_SPARE = 2
"""Buckets are made this many times smaller than a worker's share, so that they fit one when they have doubled."""

_MOST_SHARE = 4
"""All layouts of a table may take this many times its size, for views of several entities."""


def entity_layout(
    app: App, view: FeatureView, names: Sequence[str] | None, offline: OfflineStore, version: int, partition_rows: int
) -> EntityLayout | None:  # fmt: skip
    """Find the layout of the view's source by its entity at a version; make it, or add to it, where it is not there.

    Args:
        app: An app whose schemas are resolved.
        view: The view.
        names: Features that are to be computed; None means all.
        offline: Holds the table.
        version: Version of the table.
        partition_rows: Rows that a worker should hold at once; no more than so many lie in a bucket on average.

    Returns:
        The layout; None where there can be none: the store keeps no derived data or has no room for it, or rows have no
        event id.

    Raises:
        NotFound: The view has no feature of that name.
    """
    folder = layout_folder(offline, view.source)
    if folder is None:
        return None
    above = f"{folder.parent.parent}/"
    files = {path.removeprefix(above): path for path in offline.files(view.source, version=version)}
    plan = _plan(app, view, names, offline, version, partition_rows, folder)
    needed = set(event_columns(app, view, names, plan.schema)) - {DIGEST}
    if not files or not needed.issubset(plan.schema.names):
        return None
    for _ in range(2):
        try:
            chain = _extended(plan, _best(plan, needed, files), files)
        except (OutOfSpace, Forbidden):
            return None
        except CorruptData as error:
            discard_damaged(plan.folder, error)
        else:
            return None if chain is None else EntityLayout(plan.folder, chain)
    return None


def layout_folder(offline: OfflineStore, table: str) -> Path | None:
    """Return the folder of a table's segments, for all entities; None where the store keeps no derived data."""
    derived = offline.derived_folder(table)
    return None if derived is None else derived / "by_entity"


def discard_damaged(folder: Path, error: CorruptData) -> None:
    """Remove the segment that an error names as damaged, so that it is made again.

    Args:
        folder: Of the segments.
        error: What a task of a join or a build raised.

    Raises:
        CorruptData: The error is about something else.
    """
    if "layout" not in error.details:
        raise error
    remove_segments(folder, [error.details["layout"]])


def bucket_groups(bucket_rows: Sequence[int], partition_rows: int) -> Iterator[list[int]]:
    """Yield neighbouring buckets that are read together; a bucket that is larger than a worker's share comes alone."""
    group: list[int] = []
    room = partition_rows
    for bucket, rows in enumerate(bucket_rows):
        if group and rows > room:
            yield group
            group, room = [], partition_rows
        group.append(bucket)
        room -= rows
    if group:
        yield group


def _plan(
    app: App, view: FeatureView, names: Sequence[str] | None, offline: OfflineStore, version: int, partition_rows: int,
    folder: Path,
) -> Plan:  # fmt: skip
    """Return what there is to be built, with the columns of all views of that source and entity, without files."""
    schema, keys = offline.schema(view.source, version=version), view_keys(app, view)
    columns = dict.fromkeys(event_columns(app, view, names, schema))
    for other in app.all(FeatureView):
        if other.source == view.source and view_keys(app, other) == keys:
            columns |= dict.fromkeys(n for n in event_columns(app, other, None, schema) if n in schema.names)
    kept = tuple(name for name in columns if name != DIGEST)
    return Plan(folder, (), keys, 0, schema, kept, (), (), 0, partition_rows)


def _best(plan: Plan, needed: set[str], files: Mapping[str, str]) -> tuple[Segment, ...]:
    """Return the segments, each standing on the one before, that hold most rows of these files and no others."""
    segments = published_segments(plan.folder)
    chains = [_chain(segment, segments) for segment in segments.values()]
    usable = [c for c in chains if _fits(c, 0, plan) and all(_usable(s, plan, needed, files) for s in c)]
    return max(usable, key=lambda chain: (_rows(chain), -len(chain)), default=())


def _chain(last: Segment, segments: Mapping[str, Segment]) -> tuple[Segment, ...]:
    """Return a segment with those it stands on; nothing where one of them is gone."""
    chain = [last]
    while chain[-1].parent:
        if chain[-1].parent not in segments:
            return ()
        chain.append(segments[chain[-1].parent])
    return tuple(reversed(chain))


def _usable(segment: Segment, plan: Plan, needed: set[str], files: Mapping[str, str]) -> bool:
    types = {name: str(plan.schema.field(name).type) for name in needed}
    return (
        segment.keys == plan.keys
        and types.items() <= segment.columns.items()
        and all(file in files for file in segment.table_files)
    )


def _fits(chain: Sequence[Segment], more_rows: int, plan: Plan) -> bool:
    """Tell whether the buckets, with some rows added, are no larger than a worker's share."""
    return bool(chain) and _rows(chain) + more_rows <= chain[0].buckets * plan.partition_rows


def _rows(chain: Sequence[Segment]) -> int:
    return sum(segment.rows for segment in chain)


def _extended(plan: Plan, chain: tuple[Segment, ...], files: Mapping[str, str]) -> tuple[Segment, ...] | None:
    """Add the segment that is missing, on as many of the chain's as are larger; or make one that holds all."""
    mark_read(plan.folder, [segment.name for segment in chain])
    held = {file for segment in chain for file in segment.table_files}
    rest = sorted(file for file in files if file not in held)
    if not rest:
        return chain
    rows = _identified_rows([files[file] for file in rest])
    if rows is None:
        return None
    while True:
        while chain and (chain[-1].rows < _LARGER * rows or not _fits(chain, rows, plan)):
            rest, rows = sorted([*rest, *chain[-1].table_files]), rows + chain[-1].rows
            chain = chain[:-1]
        buckets = chain[0].buckets if chain else max(2, -(-_SPARE * rows // plan.partition_rows))
        paths = tuple(files[file] for file in rest)
        built = build_segment(
            replace(plan, parents=chain, buckets=buckets, paths=paths, table_files=tuple(rest), rows=rows)
        )
        if built is not None:
            remove_unread(plan.folder, _MOST_SHARE * sum(Path(path).stat().st_size for path in files.values()))
            return (*chain, built)
        rest, rows, chain = sorted(files), rows + _rows(chain), ()


def _identified_rows(paths: Sequence[str]) -> int | None:
    """Return the number of rows of some files; None where one of them may have no event id."""
    rows = 0
    for path in paths:
        footer = pq.read_metadata(path)
        place = footer.schema.names.index(EVENT_ID) if EVENT_ID in footer.schema.names else -1
        for index in range(footer.num_row_groups):
            statistics = footer.row_group(index).column(place).statistics if place >= 0 else None
            if statistics is None or not statistics.has_null_count or statistics.null_count:
                return None
        rows += footer.num_rows
    return rows
