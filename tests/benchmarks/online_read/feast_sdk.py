"""Feast's Python SDK over the same server: `get_online_features(...).to_dict()`; a contestant of `online_read`.

Its registry is a local file that is never read again, and all of its packages are those that it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from contestant import run, time_calls
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
from feast_stores import feature_store
from online_read.rows import ENTITIES, WIDTHS, check, column, feature_names, requests, view_name


class FeastSdk:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._store: FeatureStore | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Apply the definitions and write all rows."""
        store, folder = feature_store(world["folder"], world["url"], "bench"), Path(world["folder"])
        entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
        for width in WIDTHS:
            columns = {name: column(i) for i, name in enumerate(feature_names(width))}
            rows = pd.DataFrame({"entity": range(ENTITIES), "at": datetime.now(UTC), **columns})
            file = folder / f"{view_name(width)}.parquet"
            rows.to_parquet(file)
            view = FeatureView(
                name=view_name(width), entities=[entity], ttl=timedelta(days=1),
                schema=[Field(name=name, dtype=Float64) for name in columns],
                source=FileSource(path=str(file), timestamp_field="at"), online=True,
            )  # fmt: skip
            store.apply([entity, view])
            store.write_to_online_store(view.name, rows)

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the store and have it read its registry, as an application does at its start."""
        self._store = feature_store(world["folder"], world["url"], "bench")
        self._store.list_feature_views()
        return {name: version(name) for name in ("feast", "redis", "protobuf", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time reads, up to plain Python values by feature."""
        assert self._store is not None
        store, names = self._store, feature_names(scenario["features"])
        references = [f"{view_name(scenario['features'])}:{name}" for name in names]
        asked = [[{"entity": entity} for entity in entities] for entities in requests(scenario["rows"])]

        def read(rows: list[dict[str, int]]) -> dict[str, Any]:
            return store.get_online_features(features=references, entity_rows=rows).to_dict()

        timed = time_calls(read, asked, budget_s)
        answer = read(asked[0])
        return {**timed, "check": check(answer[name] for name in names)}

    def close(self) -> None:
        """Nothing is left open but a connection, which ends with the process."""


if __name__ == "__main__":
    run(FeastSdk())
