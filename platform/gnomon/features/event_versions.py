"""Finds the events of many files that have several versions, and from when each version was superseded.

Called by `layout_build`. Most events have a single version, so that first only the hashes of event ids are brought
together; of the few that occur more than once the times follow. What decides is the id, never its hash. Readers are of
the new files of a table, and of the files of a layout's earlier segments, whose rows count where they share an event
with a new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from gnomon.contracts.columns import DIGEST, EVENT_ID, INGESTED_AT, KNOWN_TIME
from gnomon.errors import CorruptData
from gnomon.features.event_columns import Flags, Int64s, tie_ranks, times_us
from gnomon.features.event_order import SUPERSEDED, superseded_us
from gnomon.features.table_parts import Part, read_parts, split_rows

ROW = "_row"
"""Column: position of a row among those of its reader."""

_NEW, _READER = "_new", "_reader"

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True)
class Reader:
    """Rows that one task reads.

    Attributes:
        parts: Where they lie.
        schema: Of these files.
        segment: Name of the segment that they are part of; empty where they are new.
    """

    parts: Sequence[Part]
    schema: pa.Schema
    segment: str = ""

    @property
    def new(self) -> bool:
        """Tell whether the rows are not part of the layout yet."""
        return not self.segment

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Read some columns.

        Args:
            columns: Which ones.

        Returns:
            The rows, in the same order each time.

        Raises:
            CorruptData: A file of a segment is damaged; `layout` in its details names the segment.
        """
        try:
            return read_parts(self.parts, self.schema, columns)
        except (OSError, pa.ArrowException) as error:
            if self.new:
                raise
            hint = "repeat: the layout is made again from the table"
            raise CorruptData(f"{self.parts} of a layout: {error}", hint, {"layout": self.segment}) from error


def find_versions(readers: Sequence[Reader], shares: int, few: bool) -> list[list[Any]] | None:
    """Find the rows that have other versions, on Ray.

    Args:
        readers: What to read; at least one is new.
        shares: Number of tasks among which the ids are divided by their hash; at least 2.
        few: The ids of the new rows fit into a worker, so that earlier rows can be sought by them at once.

    Returns:
        Per reader, references to tables of `ROW` and `SUPERSEDED`; a row that is in none of them has one version
        or, in a reader that is not new, no new one. None where only the digests decide which of an earlier and
        a new version is the later one: earlier rows do not have theirs any more.
    """
    import ray

    hashes = ray.remote(num_cpus=1, num_returns=shares)(_hash_shares)
    repeats = ray.remote(num_cpus=1, num_returns=len(readers) + 1)(_repeats)
    first = [hashes.remote(reader, shares, None) for reader in readers if reader.new]
    wanted = None
    if few and len(first) < len(readers):
        wanted = ray.remote(num_cpus=1)(_joined).remote(*(share for shared in first for share in shared))
    sought = iter([hashes.remote(reader, shares, wanted) for reader in readers if not reader.new])
    news = iter(first)
    shared = [next(news) if reader.new else next(sought) for reader in readers]
    found = [repeats.remote(*parts) for parts in zip(*shared, strict=True)]
    if not sum(ray.get([each[0] for each in found])):
        return [[] for _ in readers]
    look = ray.remote(num_cpus=1, num_returns=shares)(_candidates)
    candidates = [
        look.remote(reader, i, shares, None if reader.new else wanted, *(each[i + 1] for each in found))
        for i, reader in enumerate(readers)
    ]
    decide = ray.remote(num_cpus=1, num_returns=len(readers) + 1)(_decide)
    decided = [decide.remote(len(readers), *parts) for parts in zip(*candidates, strict=True)]
    if sum(ray.get([each[0] for each in decided])):
        return None
    return [[each[i + 1] for each in decided] for i in range(len(readers))]


def _id_hashes(reader: Reader) -> Hashes:
    ids = reader.read([EVENT_ID]).column(EVENT_ID)
    result: Hashes = pl.Series(values=ids).hash(seed=0).to_numpy()
    return result


def among(hashes: Hashes, ordered: Hashes) -> Flags:
    """Tell which hashes occur among others.

    Args:
        hashes: In any order.
        ordered: In ascending order.

    Returns:
        One answer per hash.
    """
    if not len(ordered):
        return np.zeros(len(hashes), np.bool_)
    result: Flags = ordered[np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)] == hashes
    return result


def _joined(*hashes: Hashes) -> Hashes:
    return np.unique(np.concatenate(hashes))


def _hash_shares(reader: Reader, shares: int, wanted: Hashes | None) -> list[Hashes]:
    hashes = _id_hashes(reader)
    if wanted is not None:
        hashes = hashes[among(hashes, wanted)]
    where = hashes % np.uint64(shares)
    return [hashes[where == share] for share in range(shares)]


def _repeats(*hashes: Hashes) -> list[Any]:
    """Return the number of hashes that occur more than once, and where they do in each of the arrays."""
    ordered = np.sort(np.concatenate(hashes))
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    return [len(repeated), *(np.flatnonzero(among(each, repeated)).astype(np.uint32) for each in hashes)]


def _candidates(reader: Reader, number: int, shares: int, wanted: Hashes | None, *repeats: Any) -> list[pa.Table]:
    columns = [EVENT_ID, KNOWN_TIME, INGESTED_AT]
    columns += [DIGEST] if reader.new and DIGEST in reader.schema.names else []
    if not any(len(each) for each in repeats):
        return [_of_reader(reader.schema.empty_table().select(columns), number, reader.new)] * shares
    hashes = _id_hashes(reader)
    rows = np.arange(len(hashes)) if wanted is None else np.flatnonzero(among(hashes, wanted))
    where = hashes[rows] % np.uint64(shares)
    mine = [rows[where == share][each] for share, each in enumerate(repeats)]
    taken = np.concatenate(mine)
    table = reader.read(columns).take(pa.array(taken)).append_column(ROW, pa.array(taken))
    whose = np.repeat(np.arange(shares), [len(each) for each in mine])
    return split_rows(_of_reader(table, number, reader.new), whose, shares)


def _of_reader(table: pa.Table, number: int, new: bool) -> pa.Table:
    rows = np.zeros(0, np.int64) if ROW not in table.column_names else table.column(ROW)
    table = table if ROW in table.column_names else table.append_column(ROW, pa.array(rows))
    table = table.append_column(_READER, pa.array(np.full(table.num_rows, number, np.int32)))
    return table.append_column(_NEW, pa.array(np.full(table.num_rows, new, np.bool_)))


def _decide(readers: int, *pieces: pa.Table) -> list[Any]:
    """Return how many pairs of versions cannot be told apart, and what is found of each reader's rows."""
    rows = pa.concat_tables(pieces, promote_options="default")
    superseded = superseded_us(rows)
    every = np.arange(rows.num_rows)
    ids, new = tie_ranks(rows, EVENT_ID, every), np.asarray(rows.column(_NEW))
    stored, known = times_us(rows, INGESTED_AT), times_us(rows, KNOWN_TIME)
    order = np.lexsort((tie_ranks(rows, DIGEST, every), stored, known, ids))
    undecided = _undecided(order, np.stack([ids, known, stored]), new)
    renewed = np.bincount(ids[new], minlength=int(ids.max(initial=0)) + 1)[ids] > 0
    table = pa.table({ROW: rows.column(ROW), SUPERSEDED: pa.array(superseded)})
    reader = np.asarray(rows.column(_READER))
    return [undecided, *(table.filter(pa.array(renewed & (reader == i))) for i in range(readers))]


def _undecided(order: Int64s, times: Int64s, new: Flags) -> int:
    """Count the neighbours of equal id and times of which only one is new."""
    ordered, fresh = times[:, order], new[order]
    equal = (ordered[:, 1:] == ordered[:, :-1]).all(axis=0)
    return int((equal & (fresh[1:] != fresh[:-1])).sum())
