"""`Client.push` and `gnomon push` against a real gateway on a socket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import uvicorn
from typer.testing import CliRunner

import gnomon as gn
from gnomon import composition
from gnomon.cli.app import app as commands
from gnomon.client import Client
from gnomon.contracts.apps import App
from gnomon.control_plane.parts import Parts
from gnomon.data import pushing
from gnomon.errors import InvalidInput, NotFound, Overloaded
from gnomon.gateway.app import create_app

_FIELDS = {"id": "string", "at": "timestamp", "n": "int64"}
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path))
    monkeypatch.setenv("GNOMON_ONLINE_URL", "redis://127.0.0.1:1/0")  # never asked: pushes do not need it
    made = composition.parts.__wrapped__()
    source = gn.DataSource("events", path="*.csv", id="id", event_time="at", fields=_FIELDS)
    app = App.of("app", [source], root=str(tmp_path)).with_schemas({"events": _FIELDS})
    made.definitions.apply(app, actor="me")
    return made


@pytest.fixture
def url(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    config = uvicorn.Config(create_app(parts, "token", logs=tmp_path), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    monkeypatch.setenv("GNOMON_URL", url)
    monkeypatch.setenv("GNOMON_TOKEN", "token")
    yield url
    server.should_exit = True
    thread.join()


def row(number: int) -> dict[str, Any]:
    return {"id": f"e{number}", "at": NOW, "n": number}


def test_rows_of_every_form(url: str, parts: Parts) -> None:
    table = pa.table({"id": ["e1", "e2"], "at": pa.array([NOW, NOW], pa.timestamp("us", tz="UTC")), "n": [1, 2]})
    lines = json.dumps({**row(3), "at": NOW.isoformat()}).encode()
    with Client(url, "token") as client:
        reports = [client.push("events", rows) for rows in ([row(0), row(1)], table, lines, iter([row(3)]))]
        assert [(r["accepted"], r["duplicates"]) for r in reports] == [(2, 0), (1, 1), (1, 0), (0, 1)]
        with pytest.raises(InvalidInput, match="cannot be written as JSON"):
            client.push("events", [{"id": "x", "at": NOW, "n": float("nan")}])
        with pytest.raises(NotFound, match="event"):
            client.push("evnts", [row(0)])
    stored = parts.offline.read("events", columns=["n", "at"]).to_pylist()
    assert sorted((r["n"], r["at"]) for r in stored) == [(n, NOW) for n in range(4)]


def test_it_is_sent_again_while_there_is_no_room(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    began, commit, hold = threading.Event(), pushing.commit_pushes, threading.Event()

    def held(*values: Any) -> Any:
        began.set()
        assert hold.wait(30)
        return commit(*values)

    monkeypatch.setattr(pushing, "commit_pushes", held)
    monkeypatch.setattr(pushing.PushLimits, "__init__", _small_queue)
    with Client(url, "token") as client:
        first = threading.Thread(target=client.push, args=("events", [row(n) for n in range(4)]))
        first.start()
        assert began.wait(30)
        with pytest.raises(Overloaded, match="rows"):
            client.push("events", [row(n) for n in range(4, 8)], wait_s=0)
        threading.Timer(0.3, hold.set).start()
        assert client.push("events", [row(n) for n in range(4, 8)])["accepted"] == 4
        first.join()


def _small_queue(self: pushing.PushLimits, **options: Any) -> None:
    values = {"wait_s": 0.0, "commit_rows": 20_000, "queued_rows": 5, "queued_bytes": 10_000}
    for name, value in {**values, **options}.items():
        object.__setattr__(self, name, value)


def test_the_command(url: str, parts: Parts, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    lines = [json.dumps({**row(n), "at": NOW.isoformat()}) for n in range(12_000)]
    file.write_text("\n".join([*lines, "", '{"id": "bad"}']))
    command = ["push", "events", "--file", str(file), "-o", "json"]
    for new in (12_000, 0):
        result = json.loads(CliRunner().invoke(commands, command, catch_exceptions=False).stdout)
        assert (result["accepted"], result["duplicates"], result["quarantined"], result["pushes"]) == (
            new, 12_000 - new, 1, 3,
        )  # fmt: skip
    assert parts.offline.read("events", columns=["n"]).num_rows == 12_000
    shown = CliRunner().invoke(commands, command[:-2], catch_exceptions=False).stdout
    assert "12000" in shown
    assert "null" in shown
    piped = CliRunner().invoke(commands, ["push", "events", "--file", "-"], input=lines[0], catch_exceptions=False)
    assert piped.exit_code == 0
    file.write_text("id,n\na,1\nb,2\n")  # rows of a CSV file
    with pytest.raises(InvalidInput, match="none of 3 rows was taken in"):
        CliRunner().invoke(commands, command, catch_exceptions=False)
    with pytest.raises(NotFound, match="no file"):
        CliRunner().invoke(commands, ["push", "events", "--file", "absent"], catch_exceptions=False)
