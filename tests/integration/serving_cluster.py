"""A Ray cluster with Serve behind HAProxy, an online store and a small platform, for tests of endpoints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.contracts.cluster import EndpointStatus, EndpointTarget
from gnomon.errors import from_json
from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.runtime.processes import free_ports, stop
from gnomon.runtime.ray_head import RayHead, start_head
from serving_world import build_world

_HERE = Path(__file__).parent
_ATTEMPTS = 4
_SETTLE_S = 3.0


class DrivenEndpoints:
    """An `EndpointServer` in a process of its own."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(_HERE / "endpoint_driver.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, env=dict(environment), text=True,
            )  # fmt: skip
        self._answer("ready")

    def call(self, verb: str, argument: Any = None) -> Any:
        assert self.process.stdin is not None
        print(json.dumps([verb, argument]), file=self.process.stdin, flush=True)
        answer = json.loads(self._answer("answer "))
        if "error" in answer:
            raise from_json(answer["error"])
        return answer["result"]

    def _answer(self, beginning: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(beginning):
                return line.removeprefix(beginning)
        raise AssertionError(f"the driver ended with status {self.process.wait()}; see its log")

    def deploy(self, target: EndpointTarget) -> None:
        self.call("deploy", vars(target))

    def remove(self, deployment: str) -> None:
        self.call("remove", deployment)

    def observe(self) -> dict[str, EndpointStatus]:
        found = self.call("observe")
        return {n: EndpointStatus(**{**s, "target": EndpointTarget(**s["target"])}) for n, s in found.items()}

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@dataclass
class ServingCluster:
    """What the tests need of it."""

    head: RayHead
    world: Path
    url: str
    environment: dict[str, str]
    online: EmbeddedValkey

    def driver(self) -> DrivenEndpoints:
        return DrivenEndpoints(self.environment, self.world / "driver.log")


def _head(home: Path, variables: Mapping[str, str]) -> RayHead:
    """Start a head; Ray gives itself 30 s for that, which a busy machine may not keep, so that it is tried again."""
    for attempt in range(_ATTEMPTS):
        folder = home / str(attempt)
        folder.mkdir(mode=0o700)
        head = start_head(
            folder, home / "head.log", dashboard_port=free_ports(1)[0], cpus=2, object_store_bytes=100_000_000,
            variables=variables,
        )  # fmt: skip
        head.wait_ready()
        try:
            head.process.wait(_SETTLE_S)
        except subprocess.TimeoutExpired:
            return head
    raise AssertionError(f"Ray's head ended {_ATTEMPTS} times; see {home / 'head.log'}")


def _stop_head(head: RayHead) -> None:
    head.process.terminate()
    try:
        head.process.wait(20)
    except subprocess.TimeoutExpired:
        stop(head.process)


@contextmanager
def serving_cluster() -> Iterator[ServingCluster]:
    """Start it all on free ports, and end it all."""
    home = Path(tempfile.mkdtemp(prefix="gn", dir="/tmp"))  # short: Unix sockets lie below it
    online = EmbeddedValkey(home / "valkey")
    online.start()
    world = home / "world"
    build_world(world, online.url)
    (home / "home").mkdir()
    path = os.pathsep.join([str(_HERE.parent), str(_HERE)])
    variables = {"PYTHONPATH": path, "SERVING_WORLD": str(world), "HOME": str(home / "home")}
    head = _head(home, variables)
    try:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        environment = {**inherited, **variables, **head.driver_environment()}
        port = free_ports(1)[0]
        first = DrivenEndpoints(environment, world / "driver.log")
        first.call("start_serve", port)
        first.close()
        yield ServingCluster(head, world, f"http://127.0.0.1:{port}", environment, online)
    finally:
        _stop_head(head)
        online.stop()
        if "GNOMON_KEEP" not in os.environ:
            shutil.rmtree(home, ignore_errors=True)
