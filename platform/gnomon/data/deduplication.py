"""Keeps what is new: rows whose id and content are not in the table, nor earlier in the same batch.

Called by `appending` with whole batches and by `ray_ingestion` with the rows of one bucket of ids. A resend has the
same id and digest as a stored row and is dropped; the same id with another digest is a correction and is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME
from gnomon.contracts.offline_store import OfflineStore

_KEY = [EVENT_ID, DIGEST]


@dataclass(frozen=True)
class Fresh:
    """What is left of a batch.

    Attributes:
        rows: The new rows, in their order.
        duplicates: How many were dropped.
        corrections: How many of the new rows are further versions of an event.
    """

    rows: pa.Table
    duplicates: int
    corrections: int


def drop_known(rows: pa.Table, known: pa.Table) -> Fresh:
    """Drop the rows that are known, and repeats among the rows themselves.

    Args:
        rows: With `EVENT_ID` and `DIGEST`; of equal ones the first stays.
        known: `EVENT_ID` and `DIGEST` of stored rows, in any order.

    Returns:
        The rows that are left, in their order, and what was dropped.
    """
    keys = _keys(rows).with_row_index("position").unique(_KEY, keep="first")
    stored = _keys(known)
    fresh = keys.join(stored, on=_KEY, how="anti").sort("position")
    first_versions = fresh.select(EVENT_ID).unique().join(stored.select(EVENT_ID), on=EVENT_ID, how="anti").height
    kept = rows if fresh.height == rows.num_rows else rows.take(fresh["position"].to_arrow())
    return Fresh(kept, rows.num_rows - fresh.height, fresh.height - first_versions)


def stored_keys(offline: OfflineStore, table: str, version: int, period_us: tuple[int, int] | None) -> pa.Table:
    """Read ids and digests of a table at a version.

    Args:
        offline: Where the table is.
        table: Its name.
        version: The version to read; -1 stands for the absent table.
        period_us: First and last event time to read, both inclusive; None reads all.

    Returns:
        `EVENT_ID` and `DIGEST`, in no particular order.
    """
    if version < 0:
        return pa.table({name: pa.array([], pa.string()) for name in _KEY})
    after_us, until_us = (period_us[0] - 1, period_us[1]) if period_us else (None, None)
    return offline.read(table, columns=_KEY, after_us=after_us, until_us=until_us, version=version)


def event_period_us(rows: pa.Table) -> tuple[int, int] | None:
    """Return the first and the last event time of rows, None without rows.

    A row can only repeat a stored one of the same event time, because the event time is part of its content.
    """
    if rows.num_rows == 0:
        return None
    ends = pc.min_max(rows[EVENT_TIME].cast(pa.int64())).as_py()
    return ends["min"], ends["max"]


def _keys(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series(values=rows[name], dtype=pl.String) for name in _KEY})
