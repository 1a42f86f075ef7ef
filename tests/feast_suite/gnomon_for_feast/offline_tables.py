"""Rows of Feast's sources in our Delta tables. Called by the data source, the offline store and the suite's creators.

A row of Feast is an event of its own. It is known from its event time on, as Feast has it, and of equal event times the
later created counts: its creation stands in the ingestion time. Of a source with a creation column there is a second
table whose rows are known from their creation on: what `filter_by_created_timestamp` asks for is our known time.
"""

from __future__ import annotations

import base64
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.features.expression_kernels import TIMESTAMP
from gnomon.storage.delta_tables import DeltaTables
from gnomon_for_feast.apps import name_of
from gnomon_for_feast.kept_types import given, kept

ROW: Final = "_row_of_feast"
"""Number of the row in its table."""
EVERYTHING: Final = "_all_of_feast"
"""A key with one value: that of views without an entity."""
_SCHEMA = "schema"


class OfflineTables:
    """Tables of Feast's sources in a folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self.store = DeltaTables(self._root)

    def table(self, source: str, *, by_creation: bool = False) -> str:
        """Return the name of a source's table, or of the one whose rows are known from their creation on."""
        return name_of(f"{source}/created") if by_creation else name_of(source)

    def exists(self, source: str) -> bool:
        """Tell whether a source has a table."""
        return self.store.version(self.table(source)) >= 0

    def drop(self, source: str) -> None:
        """Remove a source's tables; ours only grow, and so their folders go."""
        for by_creation in (False, True):
            shutil.rmtree(self._root / self.table(source, by_creation=by_creation), ignore_errors=True)
        self.store = DeltaTables(self._root)

    def append(self, source: str, rows: pa.Table, event_time: str, created: str) -> None:
        """Add rows to a source's tables, which are made where they are absent.

        Args:
            source: Name of the source.
            rows: In any types.
            event_time: Column with the time of the event; without a zone it is UTC.
            created: Column with the time of the creation; empty for none.
        """
        if not self.exists(source):
            self._create(source, rows.schema, bool(created))
        table = self.table(source)
        first = self.store.read(table, columns=[ROW]).num_rows
        numbers = pa.array(np.arange(first, first + rows.num_rows))
        kept_rows = pa.table({name: kept(rows.column(name)) for name in rows.column_names})
        event = rows.column(event_time).cast(TIMESTAMP, safe=False)
        made = event if not created else pc.coalesce(rows.column(created).cast(TIMESTAMP, safe=False), event)
        system = {
            EVENT_TIME: event, KNOWN_TIME: event, INGESTED_AT: made, ROW: numbers,
            EVENT_ID: pc.utf8_lpad(numbers.cast(pa.string()), 18, "0"),
            EVERYTHING: pa.array([""] * rows.num_rows, pa.string()),
        }  # fmt: skip
        batch = uuid.uuid4().hex
        self.store.append(table, _with(kept_rows, system), batch)
        if created:
            known = _with(kept_rows, {**system, KNOWN_TIME: made})
            self.store.append(self.table(source, by_creation=True), known, batch)

    def schema(self, source: str) -> pa.Schema:
        """Return the columns of a source in the types that Feast gave."""
        commit = self.store.committed(self.table(source), _SCHEMA)
        if commit is None:
            raise KeyError(f"source '{source}' has no table in {self._root}")
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(commit.note[_SCHEMA])))

    def read(
        self, source: str, columns: Sequence[str], after_us: int | None = None, until_us: int | None = None
    ) -> pa.Table:  # fmt: skip
        """Return rows with event times in `(after_us, until_us]` in the order in which they came.

        Args:
            source: Name of the source.
            columns: Columns of Feast, and system columns.
            after_us: As `OfflineStore.read` has it.
            until_us: The same.

        Returns:
            The columns, in the types that Feast gave, and `ROW`.
        """
        schema = self.schema(source)
        wanted = list(dict.fromkeys([*columns, ROW]))
        found = self.store.read(self.table(source), columns=wanted, after_us=after_us, until_us=until_us)
        found = found.sort_by(ROW)
        return pa.table({
            name: given(found.column(name), schema.field(name).type) if name in schema.names else found.column(name)
            for name in wanted
        })  # fmt: skip

    def _create(self, source: str, schema: pa.Schema, has_creation: bool) -> None:
        plain = schema.remove_metadata()
        text = base64.b64encode(plain.serialize().to_pybytes()).decode()
        columns = {field.name: kept(pa.chunked_array([], field.type)) for field in plain}
        empty = pa.table(columns)
        times = pa.array([], TIMESTAMP)
        texts = pa.array([], pa.string())
        system = {EVENT_TIME: times, KNOWN_TIME: times, INGESTED_AT: times, ROW: pa.array([], pa.int64())}
        rows = _with(empty, {**system, EVENT_ID: texts, EVERYTHING: texts})
        for by_creation in (False, True) if has_creation else (False,):
            self.store.append(self.table(source, by_creation=by_creation), rows, _SCHEMA, note={_SCHEMA: text})


def _with(rows: pa.Table, columns: dict[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    for name, values in columns.items():
        rows = rows.append_column(name, values)
    return rows
