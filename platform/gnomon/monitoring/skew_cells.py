"""The cells of a skew audit: which values of which predictions differ, and which class explains each of them.

Filled by `skew_classes` and `skew_clocks` for `skew_audit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from gnomon.features.event_columns import Flags, Int64s
from gnomon.monitoring.skew_values import same

CLASSES: Final = (
    "default", "expiry", "stale", "late_data", "backfill", "definition_version", "clock", "unexplained"
)  # fmt: skip
"""In the order in which they are tried, but that `late_data` is told from `stale` when that holds."""

_CODES: Final = {name: code for code, name in enumerate(CLASSES)}
OPEN: Final = -1
_EQUAL: Final = -2

Values = Mapping[str, pa.Array]
Codes = np.ndarray[Any, np.dtype[np.int8]]
"""Indices of classes in `CLASSES`; negative where there is none."""


@dataclass(frozen=True)
class SkewRows:
    """Predictions in which some feature of one view differs; all arrays have one element per prediction.

    Attributes:
        keys: Key columns of the view.
        time_us: When each was asked.
        age_us: Age that was served; `ABSENT_US` where the store had no row.
        status: `Status` by feature.
        served: Logged values by feature.
        differs: By feature, where the reference is another value.
    """

    keys: pa.Table
    time_us: Int64s
    age_us: Int64s
    status: Mapping[str, Int64s]
    served: Values
    differs: Mapping[str, Flags]

    @property
    def names(self) -> list[str]:
        """The features in question."""
        return list(self.served)

    def take(self, rows: Int64s) -> SkewRows:
        """Return some of the rows."""
        picked = pa.array(rows)
        return SkewRows(
            self.keys.take(picked), self.time_us[rows], self.age_us[rows], {n: s[rows] for n, s in self.status.items()},
            {n: v.take(picked) for n, v in self.served.items()}, {n: d[rows] for n, d in self.differs.items()},
        )  # fmt: skip


class OpenCells:
    """Which (prediction, feature) cells differ and have no explanation yet.

    Args:
        case: The rows.

    Attributes:
        codes: By feature, the index of each row's class in `CLASSES`; negative where equal or open.
    """

    def __init__(self, case: SkewRows) -> None:
        self.case = case
        self.codes = {n: np.where(d, OPEN, _EQUAL).astype(np.int8) for n, d in case.differs.items()}

    def rows(self) -> Int64s:
        """Return the rows with an open cell, ascending."""
        open_ = [codes == OPEN for codes in self.codes.values()]
        return np.flatnonzero(np.logical_or.reduce(open_)) if open_ else np.zeros(0, np.int64)

    def mark(
        self, kind: str, rows: Int64s, values: Values, holds: Flags | Mapping[str, Flags],
        unless: Mapping[str, tuple[str, Flags]] | None = None,
    ) -> None:  # fmt: skip
        """Close the open cells of some rows whose served value is the given one.

        Args:
            kind: The class that explains them.
            rows: Which rows; the other arguments have one element for each.
            values: By feature; those left out stay open.
            holds: Where the explanation may be used at all, for all features or by feature.
            unless: By feature another class, and where it is the one.
        """
        for name, value in values.items():
            allowed = holds[name] if isinstance(holds, Mapping) else holds
            open_ = self.codes[name][rows] == OPEN
            hit = open_ & allowed
            if not hit.any():
                continue
            hit &= same(self.case.served[name].take(pa.array(rows)), value)
            self.codes[name][rows[hit]] = _CODES[kind]
            if unless is not None and name in unless:
                other, where = unless[name]
                self.codes[name][rows[hit & where]] = _CODES[other]

    def finish(self) -> dict[str, Codes]:
        """Return the classes; what is open still is unexplained."""
        return {n: np.where(c == OPEN, _CODES["unexplained"], c).astype(np.int8) for n, c in self.codes.items()}
