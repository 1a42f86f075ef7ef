"""Reads the prediction log for the skew audit: some rows at a time, each column as it was logged.

Called by `skew_audit`. The table's columns are those of `serving.prediction_log`: `number.<input>` or `text.<input>`,
`age_us.<lookup>`, `status.<lookup>` and `key.<name>`. Every logged answer is read, also of an id that was used twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, Dtype
from gnomon.contracts.offline_store import OfflineStore
from gnomon.features.event_columns import Array, Int64s, column
from gnomon.features.expression_kernels import ARROW_TYPES, STRING, TIMESTAMP
from gnomon.features.view_rows import REQUEST_TIME

ABSENT_US = -1
"""Age of a value for which the online store had no row."""

_FIRST_SLICE_US = 60_000_000


def log_slices(
    offline: OfflineStore, table: str, after_us: int, until_us: int, slice_rows: int
) -> Iterator[pa.Table]:  # fmt: skip
    """Yield a deployment's predictions of `(after, until]` in stretches of time, each ordered by time and id.

    The stretches grow while they hold few rows and shrink when they hold many, so that about `slice_rows` are in memory
    at once; a stretch that follows a sudden rush may hold more.

    Args:
        offline: Where the log is.
        table: Name of the log's table.
        after_us: Exclusive start, microseconds since the epoch.
        until_us: Inclusive end.
        slice_rows: How many rows a stretch should hold.

    Yields:
        pa.Table: Rows with all columns of the log; none where nothing was logged.
    """
    version = offline.version(table)
    if version < 0:
        return
    times = offline.read(table, columns=[EVENT_TIME], after_us=after_us, until_us=until_us, version=version)
    bounds = pc.min_max(times[EVENT_TIME].cast(pa.int64())).as_py() if times.num_rows else None
    del times
    if bounds is None:
        return
    start_us, end_us, width_us = bounds["min"] - 1, bounds["max"], _FIRST_SLICE_US
    while start_us < end_us:
        stop_us = min(start_us + width_us, end_us)
        rows = offline.read(table, after_us=start_us, until_us=stop_us, version=version)
        if rows.num_rows > 2 * slice_rows and stop_us - start_us > 1:
            width_us = max(1, (stop_us - start_us) * slice_rows // rows.num_rows)
            continue
        if rows.num_rows:
            yield rows.sort_by([(EVENT_TIME, "ascending"), (EVENT_ID, "ascending")]).combine_chunks()
        width_us = width_us * 2 if rows.num_rows <= slice_rows // 2 else width_us
        start_us = stop_us


def logged_input(rows: pa.Table, name: str, dtype: Dtype) -> pa.Array:
    """Return a model input as it was logged: text, or float64; null where it was null or NaN."""
    wanted, kind = (STRING, "text") if dtype == "string" else (pa.float64(), "number")
    stored = f"{kind}.{name}"
    if stored not in rows.column_names:  # a batch of nulls alone, or none at all
        return pa.nulls(rows.num_rows, wanted)
    return column(rows, stored).cast(wanted)


def logged_whole(rows: pa.Table, prefix: str, lookup: str, absent: int) -> Int64s:
    """Return `age_us` or `status` of a looked-up feature as int64, `absent` where nothing was logged."""
    name = f"{prefix}.{lookup}"
    if name not in rows.column_names:
        return np.full(rows.num_rows, absent, np.int64)
    result: Int64s = np.asarray(pc.fill_null(column(rows, name).cast(pa.int64()), absent))
    return result


def logged_requests(rows: pa.Table, keys: Mapping[str, Dtype], time_us: Int64s) -> pa.Table:
    """Return the requests of a point-in-time join: the keys in their types, and the times.

    Args:
        rows: Of the log.
        keys: Key columns with their types.
        time_us: When each prediction was asked.

    Returns:
        One request per row, in their order; a key that was not logged is null and finds nothing.
    """
    columns: dict[str, pa.Array | Array] = {}
    for key, dtype in keys.items():
        name = f"key.{key}"
        text = column(rows, name) if name in rows.column_names else pa.nulls(rows.num_rows, STRING)
        columns[key] = _typed(text, dtype)
    return pa.table({**columns, REQUEST_TIME: pa.array(time_us, pa.int64())})


def _typed(text: pa.Array, dtype: Dtype) -> pa.Array:
    """Read texts that Python's `str` made of keys."""
    if dtype == "timestamp":
        return text.cast(pa.int64()).cast(TIMESTAMP)
    return text.cast(ARROW_TYPES[dtype])
