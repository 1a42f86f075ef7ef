"""DeltaTables, the offline store: Delta Lake tables in a local folder whose commits survive a power cut.

Given by the composition root to ingestion, training sets, materialization and the prediction log. Any Delta reader
opens the tables. Only the writing is our own, because delta-rs does not fsync: data files are durable before the commit
names them, and the commit is durable before it is acknowledged.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.offline_store import Commit, StagedFile
from gnomon.errors import Conflict, InvalidInput, NotFound, OutOfSpace, did_you_mean, unknown_name
from gnomon.storage.delta_checkpoints import PROTOCOL
from gnomon.storage.delta_files import read_data_files, write_data_file
from gnomon.storage.delta_log import Action, DeltaLog, TableState, commit_name, event_time_stats
from gnomon.storage.delta_schemas import merged_schema, storable_rows, storable_schema, to_delta
from gnomon.storage.durable_files import is_older, make_folder, remove_temporary_files

_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,199}")
_DATA_FILE_NAME = re.compile(r"part-[0-9a-f]{32}\.parquet")


class DeltaTables:
    """Implements `contracts.offline_store.OfflineStore`; safe for threads and processes, and it can be pickled.

    Args:
        root: Folder that holds one folder a table; created on the first write. A local file system with hard links.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root).absolute()
        self._logs: dict[str, DeltaLog] = {}
        self._made: set[str] = set()

    def __reduce__(self) -> tuple[type[DeltaTables], tuple[Path]]:
        return (DeltaTables, (self._root,))

    def append(
        self, table: str, rows: pa.Table, batch_id: str, *, expected_version: int | None = None,
        note: Mapping[str, Any] | None = None, further_ids: Sequence[str] = (),
    ) -> Commit:  # fmt: skip
        """Add rows as one version; see the port. A batch without rows commits its id alone."""
        schema = storable_schema(rows.schema)
        if (done := self.committed(table, batch_id)) is not None:
            return done
        self._require_version(table, expected_version)
        self._next_schema(table, schema)
        staged = [self.stage(table, rows)] if rows.num_rows else []
        try:
            commit = self.commit(
                table, schema, staged, batch_id, expected_version=expected_version, note=note, further_ids=further_ids
            )
        except (Conflict, InvalidInput, OutOfSpace):
            self._discard(table, staged)
            raise
        if commit.repeated:
            self._discard(table, staged)
        return commit

    def stage(self, table: str, rows: pa.Table) -> StagedFile:
        """Write rows to a durable data file that no reader sees; callable from many processes at once.

        Args:
            table: Name of the table; it need not exist yet, and its schema is looked at by `commit` only.
            rows: At least one row, each with an event time.

        Returns:
            What `commit` needs to make the rows visible.

        Raises:
            InvalidInput: There are no rows, one has no event time, or a type cannot be stored.
            OutOfSpace: The disk is full; the file was removed.
        """
        rows = storable_rows(rows)
        if rows.num_rows == 0:
            raise InvalidInput(f"there are no rows to stage for table '{table}'", "commit without files instead")
        return write_data_file(self._make(table), rows)

    def commit(
        self, table: str, schema: pa.Schema, files: Sequence[StagedFile], batch_id: str, *,
        expected_version: int | None = None, note: Mapping[str, Any] | None = None, further_ids: Sequence[str] = (),
    ) -> Commit:  # fmt: skip
        """Make staged files visible as one version; see the port. An empty list commits the batch id alone.

        Args:
            table: Name of the table; created when absent.
            schema: Schema of the rows in the files.
            files: What `stage` returned, each to be committed once.
            batch_id: Names this batch for ever.
            expected_version: Refuse unless the table is at this version now (-1: absent); None takes any.
            note: Kept in the commit, as Delta's `userMetadata`.
            further_ids: Other batches that are part of this one; each becomes a `txn` of the commit.

        Returns:
            The version that holds the rows.

        Raises:
            OutOfSpace: The disk is full; nothing is visible, and the staged files are kept.
            InvalidInput: A column has another type than in the table.
            Conflict: The table is at another version than expected, or a staged file is gone.
        """
        if not batch_id:
            raise InvalidInput("the batch id is empty", "name each batch; a resend of it must have the same id")
        schema = storable_schema(schema)
        folder = self._make(table)
        log = self._log(table)
        adds = [self._add(folder, file) for file in files]
        while True:
            if (done := self.committed(table, batch_id)) is not None:
                return done
            version = self._require_version(table, expected_version) + 1
            _require_uncommitted(files, log)
            actions = [*self._opening(table, version, schema, (batch_id, *further_ids), note or {}), *adds]
            if log.write(version, actions):
                return Commit(version, sum(file.rows for file in files), repeated=False, note=note or {})

    def contains(self, table: str, batch_id: str) -> bool:
        """Tell whether the batch was committed; False where the table is absent."""
        log = self._log(table)
        log.refresh()
        return log.batch_version(batch_id) is not None

    def committed(self, table: str, batch_id: str) -> Commit | None:
        """Return the batch's commit, marked as repeated; None where there is none, or no table."""
        log = self._log(table)
        log.refresh()
        version = log.batch_version(batch_id)
        if version is None:
            return None
        rows, note = log.rows_and_note(version)
        return Commit(version, rows, repeated=True, note=note)

    def version(self, table: str) -> int:
        """Return the newest version, -1 where the table is absent."""
        return self._log(table).refresh()

    def schema(self, table: str, *, version: int | None = None) -> pa.Schema:
        """Return the table's schema; see the port."""
        return self._state(table, version).schema

    def read(
        self, table: str, *, columns: Sequence[str] | None = None, after_us: int | None = None,
        until_us: int | None = None, version: int | None = None,
    ) -> pa.Table:  # fmt: skip
        """Read rows with event time in `(after_us, until_us]`, in no particular order; see the port."""
        state = self._state(table, version)
        wanted = list(state.schema.names if columns is None else columns)
        for name in wanted:
            if name not in state.schema.names:
                raise unknown_name(f"column of table '{table}'", name, state.schema.names)
        paths = self._paths(table, state, after_us, until_us)
        return read_data_files(paths, state.schema, wanted, after_us, until_us)

    def files(
        self, table: str, *, after_us: int | None = None, until_us: int | None = None, version: int | None = None
    ) -> list[str]:  # fmt: skip
        """Return absolute paths of the Parquet files that can hold rows of that event time, for distributed readers."""
        return self._paths(table, self._state(table, version), after_us, until_us)

    def derived_folder(self, table: str) -> Path:
        """Return the table's folder of derived data, which other Delta readers and writers leave alone."""
        return self._folder(table) / "_derived"

    def tables(self) -> list[str]:
        """Return the names of all tables, sorted."""
        if not self._root.is_dir():
            return []
        first = Path("_delta_log") / commit_name(0)
        return sorted(p.name for p in self._root.iterdir() if _TABLE_NAME.fullmatch(p.name) and (p / first).exists())

    def remove_orphans(self, table: str, older_than_s: float) -> int:
        """Remove data files that no commit ever named, and what killed writers left.

        Args:
            table: Name of the table.
            older_than_s: Spare younger files, in seconds; must exceed the longest time between `stage` and `commit`.

        Returns:
            How many files were removed.
        """
        folder = self._folder(table)
        candidates = [p for p in folder.glob("part-*.parquet") if is_older(p, older_than_s)]
        known = self._log(table).known_paths()
        orphans = [path for path in candidates if path.name not in known]
        for path in orphans:
            path.unlink(missing_ok=True)
        return len(orphans) + sum(remove_temporary_files(f, older_than_s) for f in (folder, folder / "_delta_log"))

    def _folder(self, table: str) -> Path:
        if not _TABLE_NAME.fullmatch(table):
            raise InvalidInput(
                f"'{table}' is no table name", "use lower-case letters, digits and '_', beginning with a letter"
            )
        return self._root / table

    def _make(self, table: str) -> Path:
        folder = self._folder(table)
        if table not in self._made:
            make_folder(folder / "_delta_log")
            make_folder(folder)
            self._made.add(table)
        return folder

    def _log(self, table: str) -> DeltaLog:
        return self._logs.get(table) or self._logs.setdefault(table, DeltaLog(self._folder(table)))

    def _state(self, table: str, version: int | None) -> TableState:
        state = self._log(table).state(version)
        if state is None:
            raise NotFound(f"there is no table named '{table}'", did_you_mean(table, self.tables()), {"name": table})
        return state

    def _paths(self, table: str, state: TableState, after_us: int | None, until_us: int | None) -> list[str]:
        start = f"{self._folder(table)}/"  # not by pathlib: a table that is pushed to has many thousands of files
        return [start + unquote(f.add["path"]) for f in state.files if f.overlaps(after_us, until_us)]

    def _require_version(self, table: str, expected: int | None) -> int:
        version = self._log(table).refresh()
        if expected is not None and version != expected:
            hint = "read the table again and decide anew"
            details = {"expected": expected, "version": version}
            raise Conflict(f"table '{table}' is at version {version}, expected {expected}", hint, details)
        return version

    def _next_schema(self, table: str, added: pa.Schema) -> tuple[TableState | None, pa.Schema]:
        state = self._log(table).state()
        return state, added if state is None else merged_schema(table, state.schema, added)

    def _opening(
        self, table: str, version: int, added: pa.Schema, batch_ids: Sequence[str], note: Mapping[str, Any]
    ) -> list[Action]:  # fmt: skip
        """Return the actions of a commit that come before its files."""
        now_ms = SystemClock().now_us() // 1000
        state, schema = self._next_schema(table, added)
        actions: list[Action] = [{"commitInfo": {
            "timestamp": now_ms, "operation": "WRITE", "operationParameters": {"mode": "Append"},
            "engineInfo": "gnomon", "isBlindAppend": True, "txnId": batch_ids[0],
            **({"userMetadata": json.dumps(note)} if note else {}),
        }}]  # fmt: skip
        if state is None:
            actions += [{"protocol": PROTOCOL}, {"metaData": {
                "id": str(uuid.uuid4()), "format": {"provider": "parquet", "options": {}},
                "schemaString": to_delta(schema), "partitionColumns": [], "createdTime": now_ms,
                "configuration": {"delta.enableExpiredLogCleanup": "false"},
            }}]  # fmt: skip
        elif schema != state.schema:
            actions.append({"metaData": {**state.metadata, "schemaString": to_delta(schema)}})
        return [*actions, *({"txn": {"appId": i, "version": version, "lastUpdated": now_ms}} for i in batch_ids)]

    def _add(self, folder: Path, file: StagedFile) -> Action:
        if not _DATA_FILE_NAME.fullmatch(file.path):
            raise InvalidInput(f"'{file.path}' was not staged for this table", "give what `stage` returned")
        try:
            modified_ms = (folder / file.path).stat().st_mtime_ns // 1_000_000
        except FileNotFoundError:
            raise Conflict(f"the staged file {folder / file.path} is gone", "stage its rows again") from None
        return {"add": {
            "path": file.path, "partitionValues": {}, "size": file.size_bytes, "modificationTime": modified_ms,
            "dataChange": True, "stats": event_time_stats(file.rows, file.min_event_us, file.max_event_us),
        }}  # fmt: skip

    def _discard(self, table: str, files: Sequence[StagedFile]) -> None:
        for file in files:
            (self._folder(table) / file.path).unlink(missing_ok=True)


def _require_uncommitted(files: Sequence[StagedFile], log: DeltaLog) -> None:
    for file in files:
        if log.holds(file.path):
            hint = "commit each staged file once; resend a batch under its own id"
            raise Conflict(f"the staged file '{file.path}' was committed before, in another batch", hint)
