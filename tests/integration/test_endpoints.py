"""Endpoints on a real Ray cluster with Serve behind HAProxy: the contract, HTTP, updates under load, kills."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from gnomon.contracts.cluster import EndpointTarget
from gnomon.testing.endpoint_server_contract import EndpointServerContract

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def world() -> ModuleType:
    return _module(Path(__file__).parents[1] / "serving_world.py")


@pytest.fixture(scope="module")
def cluster(world: ModuleType) -> Iterator[Any]:
    with _module(Path(__file__).parent / "serving_cluster.py").serving_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def driver(cluster: Any) -> Iterator[Any]:
    driver = cluster.driver()
    yield driver
    driver.close()


class TestRayEndpoints(EndpointServerContract):
    @pytest.fixture
    def server(self, driver: Any) -> Any:
        return driver

    @pytest.fixture
    def other(self, cluster: Any) -> Iterator[Any]:
        other = cluster.driver()
        yield other
        other.close()

    @pytest.fixture
    def target(self, world: ModuleType, cluster: Any) -> EndpointTarget:
        target: EndpointTarget = world.target_of(cluster.world)
        return target

    @pytest.fixture
    def client(self, world: ModuleType, cluster: Any) -> Iterator[httpx.Client]:
        headers = {"Authorization": f"Bearer {world.TOKEN}"}
        with httpx.Client(base_url=f"{cluster.url}/endpoints/fraud", headers=headers, timeout=30) as client:
            yield client

    def test_a_killed_caller_has_deployed(
        self, cluster: Any, target: EndpointTarget, until: Callable[..., Any], client: httpx.Client, world: ModuleType
    ) -> None:
        caller = cluster.driver()
        caller.deploy(target)
        os.kill(caller.process.pid, signal.SIGKILL)
        caller.close()
        until(lambda seen: "fraud" in seen and seen["fraud"].state == "healthy" and seen["fraud"].target == target)
        assert client.post("/predict", json={"rows": [world.ROW]}).json()["version"] == 1

    def test_http_tokens_errors_and_log(
        self, cluster: Any, server: Any, target: EndpointTarget, until: Callable[..., Any], client: httpx.Client,
        world: ModuleType,
    ) -> None:  # fmt: skip
        server.deploy(target)
        until(lambda seen: seen["fraud"].state == "healthy")
        answer = client.post("/predict", json={"rows": [{**world.ROW, "prediction_id": "logged"}]})
        assert (answer.status_code, answer.json()["predictions"][0]["id"]) == (200, "logged")
        bare = httpx.post(f"{client.base_url}predict", json={"rows": [world.ROW]})
        assert (bare.status_code, bare.json()["error"]["code"]) == (401, "unauthenticated")
        for path in ("live", "ready"):
            assert httpx.get(f"{client.base_url}{path}").status_code == 200
        assert client.get("/signature").json()["keys"] == {"customer_id": "int64"}
        wrong = client.post("/predict", json={"rows": [{"custmer_id": 1}]})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid_input")
        assert client.post("/predict", content=b"x" * 5_000_000).status_code == 413
        log = world.parts_of(cluster.world).predictions
        deadline_s = time.monotonic() + 30
        while "logged" not in (found := log.read("fraud", 0, 2**60)["prediction_id"].to_pylist()):
            assert time.monotonic() < deadline_s, f"not in the log: {found}"
            time.sleep(0.2)

    def test_an_update_under_load_fails_no_request(
        self, server: Any, target: EndpointTarget, until: Callable[..., Any], client: httpx.Client, cluster: Any,
        world: ModuleType,
    ) -> None:  # fmt: skip
        server.deploy(target)
        until(lambda seen: seen["fraud"].state == "healthy")
        stop, seen = threading.Event(), Counter[tuple[int, Any]]()
        ids: list[str] = []

        def load() -> None:
            while not stop.is_set():
                answer = client.post("/predict", json={"rows": [world.ROW]})
                body = answer.json()
                seen[answer.status_code, body.get("version", answer.text)] += 1
                ids.extend(p["id"] for p in body.get("predictions", []))

        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        server.deploy(replace(target, version=2))
        until(lambda seen: seen["fraud"].state == "healthy" and seen["fraud"].replicas == 1)
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()
        assert {status for status, _ in seen} == {200}, seen
        assert {version for _, version in seen} == {1, 2}
        server.remove("fraud")
        until(lambda seen: not seen)
        log = world.parts_of(cluster.world).predictions
        deadline_s = time.monotonic() + 30
        while set(ids) - set(log.read("fraud", 0, 2**60)["prediction_id"].to_pylist()):
            assert time.monotonic() < deadline_s, "the last replica ended before its predictions were in the log"
            time.sleep(0.2)

    def test_a_dead_online_store_is_503_and_comes_back(
        self, server: Any, target: EndpointTarget, until: Callable[..., Any], client: httpx.Client, cluster: Any,
        world: ModuleType,
    ) -> None:  # fmt: skip
        server.deploy(target)
        until(lambda seen: seen["fraud"].state == "healthy")
        pid = cluster.online.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            began_s = time.monotonic()
            answers = [client.post("/predict", json={"rows": [world.ROW]}) for _ in range(3)]
            assert [a.status_code for a in answers] == [503] * 3
            assert {a.json()["error"]["code"] for a in answers} == {"unavailable"}
            assert time.monotonic() - began_s < 20
            time.sleep(1.1)
            assert client.get("/ready").status_code == 503
            assert client.get("/live").status_code == 200
        finally:
            os.kill(pid, signal.SIGCONT)
        deadline_s = time.monotonic() + 20
        while client.post("/predict", json={"rows": [world.ROW]}).status_code != 200:
            assert time.monotonic() < deadline_s
            time.sleep(0.2)
