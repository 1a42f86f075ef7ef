"""A program that failure tests start, kill and stop: it appends numbered batches and acknowledges each on a line.

    python -m gnomon.testing.numbered_batches gnomon.storage.delta_tables:DeltaTables ROOT FIRST LAST [SEED]

Batch n is `BATCH_ROWS` rows under the id `batch n`. After each append it prints the batch's number, and 1 if the batch
was repeated, else 0. With a seed the batches come in shuffled order.
"""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path

import pyarrow as pa

from gnomon.contracts.offline_store import OfflineStore
from gnomon.testing.offline_store_contract import event_rows

TABLE = "payments"
BATCH_ROWS = 40


def batch_rows(number: int) -> pa.Table:
    """Return the rows of a batch; `row` is unique over all batches."""
    numbers = range(number * BATCH_ROWS, (number + 1) * BATCH_ROWS)
    return event_rows(numbers, row=list(numbers), text=[f"row {n}" for n in numbers])


def _append_batches(store: OfflineStore, first: int, last: int, seed: int | None = None) -> None:
    numbers = list(range(first, last))
    if seed is not None:
        random.Random(seed).shuffle(numbers)  # noqa: S311
    for number in numbers:
        commit = store.append(TABLE, batch_rows(number), f"batch {number}")
        print(number, int(commit.repeated), flush=True)


if __name__ == "__main__":
    module, _, implementation = sys.argv[1].partition(":")
    opened = getattr(importlib.import_module(module), implementation)(Path(sys.argv[2]))
    _append_batches(opened, *map(int, sys.argv[3:]))
