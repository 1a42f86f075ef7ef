"""The work of the operations `export_training_set` and `export_features`: a table, built and stored for its asker.

What is stored is a folder with one Parquet file, which the gateway hands out by the operation's id. Neither changes
anything; repeating one costs time only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from gnomon.contracts.clocks import from_us
from gnomon.contracts.models import Model
from gnomon.contracts.operations import Operation
from gnomon.control_plane.export_targets import asked_features
from gnomon.control_plane.moments import moment_us
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.table_files import write_table
from gnomon.errors import InvalidInput
from gnomon.features.feature_sets import build_feature_set
from gnomon.features.request_features import compute_request_features
from gnomon.features.training_sets import build_training_set

TABLE_FILE: Final = "table.parquet"
METADATA: Final = "gnomon"
"""Key of a feature set's schema metadata: JSON of the moment and of what it was made from."""

Report = Callable[[str], None]


def export_training_set(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Build a model's training set, of every label event, or fetch the one that a version was trained on.

    Args:
        operation: Its target is the model; its arguments are `version`, or `as_of` (now when left out).
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        `table` (the folder's digest), `sha256` of the file, `rows`, `columns`, `source_versions`, `as_of` or `version`.

    Raises:
        NotFound: No applied app defines the model, or it has no such version.
        InvalidInput: `as_of` is no moment or in the future, or no label is usable then.
    """
    version = operation.arguments.get("version")
    if version is not None and "as_of" in operation.arguments:
        raise InvalidInput("give a version or a moment, not both", "a version's training set is of its own moment")
    if version is not None:
        lineage = parts.registry.version(operation.target, version).lineage
        content = parts.artifacts.get_bytes(lineage.training_set)
        made = {"version": version, "source_versions": dict(lineage.source_versions)}
        return {**made, **_store(operation, parts, content)}
    applied = parts.app_with(Model, operation.target)
    as_of_us = _as_of_us(operation, parts)
    report("building the training set")
    resolve = parts.resolver(applied.app.code)
    built = build_training_set(
        applied.app, operation.target, parts.offline, as_of_us, resolve, local_rows=parts.local_rows
    )  # fmt: skip
    made = {"as_of": from_us(as_of_us).isoformat(), "source_versions": dict(built.source_versions)}
    return {**made, "dropped": dict(built.dropped), **_store(operation, parts, built.table)}


def export_features(operation: Operation, parts: Parts, report: Report) -> dict[str, Any]:
    """Build a table of features of many entities as of one moment.

    Args:
        operation: Its target is a model, a deployment (whose version's features are taken) or a view; its arguments are
            `target_kind`, which of these, `features` (`view` or `view.feature`; the target's when left out), `as_of`
            (now when left out), and `keys` or `keys_from` as of `build_feature_set`.
        parts: The platform's parts.
        report: Takes a line of progress.

    Returns:
        As `export_training_set`; `app_hash` of the definitions, for a deployment `model_version`, and `left_out`:
        inputs of the model that need a request.

    Raises:
        NotFound: There is no such model, deployment, view or feature.
        Conflict: No version is deployed.
        InvalidInput: `as_of` is no moment or in the future, or keys are needed or wrong.
    """
    asked = asked_features(operation, parts)
    as_of_us = _as_of_us(operation, parts)
    report("computing features")
    built = build_feature_set(
        asked.app, asked.lookups, parts.offline, as_of_us, keys=operation.arguments.get("keys"),
        keys_from=operation.arguments.get("keys_from"), local_rows=parts.local_rows,
    )  # fmt: skip
    columns = {name: built.values.column(name) for name in built.values.column_names}
    if asked.computed and built.keys.num_rows:
        resolve = parts.resolver(asked.code)
        columns |= compute_request_features(asked.app, asked.computed, columns, resolve)
    chosen = {name: columns[name] for name in asked.columns if name in columns}
    table = pa.table({**{name: built.keys.column(name) for name in built.keys.column_names}, **chosen})
    made = {
        "as_of": from_us(as_of_us).isoformat(), "app_hash": asked.app_hash,
        "source_versions": dict(built.source_versions),
        **({} if asked.version is None else {"model_version": asked.version}),
    }  # fmt: skip
    table = table.replace_schema_metadata({METADATA: json.dumps(made, sort_keys=True)})
    return {**made, "left_out": list(asked.left_out), **_store(operation, parts, table)}


def _as_of_us(operation: Operation, parts: Parts) -> int:
    now_us = parts.clock.now_us()
    as_of_us = moment_us("as_of", operation.arguments.get("as_of", "now"), now_us)
    if as_of_us > now_us:
        raise InvalidInput(f"as_of: {from_us(as_of_us).isoformat()} is in the future", "give a moment up to now")
    return as_of_us


def _store(operation: Operation, parts: Parts, made: pa.Table | bytes) -> Mapping[str, Any]:
    """Write the table's file, store it, and describe it."""
    folder = parts.work_folder / operation.id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    path = folder / TABLE_FILE
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        write_table(made, path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    described = pq.read_metadata(path)
    result = {
        "target": operation.target, "table": parts.artifacts.put_folder(folder), "sha256": digest,
        "rows": described.num_rows, "columns": pq.read_schema(path).names, "bytes": path.stat().st_size,
    }  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    return result
