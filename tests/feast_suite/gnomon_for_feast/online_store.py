"""GnomonOnlineStore: Feast's online store over `RedisOnlineStore`, named in `feature_store.yaml` by its class.

online_store:
  type: gnomon_for_feast.online_store.GnomonOnlineStore
  url: redis://:secret@127.0.0.1:6379/0
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa
from feast import Entity, FeatureView, RepoConfig
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME, Dtype
from gnomon.contracts.layouts import ViewLayout, view_layout
from gnomon.contracts.online_store import OnlineRows, ReadPlan, Status
from gnomon.features.async_redis_online_store import AsyncRedisOnlineStore
from gnomon.features.expression_kernels import ARROW_TYPES
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon_for_feast.apps import app_of, lookups_of, name_of
from gnomon_for_feast.online_values import held, key_row, key_types, served, utc, view_columns

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMEOUT_S = 5.0
_ABSENT = (Status.MISSING_ENTITY, Status.MISSING_FEATURE)

Written = tuple[EntityKey, dict[str, Value], datetime, datetime | None]
Read = tuple[datetime | None, dict[str, Value] | None]
Progress = Callable[[int], Any] | None


class GnomonOnlineStoreConfig(FeastConfigBaseModel):
    """Settings of the store.

    Attributes:
        type: Its class.
        url: Of the server, with the password in it.
    """

    type: Literal["gnomon_for_feast.online_store.GnomonOnlineStore"] = "gnomon_for_feast.online_store.GnomonOnlineStore"
    url: str


class GnomonOnlineStore(OnlineStore):
    """The newest row per entity and feature view; the last event time wins, and of equal ones the later created."""

    def __init__(self) -> None:
        self._store: RedisOnlineStore | None = None
        self._async_store: AsyncRedisOnlineStore | None = None

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        """Return that reads and writes may be awaited."""
        return SupportedAsyncMethods(read=True, write=True)

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: list[Written], progress: Progress
    ) -> None:  # fmt: skip
        """Write rows of a view."""
        if data:
            layout, rows = _rows(table, data)
            self._blocking(config).write(layout, rows)
        if progress:
            progress(len(data))

    async def online_write_batch_async(
        self, config: RepoConfig, table: FeatureView, data: list[Written], progress: Progress
    ) -> None:  # fmt: skip
        """Write rows of a view."""
        if data:
            layout, rows = _rows(table, data)
            await self._awaited(config).write(layout, rows)
        if progress:
            progress(len(data))

    def online_read(
        self, config: RepoConfig, table: FeatureView, entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Read]:  # fmt: skip
        """Read features of a view for entities, in their order."""
        now_us, plan, keys = _question(table, entity_keys)
        found = self._blocking(config).read(plan, keys, now_us)
        return _answers(table, plan, found, now_us, len(keys), requested_features)

    async def online_read_async(
        self, config: RepoConfig, table: FeatureView, entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[Read]:  # fmt: skip
        """Read features of a view for entities, in their order."""
        now_us, plan, keys = _question(table, entity_keys)
        found = await self._awaited(config).read(plan, keys, now_us)
        return _answers(table, plan, found, now_us, len(keys), requested_features)

    def update(
        self, config: RepoConfig, tables_to_delete: Sequence[FeatureView], tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity], entities_to_keep: Sequence[Entity], partial: bool,
    ) -> None:  # fmt: skip
        """Remove the rows of views that are gone; nothing is to be made for new ones."""
        for view in tables_to_delete:
            self._blocking(config).clear(_layout(view, _unknown_keys(view)))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove the rows of all views."""
        self.update(config, tables, [], entities, [], partial=False)
        if self._store is not None:
            self._store.close()

    async def close(self) -> None:
        """Close the connections of the event loop."""
        if self._async_store is not None:
            await self._async_store.close()
            self._async_store = None

    def _blocking(self, config: RepoConfig) -> RedisOnlineStore:
        self._store = self._store or RedisOnlineStore(config.online_store.url, config.project, _TIMEOUT_S)
        return self._store

    def _awaited(self, config: RepoConfig) -> AsyncRedisOnlineStore:
        self._async_store = self._async_store or AsyncRedisOnlineStore(
            config.online_store.url, config.project, _TIMEOUT_S
        )
        return self._async_store


def _unknown_keys(view: FeatureView) -> dict[str, Dtype]:
    return dict.fromkeys(view.join_keys or [DUMMY_ENTITY_ID], "string")


def _app(view: FeatureView, keys: dict[str, Dtype]) -> App:
    return app_of(name_of(view.name), "source", keys, view_columns(view), view.ttl)


def _layout(view: FeatureView, keys: dict[str, Dtype]) -> ViewLayout:
    return view_layout(_app(view, keys), name_of(view.name))


def _rows(view: FeatureView, data: list[Written]) -> tuple[ViewLayout, pa.Table]:
    types = key_types([key for key, _, _, _ in data])
    names = [key_row(key) for key, _, _, _ in data]
    columns = {n: pa.array([row[n] for row in names], ARROW_TYPES[dtype]) for n, dtype in types.items()}
    events = [utc(event) for _, _, event, _ in data]
    known = [utc(created or event) for _, _, event, created in data]
    columns |= {EVENT_TIME: pa.array(events, ARROW_TYPES["timestamp"])}
    columns |= {KNOWN_TIME: pa.array(known, ARROW_TYPES["timestamp"])}
    for number, (field, (name, dtype)) in enumerate(zip(view.features, view_columns(view), strict=True)):
        values = [held(row.get(name), field.dtype.to_value_type()) for _, row, _, _ in data]
        columns[f"f{number}"] = pa.array(values, ARROW_TYPES[dtype])
    return _layout(view, types), pa.table(columns)


def _question(view: FeatureView, keys: list[EntityKey]) -> tuple[int, ReadPlan, list[dict[str, Any]]]:
    name = name_of(view.name)
    types = key_types(keys) or _unknown_keys(view)
    plan = read_plan(_app(view, types), lookups_of(name, view_columns(view)))
    return time.time_ns() // 1000, plan, [key_row(key) for key in keys]


def _answers(
    view: FeatureView, plan: ReadPlan, found: OnlineRows, now_us: int, count: int, requested: list[str] | None
) -> list[Read]:  # fmt: skip
    """Return values with the times of their rows; an expired value is null, and its row has its time all the same."""
    kinds = {field.name: field.dtype.to_value_type() for field in view.features}
    columns = {
        name: found.values[lookup].tolist()
        for (name, _), lookup in zip(view_columns(view), plan.names, strict=True)
        if requested is None or name in requested
    }
    answers: list[Read] = []
    for row in range(count):
        if not plan.names or found.status[row][0] in _ABSENT:
            answers.append((None, None))
            continue
        event = _EPOCH + timedelta(microseconds=now_us - int(found.age_us[row][0]))
        answers.append((event, {name: served(values[row], kinds[name]) for name, values in columns.items()}))
    return answers
