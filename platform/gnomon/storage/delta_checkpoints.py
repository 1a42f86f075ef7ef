"""Checkpoints of a Delta log: the whole state in one Parquet file, so that opening does not replay every commit.

Used by `storage.delta_log`. A checkpoint is only a shortcut: the JSON commits are kept for ever and hold the truth, so
that a missing or damaged checkpoint costs time and nothing else. Its layout is the protocol's, for other Delta readers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.errors import OutOfSpace
from gnomon.storage.durable_files import publish, temporary, write_file

PROTOCOL = {"minReaderVersion": 1, "minWriterVersion": 2}

_TEXT_MAP = pa.map_(pa.string(), pa.string())
_FORMAT = pa.struct([("provider", pa.string()), ("options", _TEXT_MAP)])
_SCHEMA = pa.schema({
    "protocol": pa.struct([("minReaderVersion", pa.int32()), ("minWriterVersion", pa.int32())]),
    "metaData": pa.struct([
        ("id", pa.string()), ("name", pa.string()), ("description", pa.string()), ("format", _FORMAT),
        ("schemaString", pa.string()), ("partitionColumns", pa.list_(pa.string())), ("configuration", _TEXT_MAP),
        ("createdTime", pa.int64()),
    ]),
    "txn": pa.struct([("appId", pa.string()), ("version", pa.int64()), ("lastUpdated", pa.int64())]),
    "add": pa.struct([
        ("path", pa.string()), ("partitionValues", _TEXT_MAP), ("size", pa.int64()), ("modificationTime", pa.int64()),
        ("dataChange", pa.bool_()), ("stats", pa.string()),
    ]),
    "remove": pa.struct([("path", pa.string()), ("deletionTimestamp", pa.int64()), ("dataChange", pa.bool_())]),
})  # fmt: skip


def _checkpoint_path(log_folder: Path, version: int) -> Path:
    return log_folder / f"{version:020d}.checkpoint.parquet"


def write_checkpoint(
    log_folder: Path, version: int, metadata: Mapping[str, Any], adds: Sequence[Mapping[str, Any]],
    batches: Mapping[str, int],
) -> None:  # fmt: skip
    """Write the state at a version; a full disk is no error, since the commit itself is already durable.

    Args:
        log_folder: The table's `_delta_log`.
        version: Version that the state is of.
        metadata: Its `metaData` action.
        adds: The `add` actions of the visible files.
        batches: Version by batch id.
    """
    actions: list[dict[str, Any]] = [{"protocol": PROTOCOL}, {"metaData": metadata}]
    actions += [{"txn": {"appId": batch, "version": at}} for batch, at in batches.items()]
    actions += [{"add": add} for add in adds]
    try:
        with temporary(_checkpoint_path(log_folder, version)) as temp:
            pq.write_table(pa.Table.from_pylist(actions, schema=_SCHEMA), temp, compression="zstd")
            publish(temp, _checkpoint_path(log_folder, version))
        write_file(log_folder / "_last_checkpoint", json.dumps({"version": version, "size": len(actions)}).encode())
    except OutOfSpace:
        return


def read_checkpoint(log_folder: Path) -> tuple[int, list[dict[str, Any]]] | None:
    """Return version and actions of the last checkpoint; None where there is none that can be read."""
    try:
        version = int(json.loads((log_folder / "_last_checkpoint").read_bytes())["version"])
        rows = pq.ParquetFile(_checkpoint_path(log_folder, version)).read()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return version, rows.to_pylist(maps_as_pydicts="strict")
