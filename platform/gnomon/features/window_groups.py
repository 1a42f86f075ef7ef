"""The values inside the windows of some requests, group by group: what a statistic is computed from.

Made by `windows`; read by `window_statistics` and `window_lists`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gnomon.features.event_columns import Array, Flags, Int64s
from gnomon.features.window_operands import Operand


@dataclass(frozen=True)
class Groups:
    """The values that take part, one group per request.

    Attributes:
        operand: What the values are.
        members: Group of each value; ascending.
        positions: Event of each value; in the order of time within a group.
        counts: Number of values of each group; shape (groups,).
        until_us: The time that each group was asked for; shape (groups,).
        all_event_us: Event time at each position.
    """

    operand: Operand
    members: Int64s
    positions: Int64s
    counts: Int64s
    until_us: Int64s
    all_event_us: Int64s

    @classmethod
    def of(
        cls, operand: Operand, members: Int64s, positions: Int64s, until_us: Int64s, all_event_us: Int64s
    ) -> Groups:  # fmt: skip
        """Take the positions whose operand takes part."""
        if operand.takes_part is not None:
            kept = operand.takes_part[positions]
            members, positions = members[kept], positions[kept]
        counts = np.bincount(members, minlength=len(until_us)).astype(np.int64)
        return cls(operand, members, positions, counts, until_us, all_event_us)

    @cached_property
    def numbers(self) -> Array:
        """Return the values, group after group, in the order of time."""
        assert self.operand.values is not None, "rows have no values, only a number and times"
        result: Array = self.operand.values[self.positions]
        return result

    @cached_property
    def ranked(self) -> Array:
        """Return the values, group after group, in ascending order."""
        result: Array = self.numbers[np.lexsort((self.numbers, self.members))]
        return result

    @cached_property
    def distinct_starts(self) -> Int64s:
        """Return where each distinct value of each group begins in `ranked`."""
        fresh = np.ones(len(self.ranked), np.bool_)
        fresh[1:] = (self.ranked[1:] != self.ranked[:-1]) | (self.members[1:] != self.members[:-1])
        return np.flatnonzero(fresh)

    @property
    def event_us(self) -> Int64s:
        """Return the event time of each value."""
        result: Int64s = self.all_event_us[self.positions]
        return result

    @property
    def filled(self) -> Flags:
        """Tell which groups hold a value."""
        result: Flags = self.counts > 0
        return result

    @property
    def starts(self) -> Int64s:
        """Return where each group that holds a value begins."""
        result: Int64s = (np.cumsum(self.counts) - self.counts)[self.filled]
        return result
