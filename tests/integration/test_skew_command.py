"""`gnomon audit skew` from the command line to the worker: a real gateway and client, and what each exit code means."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.online_servers import online_server
from tests.skew_world import SkewWorld, skew_app

import gnomon as gn
from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.registry import Lineage
from gnomon.contracts.signatures import model_signature
from gnomon.control_plane.operation_work import run_operation
from gnomon.control_plane.parts import Parts
from gnomon.errors import InvalidInput
from gnomon.gateway.app import create_app

COUNT = gn.Aggregation("*", "count", window="7d", name="number")
SHORTER = gn.Aggregation("*", "count", window="1h", name="number")
TOKEN = "a-token-of-the-tests"


def definitions(count: Any) -> App:
    app = skew_app({"spend": {"features": [count]}})
    return App.of("world", [*app.definitions, gn.Deployment("risk", model="risk")]).with_schemas(app.schemas)


@dataclass
class Platform:
    """Everything of a platform but Ray: parts, a gateway on a port, and a thread that does operations."""

    world: SkewWorld
    parts: Parts

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own."""
        command = [sys.executable, "-c", "from gnomon.cli import main; main()", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A platform whose model `risk` was trained, was served to 50 customers in order, and whose view has changed."""
    (tmp_path / "valkey").mkdir()
    with online_server("valkey", tmp_path / "valkey") as url:
        home = tmp_path / "home"
        home.mkdir()
        world = SkewWorld(home, url, definitions(COUNT))
        monkeypatch.setenv("GNOMON_HOME", str(home))
        monkeypatch.setenv("GNOMON_CLOCK_FILE", str(home / "clock"))
        monkeypatch.setenv("GNOMON_ONLINE_URL", url)
        parts = replace(composition.parts.__wrapped__(), online=world.online)
        _train_and_serve(world, parts, tmp_path)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            monkeypatch.setenv("GNOMON_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
            monkeypatch.setenv("GNOMON_TOKEN", TOKEN)
            gateway = create_app(parts, TOKEN, logs=tmp_path)
            server = uvicorn.Server(uvicorn.Config(gateway, log_level="warning", lifespan="off", ws="none"))
            threads = [
                threading.Thread(target=server.run, args=([listening],)),
                threading.Thread(target=_work, args=(parts, server)),
            ]
            for thread in threads:
                thread.start()
            yield Platform(world, parts)
            server.should_exit = True
            for thread in threads:
                thread.join()


def _train_and_serve(world: SkewWorld, parts: Parts, folder: Path) -> None:
    """Register a version, materialize by an operation and serve; the log begins on 2026-01-01."""
    applied = parts.definitions.apply(world.app, actor="test")
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text("none are needed to audit")
    lineage = Lineage("r1", applied.app_hash, "", "t", {}, {}, datetime(2026, 1, 1, tzinfo=UTC))
    digest = parts.artifacts.put_folder(folder / "model")
    parts.registry.register("risk", digest, model_signature(world.app, "risk"), (), lineage)
    world.add([{"customer": c, "at": 1, "amount": 1.0, "note": "n"} for c in range(50)])
    world.predict([], 2)  # sets the clock
    operation = parts.operations.submit("materialize", "spend", {}, actor="test")
    _run(parts, operation.id)
    assert parts.operations.get(operation.id).state == "succeeded"
    world.predict(range(50), 3)


def _run(parts: Parts, operation_id: str) -> None:
    leased = parts.operations.lease(operation_id, 0)
    assert leased is not None
    run_operation(operation_id, leased.lease, parts)


def _work(parts: Parts, server: uvicorn.Server) -> None:
    while not server.should_exit:
        for operation in parts.operations.list(states=("pending",)):
            _run(parts, operation.id)
        time.sleep(0.02)


def test_a_platform_in_order_leaves_with_0(platform: Platform) -> None:
    done = platform.run("audit", "skew", "--model", "risk", "--since", "1d", "--output", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["predictions"], found["worst_rate"], found["versions"]) == (50, 0.0, [1])
    assert [f["feature"] for f in found["features"]] == ["spend.number"]


def test_a_skew_above_the_rate_leaves_with_1_and_is_named(platform: Platform) -> None:
    platform.parts.definitions.apply(definitions(SHORTER), actor="test")
    platform.world.materialize(3.5, app=definitions(SHORTER))
    ids = platform.world.predict(range(25), 3.5, app=definitions(SHORTER))
    above = platform.run("audit", "skew", "--model", "risk", "--since", "2026-01-01")
    assert above.returncode == 1
    row = next(line for line in above.stdout.splitlines() if "spend.number" in line)
    assert row.split() == ["spend.number", "75", "25", "33.3333%", "definition_version", "25"]
    assert f"definition_version, for example: {min(ids)}" in above.stdout
    within = platform.run("audit", "skew", "--model", "risk", "--since", "2026-01-01", "--max-rate", "0.34")
    assert within.returncode == 0
    before = platform.run("audit", "skew", "--model", "risk", "--since", "1d", "--until", "2026-01-01T03:15:00Z")
    assert before.returncode == 0


def test_the_moments_of_materializations_are_those_of_operations(platform: Platform) -> None:
    platform.world.online.clear(view_layout(platform.world.app, "spend"))
    platform.world.predict(range(5), 4)
    with gn.connect() as client:
        found = client.audit_skew("risk", since="1d")
    assert found["features"][0]["classes"]["unexplained"]["count"] == 5  # the row had been there


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "1d"], "--model"),
        (["--model", "risk"], "--since"),
        (["--model", "risk", "--since", "7"], "is no moment"),
        (["--model", "risk", "--since", "2026-01-01T00:00:00"], "is no moment"),
        (["--model", "risk", "--since", "1h", "--until", "1d"], "period to audit is empty"),
        (["--model", "risque", "--since", "1d"], "did you mean 'risk'?"),
        (["--model", "risk", "--since", "1d", "--max-rate", "2"], "--max-rate"),
    ],
)
def test_bad_usage_leaves_with_2(platform: Platform, arguments: list[str], said: str) -> None:
    done = platform.run("audit", "skew", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_audit_trail_is_still_there(platform: Platform) -> None:
    platform.parts.audit.record("test", "looked", "model/risk", {})
    text = platform.run("audit")
    assert text.returncode == 0
    assert "looked" in text.stdout
    assert json.loads(platform.run("audit", "--output", "json").stdout)[0]["action"] == "looked"


def test_unknown_arguments_of_the_operation_are_refused(platform: Platform) -> None:
    with gn.connect() as client, pytest.raises(InvalidInput, match="takes no argument 'from'"):
        client.operations.submit("audit_skew", "risk", {"from": "1d"})
