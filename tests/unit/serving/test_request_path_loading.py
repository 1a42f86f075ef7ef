"""The start of a replica's request path: what the first request would wait for is done by then, if it can be."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import redis

from gnomon.contracts.apps import App
from gnomon.contracts.features import Aggregation, Column, FeatureView
from gnomon.errors import Unavailable
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.serving.parts import ServingParts
from gnomon.serving.request_path_loading import load_request_path


def body(row: object) -> bytes:
    return json.dumps({"rows": [row]}).encode()


def seen_by(server: EmbeddedValkey) -> tuple[int, int]:
    """Return how many connections and how many reads a server has seen."""
    with redis.Redis.from_url(server.url) as client:
        reads = client.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
        return client.info("stats")["total_connections_received"], reads


def test_the_first_request_finds_a_connection_that_has_read(
    world: ModuleType, folder: Path, parts: ServingParts, online: EmbeddedValkey
) -> None:
    own = 1  # of the next question
    connections, reads = seen_by(online)
    path = load_request_path(world.target_of(folder), parts, None)
    assert seen_by(online) == (connections + own + 1, reads + 1)
    answer = path.answer(body(world.ROW))
    assert seen_by(online) == (connections + 2 * own + 1, reads + 2)
    assert set(json.loads(answer.body)["predictions"][0]["status"].values()) == {"present"}


def test_the_plan_is_compiled_before_the_first_request(
    world: ModuleType, folder: Path, parts: ServingParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = load_request_path(world.target_of(folder), parts, None)

    def compiles(*_: object) -> None:
        raise AssertionError("the first request compiles the plan")

    monkeypatch.setattr("gnomon.features.compiled_reads.CompiledRead.__init__", compiles)
    assert path.answer(body(world.ROW)).rows == 1


def test_a_store_that_is_away_does_not_stop_the_start(world: ModuleType, folder: Path, parts: ServingParts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    away = replace(parts, online=RedisOnlineStore(f"redis://127.0.0.1:{port}/0", "test", 0.5))
    path = load_request_path(world.target_of(folder), away, None)
    with pytest.raises(Unavailable):
        path.answer(body(world.ROW))


def test_a_view_that_is_defined_anew_is_read_as_the_version_was_trained(
    world: ModuleType, folder: Path, parts: ServingParts
) -> None:
    target = world.target_of(folder)
    before = json.loads(load_request_path(target, parts, None).answer(body(world.ROW)).body)
    app = parts.definitions.revision(target.app_hash).app
    view = app.get(FeatureView, "spend")
    features = [
        Aggregation("amount", "mean", window="30d", name="amount_mean_7d"),
        *view.features[1:],
        Column("weight"),
    ]
    changed = FeatureView("spend", entity=view.entity, source=view.source, features=features)
    definitions = [spec for spec in app.definitions if spec.name != "spend"]
    anew = App.of(app.name, [*definitions, changed], code=app.code, root=app.root).with_schemas(dict(app.schemas))
    applied = parts.definitions.apply(anew, actor="test")
    path = load_request_path(replace(target, app_hash=applied.app_hash), parts, None)
    after = json.loads(path.answer(body(world.ROW)).body)
    assert set(after["predictions"][0]["status"].values()) == {"present"}
    assert after["predictions"][0]["value"] == before["predictions"][0]["value"]
