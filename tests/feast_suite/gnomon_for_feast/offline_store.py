"""GnomonOfflineStore: Feast's offline store over our Delta tables, named in `feature_store.yaml` by its class.

    offline_store:
      type: gnomon_for_feast.offline_store.GnomonOfflineStore

Its sources are `sources.GnomonSource`s; the Parquet files of Feast's own file sources are brought into our tables.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.data_source import DataSource
from feast.errors import FeastJoinKeysDuringMaterialization
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel
from feast.utils import (
    _get_requested_feature_views_to_features_dict,
    _get_requested_on_demand_feature_views,
    compute_non_entity_date_range,
)

from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.features import FeatureView as View
from gnomon.features.event_columns import times_us
from gnomon.features.expression_kernels import TIMESTAMP
from gnomon.features.materialization import entity_rows
from gnomon_for_feast.apps import app_of
from gnomon_for_feast.files import as_ours
from gnomon_for_feast.historical import Wanted, all_entities, time_us, with_features
from gnomon_for_feast.jobs import GnomonJob
from gnomon_for_feast.kept_types import dtype_of
from gnomon_for_feast.offline_tables import EVERYTHING, ROW
from gnomon_for_feast.sources import GnomonLogs, GnomonSource

_SYSTEM = (EVENT_TIME, KNOWN_TIME, INGESTED_AT, EVENT_ID, EVERYTHING)
_TIME = "event_timestamp"


class GnomonOfflineStoreConfig(FeastConfigBaseModel):
    """Settings of the store.

    Attributes:
        type: Its class.
        root: Folder of the tables of file sources; one in the repository when left out. Other sources say theirs.
    """

    type: Literal["gnomon_for_feast.offline_store.GnomonOfflineStore"] = (
        "gnomon_for_feast.offline_store.GnomonOfflineStore"
    )
    root: str | None = None


class GnomonOfflineStore(OfflineStore):
    """Point-in-time joins and the newest rows of entities, by the code that Gnomon uses for its own views."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig, feature_views: list[FeatureView], feature_refs: list[str],
        entity_df: pd.DataFrame | str | None, registry: BaseRegistry, project: str,
        full_feature_names: bool = False, filter_by_created_timestamp: bool = False, **kwargs: Any,
    ) -> GnomonJob:  # fmt: skip
        """Look features up as of the time of each entity row; every row stays, in its order."""
        if isinstance(entity_df, str):
            raise TypeError("entity rows are a data frame: our tables are not asked in SQL")
        on_demand = _get_requested_on_demand_feature_views(feature_refs, project, registry)
        by_view, _ = _get_requested_feature_views_to_features_dict(feature_refs, feature_views, on_demand)
        wanted = [
            Wanted(view, as_ours(view.batch_source, config), features, full_feature_names, filter_by_created_timestamp)
            for view, features in by_view.items()
        ]
        if entity_df is None:
            start, end = compute_non_entity_date_range(
                feature_views, start_date=kwargs.get("start_date"), end_date=kwargs.get("end_date")
            )
            time_column, entities = _TIME, all_entities(wanted, _TIME, start, end)
        else:
            time_column = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
            entities = entity_df
            times = pd.to_datetime(entities[time_column], utc=True)
            start, end = times.min().to_pydatetime(), times.max().to_pydatetime()
        return GnomonJob(
            lambda: with_features(entities, time_column, wanted), time_column, full_names=full_feature_names,
            on_demand=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=RetrievalMetadata(
                features=feature_refs, keys=list(set(entities.columns) - {time_column}),
                min_event_timestamp=start, max_event_timestamp=end,
            ),
        )  # fmt: skip

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig, data_source: DataSource, join_key_columns: list[str],
        feature_name_columns: list[str], timestamp_field: str, created_timestamp_column: str | None,
        start_date: datetime | None = None, end_date: datetime | None = None,
    ) -> GnomonJob:  # fmt: skip
        """Return the newest row of each entity between two times, as a materialization finds it."""
        source = as_ours(data_source, config)

        def work() -> pa.Table:
            rows = _between(source, join_key_columns, start_date, end_date)
            newest = pc.is_in(rows.column(ROW), value_set=_newest(join_key_columns, rows))
            return _answer(
                rows.filter(newest), join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
            )

        return GnomonJob(work, timestamp_field)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig, data_source: DataSource, join_key_columns: list[str],
        feature_name_columns: list[str], timestamp_field: str, created_timestamp_column: str | None = None,
        start_date: datetime | None = None, end_date: datetime | None = None,
    ) -> GnomonJob:  # fmt: skip
        """Return all rows between two times, both included."""
        source = as_ours(data_source, config)

        def work() -> pa.Table:
            rows = _between(source, join_key_columns, start_date, end_date)
            return _answer(rows, join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column)

        return GnomonJob(work, timestamp_field)

    @staticmethod
    def write_logged_features(
        config: RepoConfig, data: pa.Table | Path, source: LoggingSource, logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:  # fmt: skip
        """Add logged features to their table."""
        place = logging_config.destination
        if not isinstance(place, GnomonLogs):
            raise TypeError(f"logs go to GnomonLogs, not to a {type(place).__name__}")
        rows = pq.read_table(data) if isinstance(data, Path) else data
        place.to_data_source().tables.append(place.table, rows, source.get_log_timestamp_column(), "")

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:  # fmt: skip
        """Add rows to the table of a view's source; they have its columns, in its order."""
        source = as_ours(feature_view.batch_source, config)
        schema = source.tables.schema(source.name)
        if table.column_names != schema.names:
            raise ValueError(
                f"the rows have the columns {table.column_names}, and source '{source.name}' has {schema.names}"
            )
        time = source.raw(source.timestamp_field)
        created = source.created_timestamp_column and source.raw(source.created_timestamp_column)
        source.tables.append(source.name, table.cast(schema, safe=False), time, created)
        if progress:
            progress(table.num_rows)


def _between(source: GnomonSource, keys: list[str], start: datetime | None, end: datetime | None) -> pa.Table:
    schema = source.tables.schema(source.name)
    if not set(keys) <= set(schema.names):
        raise FeastJoinKeysDuringMaterialization(source.name, set(keys), set(schema.names))
    after = None if start is None else time_us(start) - 1
    until = None if end is None else time_us(end)
    return source.tables.read(source.name, [*schema.names, *_SYSTEM], after, until)


def _newest(keys: list[str], rows: pa.Table) -> pa.Array:
    """Return the numbers of the newest rows of all entities, by the function that materializes our own views."""
    if not rows.num_rows:
        return pa.array([], pa.int64())
    schema = rows.schema
    dtypes = {key: "int64" if dtype_of(schema.field(key).type) == "int64" else "string" for key in keys}
    app = app_of("view", "source", dtypes or {EVERYTHING: "string"}, [(ROW, "int64")], None)
    latest = int(np.max(times_us(rows, EVENT_TIME)))
    found = entity_rows(app, app.get(View, "view"), rows, latest)
    return found.column("f0").combine_chunks()


def _answer(
    rows: pa.Table, keys: list[str], features: list[str], time: str, created: str | None
) -> pa.Table:  # fmt: skip
    names = list(dict.fromkeys([*keys, *features, time, *([created] if created else [])]))
    if not features:
        names = [name for name in rows.column_names if name not in (*_SYSTEM, ROW)]
    answer = rows.select(names)
    for name in (time, created):
        if name:
            answer = answer.set_column(names.index(name), name, rows.column(name).cast(TIMESTAMP, safe=False))
    if not keys:
        answer = answer.append_column(DUMMY_ENTITY_ID, pa.array([DUMMY_ENTITY_VAL] * rows.num_rows, pa.string()))
    return answer
