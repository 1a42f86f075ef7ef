"""The log of one Delta Lake table on a local file system: replayed in steps, extended by one durable file a commit.

Used by `storage.delta_tables` only. Commit N is the file `_delta_log/N.json`, put there whole or not at all, and only
by the one writer that finds the name free: that is the lock between processes. Files follow the protocol of
https://github.com/delta-io/delta/blob/master/PROTOCOL.md (reader version 1, writer version 2), so that any Delta reader
opens the table. A batch id is kept as Delta's application transaction `txn` whose version is the commit that holds it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from gnomon.contracts.clocks import from_us, to_us
from gnomon.contracts.columns import EVENT_TIME
from gnomon.errors import Conflict, CorruptData, NotFound
from gnomon.storage.delta_checkpoints import read_checkpoint, write_checkpoint
from gnomon.storage.delta_schemas import from_delta
from gnomon.storage.durable_files import sync_folder, write_once

Action = Mapping[str, Any]

CHECKPOINT_EVERY = 100
"""Commits between two checkpoints; opening replays at most this many log files after the checkpoint."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file that a commit made visible; its `add` action, with the event times read out of the statistics."""

    add: Mapping[str, Any]
    added_version: int
    removed_version: int | None
    min_event_us: int | None
    max_event_us: int | None

    def visible_at(self, version: int) -> bool:
        """Tell whether the file belongs to the table's state at `version`."""
        return self.added_version <= version and (self.removed_version is None or self.removed_version > version)

    def overlaps(self, after_us: int | None, until_us: int | None) -> bool:
        """Tell whether rows with event time in `(after_us, until_us]` can be in the file."""
        too_old = after_us is not None and self.max_event_us is not None and self.max_event_us <= after_us
        too_new = until_us is not None and self.min_event_us is not None and self.min_event_us > until_us
        return not (too_old or too_new)


@dataclass(frozen=True, slots=True)
class TableState:
    """The table as one version of it stands."""

    version: int
    metadata: Mapping[str, Any]
    schema: pa.Schema
    files: list[DataFile]


def commit_name(version: int) -> str:
    """Return the file name of a commit."""
    return f"{version:020d}.json"


def event_time_stats(rows: int, min_event_us: int, max_event_us: int) -> str:
    """Return the `stats` of an `add` action."""
    return json.dumps({
        "numRecords": rows,
        "minValues": {EVENT_TIME: _stamp(min_event_us)},
        "maxValues": {EVENT_TIME: _stamp(max_event_us)},
        "nullCount": {EVENT_TIME: 0},
    })  # fmt: skip


def _stamp(moment_us: int) -> str:
    return from_us(moment_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def _event_range(stats: str | None) -> tuple[int | None, int | None]:
    """Read least and greatest event time; other writers may leave them out, or cut them to milliseconds."""
    values = json.loads(stats) if stats else {}
    least, greatest = (values.get(side, {}).get(EVENT_TIME) for side in ("minValues", "maxValues"))
    if least is None or greatest is None:
        return None, None
    cut_us = 0 if len(greatest) >= len("2026-01-01T00:00:00.000000Z") else 999
    return _moment_us(least), _moment_us(greatest) + cut_us


def _moment_us(stamp: str) -> int:
    return to_us(datetime.fromisoformat(stamp))


class DeltaLog:
    """What the log says, remembered up to the newest commit seen; safe to share between threads.

    Args:
        table_folder: Folder of the table; may not exist yet.
    """

    def __init__(self, table_folder: Path) -> None:
        self.folder = table_folder / "_delta_log"
        self._lock = threading.RLock()
        self._forget()

    def _forget(self) -> None:
        self._version = -1
        self._base_version = 0
        self._files: dict[str, DataFile] = {}
        self._metadata: list[tuple[int, Mapping[str, Any], pa.Schema]] = []
        self._batches: dict[str, int] = {}

    def refresh(self) -> int:
        """Take in what was committed since, by any process.

        Returns:
            The newest version, -1 for an absent table.

        Raises:
            CorruptData: A log file is damaged.
            Conflict: Another program raised the table to a protocol that Gnomon does not speak.
        """
        with self._lock:
            if self._version < 0 and (checkpoint := read_checkpoint(self.folder)) is not None:
                self._apply(*checkpoint)
                self._base_version = self._version
            self._replay()
            return self._version

    def _replay(self) -> None:
        while (actions := self._read(self._version + 1)) is not None:
            self._apply(self._version + 1, actions)

    def replay_everything(self) -> None:
        """Replay from the first commit, so that states before the last checkpoint are known too."""
        with self._lock:
            if self._base_version > 0:
                self._forget()
            self._replay()

    def state(self, version: int | None = None) -> TableState | None:
        """Return the table as it stands at a version.

        Args:
            version: The newest when left out.

        Returns:
            None for an absent table.

        Raises:
            NotFound: The table is not yet at that version.
        """
        with self._lock:
            newest = self.refresh()
            if newest < 0:
                return None
            version = newest if version is None else version
            if not 0 <= version <= newest:
                raise NotFound(f"there is no version {version} of table '{self.folder.parent.name}'",
                               f"versions 0 to {newest} exist", {"version": version})  # fmt: skip
            if version < self._base_version:
                self.replay_everything()
            metadata, schema = [entry[1:] for entry in self._metadata if entry[0] <= version][-1]
            files = [file for file in self._files.values() if file.visible_at(version)]
            return TableState(version, metadata, schema, files)

    def batch_version(self, batch_id: str) -> int | None:
        """Return the version that holds the batch, as of the last refresh; None where it was never committed."""
        with self._lock:
            return self._batches.get(batch_id)

    def holds(self, path: str) -> bool:
        """Tell whether a commit named this file, as of the last refresh."""
        with self._lock:
            return path in self._files

    def rows_and_note(self, version: int) -> tuple[int, Mapping[str, Any]]:
        """Return how many rows a commit added and what was noted with it, and make it durable.

        Its own writer may not have come so far yet.
        """
        sync_folder(self.folder)
        actions = self._read(version) or []
        rows = sum(int(json.loads(a["add"]["stats"])["numRecords"]) for a in actions if a.get("add"))
        notes = (a["commitInfo"].get("userMetadata") for a in actions if a.get("commitInfo"))
        return rows, json.loads(next(notes, None) or "{}")

    def known_paths(self) -> set[str]:
        """Return the paths of all files that any commit ever named."""
        with self._lock:
            self.replay_everything()
            return {unquote(path) for path in self._files}

    def write(self, version: int, actions: Iterable[Action]) -> bool:
        """Make the actions one commit, durable when this returns.

        Args:
            version: Version that the commit makes.
            actions: What it does, in the protocol's JSON.

        Returns:
            False where another writer made that version first; nothing changed then.

        Raises:
            OutOfSpace: The disk is full; the commit does not exist.
        """
        content = "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions)
        if not write_once(self.folder / commit_name(version), content.encode()):
            return False
        if version % CHECKPOINT_EVERY == 0 and version > 0:
            # The commit stands already: an error here would make the caller believe that it does not.
            with contextlib.suppress(Conflict, CorruptData):
                self._write_checkpoint(version)
        return True

    def _write_checkpoint(self, version: int) -> None:
        if (state := self.state(version)) is None:
            return
        batches = {batch: at for batch, at in self._batches.items() if at <= version}
        write_checkpoint(self.folder, version, state.metadata, [file.add for file in state.files], batches)

    def _read(self, version: int) -> list[Action] | None:
        path = self.folder / commit_name(version)
        try:
            content = path.read_bytes()
            if not content.strip():
                raise ValueError("it is empty")
            return [json.loads(line) for line in content.splitlines() if line.strip()]
        except FileNotFoundError:
            return None
        except ValueError as error:
            hint = "restore the file from a backup of the table"
            raise CorruptData(f"log file {path} is damaged: {error}", hint, {"path": str(path)}) from error

    def _apply(self, version: int, actions: Iterable[Action]) -> None:
        for action in actions:
            nothing: tuple[str, dict[str, Any]] = ("", {})
            kind, body = next((item for item in action.items() if item[1] is not None), nothing)
            if kind == "add":
                self._files[body["path"]] = DataFile(body, version, None, *_event_range(body.get("stats")))
            elif kind == "remove" and (file := self._files.get(body["path"])) is not None:
                self._files[body["path"]] = DataFile(
                    file.add, file.added_version, version, file.min_event_us, file.max_event_us
                )
            elif kind == "txn":
                self._batches[body["appId"]] = int(body["version"])
            elif kind == "metaData":
                self._metadata.append((version, body, from_delta(body["schemaString"])))
            elif kind == "protocol" and (body["minReaderVersion"] > 1 or body["minWriterVersion"] > 2):
                raise Conflict(
                    f"table '{self.folder.parent.name}' was raised to Delta reader version {body['minReaderVersion']}, "
                    f"writer version {body['minWriterVersion']} by another program",
                    "Gnomon speaks reader version 1 and writer version 2; copy the rows to a new table",
                )
        self._version = version
