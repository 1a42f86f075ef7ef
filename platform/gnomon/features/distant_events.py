"""DistantEvents: hashes of the ids of events that are stored, but not held in memory. Used by `stream_cache`."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from gnomon.features.event_columns import Array, Int64s
from gnomon.features.event_order import NEVER_US


class DistantEvents:
    """Sixteen bytes an event: a hash of its id, and until when it has to be remembered."""

    def __init__(self) -> None:
        self._hashes: Array = np.zeros(0, np.uint64)  # ascending
        self._until_us: Int64s = np.zeros(0, np.int64)

    @property
    def size_bytes(self) -> int:
        """Return how much memory the hashes take."""
        return int(self._hashes.nbytes + self._until_us.nbytes)

    @staticmethod
    def hashes(ids: pa.Array) -> Array:
        """Return 64-bit hashes; equal ones of unequal ids lead to a needless look only."""
        result: Array = pl.Series(values=ids, dtype=pl.String).hash().to_numpy()
        return result

    def among(self, ids: pa.Array) -> pa.Array:
        """Return those of some ids that may be of such events."""
        hashes = self.hashes(ids)
        if not len(self._hashes):
            return ids.slice(0, 0)
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        return ids.filter(pa.array(self._hashes[places] == hashes))

    def remember(self, hashes: Array, until_us: Int64s | None = None) -> None:
        """Remember events.

        Args:
            hashes: Of their ids.
            until_us: Up to when each is needed; for ever when left out.
        """
        if not len(hashes):
            return
        until_us = np.full(len(hashes), NEVER_US, np.int64) if until_us is None else until_us
        all_hashes = np.concatenate([self._hashes, hashes])
        all_until = np.concatenate([self._until_us, until_us])
        order = np.lexsort((-all_until, all_hashes))
        first = np.ones(len(order), np.bool_)
        first[1:] = all_hashes[order][1:] != all_hashes[order][:-1]
        self._hashes, self._until_us = all_hashes[order[first]], all_until[order[first]]

    def forget(self, as_of_us: int) -> None:
        """Forget what is not needed after a moment."""
        needed = self._until_us > as_of_us
        if not needed.all():
            self._hashes, self._until_us = self._hashes[needed], self._until_us[needed]
