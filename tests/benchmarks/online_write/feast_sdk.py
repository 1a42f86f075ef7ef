"""Feast's Python SDK over the same server: `write_to_online_store` of a data frame; a contestant of `online_write`.

It is the shortest way that Feast has for rows in memory: one pipeline that reads all times, one that writes all rows.
`feast_materialize` is the same over a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from contestant import run
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
from feast_stores import feature_store
from online_write.rows import FEATURES, VIEW, check, columns, sample
from online_write.server import Server, measure_writes


class FeastSdk:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self.folder = Path()
        self._store: FeatureStore | None = None
        self._server: Server | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Apply the definitions."""
        entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
        view = FeatureView(
            name=VIEW, entities=[entity], ttl=timedelta(days=1),
            schema=[Field(name=name, dtype=Float64) for name in FEATURES],
            source=FileSource(path=str(Path(world["folder"]) / "rows.parquet"), timestamp_field="at"), online=True,
        )  # fmt: skip
        frame(1, 0, datetime.now(UTC)).to_parquet(Path(world["folder"]) / "rows.parquet")
        feature_store(world["folder"], world["url"], "bench").apply([entity, view])

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the store and have it read its registry, as an application does at its start."""
        self.folder = Path(world["folder"])
        self._server = Server(world["url"])
        self._store = feature_store(world["folder"], world["url"], "bench")
        self._store.list_feature_views()
        return {name: version(name) for name in ("feast", "redis", "protobuf", "numpy", "pandas")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time writes."""
        assert self._store is not None
        assert self._server is not None
        store, entities, replaces = self._store, scenario["entities"], scenario["replaces"]
        began = datetime.now(UTC) - timedelta(hours=1)
        measured = measure_writes(
            self._server, entities, replaces, budget_s,
            lambda generation, number: self.make(entities, generation, began + timedelta(seconds=number)),
            lambda made: self.put(store, made),
        )  # fmt: skip
        asked = [{"entity": entity} for entity in sample(entities)]
        references = [f"{VIEW}:{name}" for name in FEATURES]
        answer = store.get_online_features(features=references, entity_rows=asked).to_dict()
        return {**measured, "check": check(answer)}

    def make(self, entities: int, generation: int, at: datetime) -> pd.DataFrame:
        """Return what `put` writes."""
        return frame(entities, generation, at)

    def put(self, store: FeatureStore, made: pd.DataFrame) -> None:
        """Write all rows."""
        store.write_to_online_store(VIEW, made)

    def close(self) -> None:
        """Nothing is left open but connections, which end with the process."""


def frame(entities: int, generation: int, at: datetime) -> pd.DataFrame:
    """Return the rows as Feast takes them."""
    return pd.DataFrame({"entity": range(entities), "at": at, **columns(entities, generation)})


if __name__ == "__main__":
    run(FeastSdk())
