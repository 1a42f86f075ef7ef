"""Exports from the caller's side: tables that the platform builds, as Parquet files here. `Client.exports` is one.

The platform names no place of its own and is told none: the file is sent in answer, checked, and written here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnomon.connection import Connection, Json
from gnomon.errors import CorruptData, InvalidInput


class Exports:
    """The tables that can be had from a platform.

    Args:
        connection: To the platform.
        run: Asks for an operation and waits for its result, as `Operations.run`.
    """

    def __init__(self, connection: Connection, run: Callable[..., Json]) -> None:
        self._connection = connection
        self._run = run

    def training_set(
        self, model: str, out: Path | str, *, as_of: str | None = None, version: int | None = None, **waiting: Any
    ) -> Json:  # fmt: skip
        """Write a model's training set: every label event that can be learned from, with the features of its time.

        Args:
            model: Whose label and features.
            out: Parquet file to write; an existing one is replaced once the new one is whole.
            as_of: As it would have been built at this moment: a duration before now, a date (UTC) or a time with its
                zone; now when left out.
            version: The very bytes that this version was trained on, instead.
            **waiting: As of `operations.wait`.

        Returns:
            `file`, `rows`, `columns`, `sha256` of the file, `source_versions`, `as_of` or `version`.
        """
        given = {"as_of": as_of, "version": version}
        return self._export("export_training_set", model, given, out, waiting)

    def features(
        self, of: str | Sequence[str], out: Path | str, *, as_of: str = "now",
        keys: Sequence[Mapping[str, Any]] | None = None, keys_from: str | None = None, **waiting: Any,
    ) -> Json:  # fmt: skip
        """Write the features of many entities as of one moment, such as for predictions in batch.

        The values are those that a materialization at that moment would have served then.

        Args:
            of: A model, a deployment (the features of the version that serves) or a view by name; of several that
                have the same name the first of these, unless it is said as `deployment:name` or `view:name`. Or a list
                of features as `view.feature`, `view` standing for all of it.
            out: Parquet file to write; an existing one is replaced once the new one is whole.
            as_of: The moment, as for `training_set`, or `now`.
            keys: Entities as mappings of their key columns, in the order wanted, 10,000 at most; all that were seen by
                then when left out.
            keys_from: Source whose rows say which combinations of keys there are, where no view has all key columns.
            **waiting: As of `operations.wait`.

        Returns:
            As `training_set`; and `left_out`, the inputs of the model that are known only with a request.
        """
        listed = None if isinstance(of, str) and "." not in of else [of] if isinstance(of, str) else list(of)
        if listed is not None and not listed:
            raise InvalidInput("no feature is named", "give at least one as 'view.feature', or a model")
        target_kind, _, target = ("", "", str(listed[0]).partition(".")[0]) if listed else str(of).rpartition(":")
        entities = None if keys is None else [dict(key) for key in keys]
        given = {
            "as_of": as_of, "features": listed, "keys": entities, "keys_from": keys_from,
            "target_kind": target_kind or None,
        }  # fmt: skip
        return self._export("export_features", target, given, out, waiting)

    def _export(self, kind: str, target: str, given: Json, out: Path | str, waiting: Json) -> Json:
        path = Path(out)
        if path.is_dir() or not path.parent.is_dir():
            raise InvalidInput(f"'{path}' cannot be written", "give the path of a file in a folder that exists")
        arguments = {name: value for name, value in given.items() if value is not None}
        result = self._run(kind, target, arguments, **waiting)
        fresh = path.with_name(f".export-{secrets.token_hex(8)}.part")
        try:
            sha256 = self._connection.fetch(f"/api/v1/operations/{result['operation']}/table", fresh)
            if sha256 != result["sha256"]:
                raise CorruptData(f"the table of '{target}' came with digest {sha256}", "export it again")
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
        return {"file": str(path), **{name: value for name, value in result.items() if name != "table"}}
