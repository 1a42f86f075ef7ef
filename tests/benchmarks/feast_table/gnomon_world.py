"""Our side of `feast_table`: from files through ingestion and materialization to a real online store, and to joins."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.feast_table.cases import NOW_H, View
from tests.benchmarks.feast_table.race import ENTITIES, race, run_rounds
from tests.feature_world import FeatureWorld, row

import gnomon as gn
from gnomon.contracts.online_store import Status
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.testing.online_rows import layout_of, read, table_of, values_of

_RACED = layout_of({"amount": "int64"})


class GnomonWorld:
    """Sources, tables and views for one case.

    Args:
        folder: Holds files and tables.
        url: Server of the online store.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        self._events = 0
        self._world: FeatureWorld

    def define(self, **views: View) -> None:
        """Define views of the entity `customer` over one source."""
        self._world = FeatureWorld(self._folder, self._url, {name: _fields(view) for name, view in views.items()})

    def ingest(self, *rows: Mapping[str, Any]) -> None:
        """Ingest a file of rows, each an event of its own."""
        self._world.ingest(*(row(f"e{self._events + i}", **fields) for i, fields in enumerate(rows)))
        self._events += len(rows)

    def materialize(self, view: str, at: float) -> None:
        """Bring a view online as known at an hour."""
        self._world.materialize(view, at)

    def read(self, view: str, feature: str, *customers: int) -> list[tuple[Any, str]]:
        """Read a feature online at hour 12; a value and the name of its status each."""
        lookup = f"{view}.{feature}"
        found = self._world.read([lookup], customers, NOW_H)
        statuses = [Status(status).name for status in found.status[:, 0]]
        return list(zip(values_of(found, lookup), statuses, strict=True))

    def join(self, view: str, feature: str, *requests: tuple[int, float]) -> list[Any]:
        """Look a feature up offline for (customer, hour) pairs, in their order."""
        return self._world.join([f"{view}.{feature}"], *requests)[0]

    def race(self) -> list[Any]:
        """Have two processes write the same entities; return the value that each entity is left with."""
        project = uuid.uuid4().hex
        race(write_raced, self._url, project)
        return values_of(read(RedisOnlineStore(self._url, project), [_RACED], *ENTITIES), "spend.amount")


def write_raced(url: str, project: str, number: int, barrier: Any) -> None:
    """Write as one of two writers, in a process of its own."""
    store = RedisOnlineStore(url, project)

    def write(rows: list[tuple[int, int]]) -> None:
        store.write(_RACED, table_of(_RACED, [{"id": entity, "at": hour, "amount": hour} for entity, hour in rows]))

    run_rounds(write, number, barrier)


def _fields(view: View) -> dict[str, Any]:
    features = [gn.Column(column, name=feature) for feature, column in view.features.items()]
    age = {} if view.max_age_h is None else {"max_age": f"{round(view.max_age_h * 3600)}s"}
    return {"features": features, **age}
