"""Appends the new rows of a batch to a table, exactly once, beside any number of other writers.

Called by `ingestion`. What is new is worked out against one version of the table and committed only onto that version;
when another writer was faster, it is worked out again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pyarrow as pa

from gnomon.contracts.offline_store import Commit, OfflineStore
from gnomon.data.deduplication import Fresh, drop_known, event_period_us, stored_keys
from gnomon.errors import Conflict

MOST_TRIES = 20
"""A writer that lost this many races in a row gives up: something else than ingestion must be writing without pause."""

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 1.0

T = TypeVar("T")


def append_new(
    offline: OfflineStore, table: str, rows: pa.Table, batch_id: str, *, by_period: bool,
    note: Callable[[Fresh], Mapping[str, Any]] = lambda fresh: {},
    sleep: Callable[[float], None] = time.sleep,
) -> Commit:  # fmt: skip
    """Add the rows that the table does not hold yet, as one version.

    Args:
        offline: Where the table is.
        table: Its name; it is created when absent.
        rows: With `EVENT_TIME`, `EVENT_ID` and `DIGEST`; none commits the batch id alone.
        batch_id: A batch that was committed before adds nothing.
        by_period: Compare with stored rows of the same event times only. Wrong where a repeated row may have another
            event time than before, as a reject without one.
        note: Gives what is to be kept with the commit, from what turned out to be new.
        sleep: Waits between tries, for seconds.

    Returns:
        The commit, with its note; the earlier one of a batch that was committed before.

    Raises:
        Conflict: Other writers were faster twenty times in a row; nothing was written.
    """

    def once() -> Commit:
        version = offline.version(table)
        known = stored_keys(offline, table, version, event_period_us(rows) if by_period else None)
        fresh = drop_known(rows, known)
        return offline.append(table, fresh.rows, batch_id, expected_version=version, note=note(fresh))

    return until_no_conflict(once, sleep)


def until_no_conflict(attempt: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Repeat an attempt that raises Conflict, with growing pauses, twenty times at most."""
    pause_s = _FIRST_PAUSE_S
    for _ in range(MOST_TRIES - 1):
        try:
            return attempt()
        except Conflict:
            sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return attempt()
