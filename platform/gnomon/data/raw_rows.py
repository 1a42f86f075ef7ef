"""RawRows: what a reader found in a part of a file, before anything is made of it.

Made by `csv_rows`, `json_rows` and `source_readers`; judged by `validation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class Reject:
    """A row that does not enter the table.

    Attributes:
        line: Line in a text file, row number in Parquet, element number in a JSON array; from 1.
        rule: Short name of the rule that it breaks, such as `null_id` or `type:amount`.
        reason: What is true, with the value.
        raw: The row as JSON text.
        event_time_us: Its event time where that could be read.
    """

    line: int
    rule: str
    reason: str
    raw: str
    event_time_us: int | None = None


@dataclass(frozen=True)
class RawRows:
    """Rows of a part, column by column, as they stand in the file.

    Attributes:
        columns: By name; each of as many cells as there are rows, of whatever type the file has.
        rows: Number of rows.
        lines: Line of each row, as in `Reject`.
        rejects: What could not even be split into columns.
        raw: Returns the rows at positions as JSON texts; called for rejected rows only.
    """

    columns: Mapping[str, pa.ChunkedArray]
    rows: int
    lines: npt.NDArray[np.int64]
    rejects: tuple[Reject, ...]
    raw: Callable[[npt.NDArray[np.int64]], list[str]]
