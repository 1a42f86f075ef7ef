"""Feast's Python SDK over the same server, with as many views in its registry; a contestant of `registered_views`.

Its registry is a local file that is never read again, as in `online_read`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from contestant import run
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
from feast_stores import feature_store
from online_read.rows import check
from registered_views.rows import (
    ENTITIES,
    FEATURES,
    OTHER_FEATURE,
    VIEW,
    columns,
    numbers_of_views,
    other_views,
    project,
    requests,
    time_against_one,
)


class FeastSdk:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._stores: dict[int, FeatureStore] = {}

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Apply the definitions and write a row of every entity into every view."""
        file = Path(world["folder"]) / "rows.parquet"
        rows = pd.DataFrame({"entity": range(ENTITIES), "at": datetime.now(UTC), **columns(), OTHER_FEATURE: 0.0})
        rows.to_parquet(file)
        entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
        for views in numbers_of_views(world):
            features = {VIEW: FEATURES, **{name: [OTHER_FEATURE] for name in other_views(views)}}
            made = [
                FeatureView(
                    name=name, entities=[entity], ttl=timedelta(days=1), online=True,
                    schema=[Field(name=feature, dtype=Float64) for feature in of_view],
                    source=FileSource(path=str(file), timestamp_field="at"),
                )
                for name, of_view in features.items()
            ]  # fmt: skip
            store = feature_store(world["folder"], world["url"], project(views))
            store.apply([entity, *made])
            for view in made:
                store.write_to_online_store(view.name, rows[["entity", "at", *features[view.name]]])

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the stores and have them read their registries, as an application does at its start."""
        for views in numbers_of_views(world):
            self._stores[views] = feature_store(world["folder"], world["url"], project(views))
            self._stores[views].list_feature_views()
        return {name: version(name) for name in ("feast", "redis", "protobuf", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time reads, up to plain Python values by feature."""
        asked, many = requests(), self._reader(scenario["views"])
        timed = time_against_one(many, self._reader(1), asked, budget_s)
        answer = many(asked[0])
        return {**timed, "check": check(answer[name] for name in FEATURES)}

    def close(self) -> None:
        """Nothing is left open but connections, which end with the process."""

    def _reader(self, views: int) -> Callable[[Any], dict[str, Any]]:
        return partial(_read, self._stores[views])


def _read(store: FeatureStore, keys: Any) -> dict[str, Any]:
    return store.get_online_features(features=[f"{VIEW}:{name}" for name in FEATURES], entity_rows=keys).to_dict()


if __name__ == "__main__":
    run(FeastSdk())
