"""OnlineStore: the newest row of each view per entity, for reads in one round trip.

Implemented by `features.redis_online_store`; written by materialization, read through a `ReadPlan` inside replicas.
It is a cache of the offline store and can be rebuilt at any time. Contract: `testing.online_store_contract`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

from gnomon.contracts.layouts import ViewLayout

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Status(IntEnum):
    """What a served value is."""

    PRESENT = 0
    """A valid value."""
    NULL = 1
    """The newest row holds null."""
    MISSING_ENTITY = 2
    """The entity has no row in any view of the store."""
    MISSING_FEATURE = 3
    """The entity is known, but this view has no row for it (or only one of another version of the view)."""
    EXPIRED = 4
    """The row is older than the view's max age; the value is null, or served when the policy says `serve`."""
    DEFAULT = 5
    """The declared default, in place of a missing or expired value."""


@dataclass(frozen=True)
class ReadPlan:
    """Which features of which views one kind of request needs; compiled once by `read_plan`, then only used.

    Attributes:
        layouts: The views, each with all of its stored columns.
        features: Wanted columns as (index of layout, index of column), in output order.
        names: `view.feature` of each, in the same order.
    """

    layouts: tuple[ViewLayout, ...]
    features: tuple[tuple[int, int], ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class OnlineRows:
    """Values of n entities for the features of a plan, in the order of the request.

    Attributes:
        values: One array of length n per feature name; float64, int64, bool, or object (strings, and any column with
            nulls whose type has no NaN: int64, bool and timestamp then hold None as objects).
        status: uint8 `Status`, shape (n, features).
        age_us: int64, shape (n, features): now − event time of the row; −1 where there is no row.
    """

    values: Mapping[str, np.ndarray[Any, Any]]
    status: np.ndarray[Any, Any]
    age_us: np.ndarray[Any, Any]


@dataclass(frozen=True)
class WriteResult:
    """What a write did: rows that became the newest, and rows that were older than (or equal to) what was there."""

    written_rows: int
    ignored_rows: int


class OnlineStore(Protocol):
    """The newest row per view and entity; last event time wins.

    A row replaces the stored one if its (event time, known time) is greater; equal or smaller is ignored, so that
    repeated and late writes are harmless. The comparison is atomic on the server. A null replaces a value. Rows of
    different layout versions of a view lie side by side: a write or a read of one never touches another. A deletion is
    one of all versions, also of those that are written later.
    """

    def write(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        """Write rows with the layout's key columns, `EVENT_TIME`, `KNOWN_TIME` and its feature columns.

        Args:
            layout: The view that the rows belong to.
            rows: Any number of rows, in any order, of one entity as often as they come: the newest stays.

        Returns:
            How many rows were written and how many ignored; together the number of rows.

        Raises:
            Unavailable: The server does not answer; repeating is safe.
            InvalidInput: A column is missing or of another type, or a key is null.
        """
        ...

    def delete(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        """Delete the rows of entities in one view: what is not newer goes, and never comes back by a late write.

        A deletion stands for everything of its entity up to its (event time, known time), that moment included, in
        every version; a row with a greater one stays, or comes back. The newest one's times are kept until `clear`.

        Args:
            layout: The view; the versions of its rows do not matter.
            rows: The layout's key columns, `EVENT_TIME` and `KNOWN_TIME`; other columns are not read.

        Returns:
            How many deletions became the newest of their entity, stored row or not, and how many came too late for a
            row of any version or were repeated.

        Raises:
            Unavailable: The server does not answer; repeating is safe.
            InvalidInput: A column is missing or of another type, or a key or time is null.
        """
        ...

    def read(
        self, plan: ReadPlan, keys: Sequence[Mapping[str, Any]], now_us: int, timeout_s: float | None = None
    ) -> OnlineRows:  # fmt: skip
        """Read all features of the plan for n entities in one round trip.

        Args:
            plan: What to read.
            keys: One mapping per row, with every key column of every layout.
            now_us: The time that ages are counted to.
            timeout_s: Nobody waits for the answer any longer than this, in seconds; the store's own deadline holds too.

        Returns:
            One row per mapping in `keys`, in that order; features in the plan's order.

        Raises:
            Unavailable: The server does not answer within the deadline.
            InvalidInput: A key is missing or of another type, or an expired value meets the policy `reject`.
        """
        ...

    def clear(self, layout: ViewLayout) -> int:
        """Remove all rows of a view, of every version, and its deletions; return how many entities had a row."""
        ...

    def drop_version(self, layout: ViewLayout) -> int:
        """Remove the rows of the layout's version, and no others; return how many entities had one."""
        ...

    def ping(self) -> None:
        """Return when the server answers.

        Raises:
            Unavailable: It does not; the message names its address.
        """
        ...
