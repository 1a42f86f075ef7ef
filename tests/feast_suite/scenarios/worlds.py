"""Two Feast repositories side by side: one on Feast's own stores, one on ours. Scenarios run in both.

A pytest plugin, loaded in the environment that has Feast. Feast's own stores are its SQLite online store and its DuckDB
offline store, which is right where its default one (`file`) drops rows. What DuckDB's cannot do is marked for `file`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FileSource, RepoConfig, ValueType
from feast.data_source import DataSource
from feast.feature_logging import LoggingDestination
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.saved_dataset import SavedDatasetStorage
from gnomon_for_feast.offline_tables import OfflineTables
from gnomon_for_feast.sources import GnomonLogs, GnomonSource, GnomonStorage

URL_VARIABLE = "GNOMON_FEAST_SUITE_URL"
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
CUSTOMER = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)


def hours(number: float) -> datetime:
    """Return the moment so many hours after the last full hour; before it where the number is below zero."""
    return NOW + timedelta(hours=number)


@dataclass
class World:
    """A Feast repository.

    Attributes:
        store: Its feature store.
        folder: Its folder.
        ours: Whether it is on our stores.
    """

    store: FeatureStore
    folder: Path
    ours: bool

    def source(
        self, name: str, rows: pd.DataFrame | pa.Table, created: str = "", field_mapping: dict[str, str] | None = None
    ) -> DataSource:  # fmt: skip
        """Make a source with rows; their column of times is `event_timestamp`."""
        table = rows if isinstance(rows, pa.Table) else in_us(pa.Table.from_pandas(rows, preserve_index=False))
        options = {
            "name": name, "timestamp_field": "event_timestamp", "created_timestamp_column": created,
            "field_mapping": field_mapping or {},
        }  # fmt: skip
        if self.ours:
            OfflineTables(str(self.folder)).append(name, table, "event_timestamp", created)
            return GnomonSource(root=str(self.folder), **options)
        path = self.folder / f"{name}.parquet"
        pq.write_table(table, path)
        return FileSource(path=str(path), **options)

    def saved(self, name: str) -> SavedDatasetStorage:
        """Return a place for a saved data set."""
        return GnomonStorage(name, str(self.folder)) if self.ours else SavedDatasetFileStorage(
            str(self.folder / f"{name}.parquet")
        )  # fmt: skip

    def logs(self, name: str) -> LoggingDestination:
        """Return a place for logs."""
        place = self.folder / name
        return GnomonLogs(name, str(self.folder)) if self.ours else FileLoggingDestination(path=str(place))

    def online(self, features: Any, *keys: dict[str, Any], full: bool = False) -> dict[str, list[Any]]:
        """Read features online."""
        return self.store.get_online_features(
            features=features, entity_rows=list(keys), full_feature_names=full
        ).to_dict()  # fmt: skip

    def historical(self, entities: pd.DataFrame | None, features: Any, **options: Any) -> pd.DataFrame:
        """Look features up as of the times of entity rows; the answer is in the order of time and keys."""
        answer = self.store.get_historical_features(entity_df=entities, features=features, **options).to_df()
        return in_order(answer)


Scenario = Callable[[World], Any]
Both = Callable[[Scenario], tuple[Any, Any]]


@pytest.fixture
def both(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Both]:
    """Run a scenario on Feast's own stores, and then on ours; return both answers."""
    project = f"p{uuid.uuid4().hex}"
    marker = request.node.get_closest_marker("feast_store")
    worlds = [_world(tmp_path / "feast", project, marker.args[0] if marker else "duckdb")]
    worlds.append(_world(tmp_path / "gnomon", project, ""))
    yield lambda scenario: (scenario(worlds[0]), scenario(worlds[1]))
    for world in worlds:
        world.store.teardown()


def _world(folder: Path, project: str, offline_store: str) -> World:
    """Return a repository on an offline store of Feast and its SQLite store, or on ours where none is named."""
    folder.mkdir()
    stores: dict[str, Any] = {
        "offline_store": {"type": offline_store}, "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
    }  # fmt: skip
    if not offline_store:
        stores = {
            "offline_store": {"type": "gnomon_for_feast.offline_store.GnomonOfflineStore"},
            "online_store": {
                "type": "gnomon_for_feast.online_store.GnomonOnlineStore", "url": os.environ[URL_VARIABLE],
            },
        }  # fmt: skip
    config = RepoConfig(
        project=project, provider="local", registry=str(folder / "registry.db"), repo_path=str(folder),
        entity_key_serialization_version=3, **stores,
    )  # fmt: skip
    return World(FeatureStore(config=config), folder, not offline_store)


def in_us(table: pa.Table) -> pa.Table:
    """Return rows with times in microseconds: Feast's DuckDB store cannot materialize from nanoseconds."""
    fields = [f.with_type(pa.timestamp("us", f.type.tz)) if pa.types.is_timestamp(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows in the order of time, keys and everything else, with times in UTC and columns by name."""
    made = frame.copy()
    for name in made.columns:
        if isinstance(made[name].dtype, pd.DatetimeTZDtype) or made[name].dtype.kind == "M":
            made[name] = pd.to_datetime(made[name], utc=True).astype("datetime64[us, UTC]")
    made = made[sorted(made.columns)]
    keys = made.map(lambda value: str(plain(value)))
    order = keys.sort_values(by=["event_timestamp", *keys.columns] if "event_timestamp" in keys else list(keys)).index
    return made.loc[order].reset_index(drop=True)


def plain(value: Any) -> Any:
    """Return a value of plain Python, so that answers compare; what is null in any way is None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value is pd.NaT or value != value else value


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame in plain Python."""
    return [{name: plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def require_same(answers: tuple[Any, Any]) -> Any:
    """Require that both answers are the same; return it."""
    theirs, ours = answers
    if isinstance(theirs, pd.DataFrame):
        assert list(ours.columns) == list(theirs.columns)
        theirs, ours = rows_of(theirs), rows_of(ours)
    else:
        theirs, ours = plain(theirs), plain(ours)
    assert ours == theirs
    return ours
