"""OfflineStore: the record of everything, as versioned tables of rows with event time and known time.

Implemented by `storage.delta_tables`; written by ingestion, the prediction log and outcomes; read by training sets,
materialization and monitoring. The port's contract suite is `testing.offline_store_contract`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


@dataclass(frozen=True)
class Commit:
    """What an append did.

    Attributes:
        version: Version of the table that holds the rows.
        rows: Rows that the batch added when it was first committed.
        repeated: The batch had been committed before, and nothing was added now.
        note: What the writer noted when the batch was first committed.
    """

    version: int
    rows: int
    repeated: bool
    note: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StagedFile:
    """A data file that is durable and invisible until a commit names it.

    Attributes:
        path: Relative to the table.
        rows: Number of rows.
        size_bytes: Size of the file.
        min_event_us: Least event time in it, microseconds since the epoch.
        max_event_us: Greatest event time in it.
    """

    path: str
    rows: int
    size_bytes: int
    min_event_us: int
    max_event_us: int


class OfflineStore(Protocol):
    """Tables that only grow, one version a commit.

    Table names match `[a-z][a-z0-9_]*`; the store alone decides where they lie. Every table has the columns of
    `contracts.columns.SYSTEM_COLUMNS` that its writer gives, at least `EVENT_TIME`. A reader never sees half a commit.
    When `append` or `commit` returns, the rows survive a power cut. A batch id is committed at most once, for ever.
    """

    def append(
        self, table: str, rows: pa.Table, batch_id: str, *, expected_version: int | None = None,
        note: Mapping[str, Any] | None = None, further_ids: Sequence[str] = (),
    ) -> Commit:  # fmt: skip
        """Add rows as one version; the first append creates the table with the rows' schema.

        Args:
            table: Name of the table.
            rows: May lack nullable columns of the table and may add columns, which older rows then hold as null.
            batch_id: Names this batch; a batch that was committed before adds nothing and is reported as repeated.
            expected_version: Refuse unless the table is at this version now (-1: absent); None takes any.
            note: A small JSON object to keep with the commit, in the same step.
            further_ids: Other batches that are part of this one: `contains` and `committed` find the commit by them
                too. Whether they were committed before is the caller's to check, at the version that it expects.

        Returns:
            Version, number of rows and note of the batch's commit; of the earlier commit when the batch is repeated.

        Raises:
            Conflict: The table is at another version than expected; nothing was written.
            InvalidInput: A column has another type than in the table.
            OutOfSpace: The disk is full; nothing is visible.
        """
        ...

    def stage(self, table: str, rows: pa.Table) -> StagedFile:
        """Write rows to a durable data file that no reader sees; callable from many processes at once."""
        ...

    def commit(
        self, table: str, schema: pa.Schema, files: Sequence[StagedFile], batch_id: str, *,
        expected_version: int | None = None, note: Mapping[str, Any] | None = None, further_ids: Sequence[str] = (),
    ) -> Commit:  # fmt: skip
        """Make staged files visible as one version; otherwise as `append`. An empty list commits the batch id alone."""
        ...

    def contains(self, table: str, batch_id: str) -> bool:
        """Tell whether the batch was committed; False where the table is absent."""
        ...

    def committed(self, table: str, batch_id: str) -> Commit | None:
        """Return the batch's commit, marked as repeated; None where there is none, or no table."""
        ...

    def version(self, table: str) -> int:
        """Return the newest version, -1 where the table is absent."""
        ...

    def schema(self, table: str, *, version: int | None = None) -> pa.Schema:
        """Return the table's schema.

        Args:
            table: Name of the table.
            version: As of this version; the newest when left out.

        Returns:
            Every column with its type, system columns included.

        Raises:
            NotFound: The table, or that version of it, is absent.
        """
        ...

    def read(
        self, table: str, *, columns: Sequence[str] | None = None, after_us: int | None = None,
        until_us: int | None = None, version: int | None = None,
    ) -> pa.Table:  # fmt: skip
        """Read rows with event time in `(after_us, until_us]`, in no particular order.

        Args:
            table: Name of the table.
            columns: Which columns, in which order; all of the schema when left out.
            after_us: Only later event times, microseconds since the epoch; from the beginning when left out.
            until_us: Only event times up to and including this one; to the end when left out.
            version: As of this version; the newest when left out.

        Returns:
            All such rows in memory; empty, with the columns, where there are none.

        Raises:
            NotFound: The table, that version, or a column is absent.
            CorruptData: A data file is damaged.
        """
        ...

    def files(
        self, table: str, *, after_us: int | None = None, until_us: int | None = None, version: int | None = None
    ) -> list[str]:  # fmt: skip
        """Return absolute paths of the Parquet files that can hold rows of that event time, for distributed readers."""
        ...

    def derived_folder(self, table: str) -> Path | None:
        """Return where data that is made from the table may lie, a cache that can be made again at any time.

        Args:
            table: Name of the table.

        Returns:
            A folder of the store's own that all readers see and no table is; it need not exist yet. None where the
            store keeps no such data.
        """
        ...

    def tables(self) -> list[str]:
        """Return the names of all tables, sorted."""
        ...
