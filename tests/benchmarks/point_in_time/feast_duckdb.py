"""Feast's `get_historical_features` with its duckdb offline store; a contestant of `point_in_time`.

`feast_file` is the same with its file store. Feast computes no windows when it joins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar

os.environ["FEAST_USAGE"] = "False"

import pyarrow as pa
from contestant import InvalidRoundError, run, time_runs
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64
from point_in_time.rows import FEATURES, VIEWS, check, columns, file, labels, sizes, write_files


class FeastDuckdb:
    """The contestant; see `contestant.Contestant`."""

    store_type: ClassVar[str] = "duckdb"

    def __init__(self) -> None:
        self._store: FeatureStore | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the files and apply the definitions."""
        write_files(world)
        entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
        views = [
            FeatureView(
                name=f"{view}_{number}", entities=[entity], ttl=None,
                schema=[Field(name=name, dtype=Float64) for name in FEATURES],
                source=FileSource(path=str(file(world["folder"], number, view)), timestamp_field="at"), online=False,
            )
            for number in sizes(world["scenarios"])
            for view in VIEWS
        ]  # fmt: skip
        self._made(world).apply([entity, *views])

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the store and have it read its registry."""
        self._store = self._made(world)
        self._store.list_feature_views()
        return {name: version(name) for name in ("feast", "duckdb", "ibis-framework", "dask", "pandas")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, Any]:
        """Time joins, from a data frame of label rows to an Arrow table, back in the label rows' order."""
        assert self._store is not None
        store, names, number = self._store, columns(scenario["what"]), scenario["events"]
        if names == ["mean"]:
            raise InvalidRoundError("Feast computes no windows when it joins")
        asked = labels(scenario["labels"], number).rename_columns(["entity", "event_timestamp"])
        frame = asked.append_column("i", pa.array(range(asked.num_rows), pa.int64())).to_pandas()
        references = [f"{view}_{number}:{name}" for view in VIEWS for name in FEATURES]

        def join() -> pa.Table:
            job = store.get_historical_features(entity_df=frame, features=references, full_feature_names=True)
            return job.to_arrow().sort_by("i")

        taken, answer = time_runs(join, budget_s)
        found = answer.select([f"{view}_{number}__{name}" for view in VIEWS for name in FEATURES])
        return {**taken, "check": check(found)}

    def close(self) -> None:
        """Nothing is left open."""

    def _made(self, world: Mapping[str, Any]) -> FeatureStore:
        return FeatureStore(config=RepoConfig(
            project="bench", provider="local", entity_key_serialization_version=3, repo_path=world["folder"],
            registry={"registry_type": "file", "path": f"{world['folder']}/registry.db", "cache_ttl_seconds": 0},
            offline_store={"type": self.store_type},
        ))  # fmt: skip


if __name__ == "__main__":
    run(FeastDuckdb())
