"""Packs deletions for the online store: the header of a row and nothing behind it.

Used by `features.store_operations`. An entity's newest deletion in a view lies in a field of its own, for all versions
of the view. The server's script compares its times like a row's and never lets an older row be written. Where a row has
its layout version a tombstone has `gone`, so that no codec would take it for a row.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME
from gnomon.contracts.layouts import ViewLayout
from gnomon.errors import InvalidInput
from gnomon.features.codec import column_of

MARK: Final = b"gone"
_DTYPE: Final = np.dtype([("event", ">i8"), ("known", ">i8"), ("mark", "S4")])


def encode_tombstones(layout: ViewLayout, table: pa.Table | pa.RecordBatch) -> list[bytes]:
    """Pack one deletion per row of a table, in order.

    Args:
        layout: The view that rows are deleted from; named in errors.
        table: With `EVENT_TIME` and `KNOWN_TIME` of the deletions.

    Returns:
        20 bytes per row.

    Raises:
        InvalidInput: A time column is missing or of another type, or a time is null.
    """
    records: np.ndarray[Any, Any] = np.zeros(table.num_rows, _DTYPE)
    records["mark"] = MARK
    for field, name in (("event", EVENT_TIME), ("known", KNOWN_TIME)):
        times = column_of(table, name, "timestamp", layout.view)
        if times.null_count:
            raise InvalidInput(f"deletions of view '{layout.view}': '{name}' is null", "every deletion needs its times")
        records[field] = np.asarray(pc.cast(times, pa.int64()))
    return [record.tobytes() for record in records]
