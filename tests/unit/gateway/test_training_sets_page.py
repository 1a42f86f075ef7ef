"""The guide to training sets: its app file and rows, what its commands say, and the tables that it shows."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.export_world import exporting
from tests.gateway_world import bare_parts
from typer.testing import CliRunner

from gnomon.cli.app import app as commands
from gnomon.contracts.clocks import HandClock
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.feature_work import ingest_source
from gnomon.data.source_schema import read_schema
from gnomon.runtime.app_code import load_app

PAGE = Path(__file__).resolve().parents[3] / "platform" / "docs" / "training_sets.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^\|.*\|$(?:\n^\|.*\|$)+", re.MULTILINE)


def test_the_page_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    blocks: dict[str, list[str]] = {}
    for kind, body in _BLOCK.findall(text):
        blocks.setdefault(kind, []).append(body)
    app_file, verbs = blocks["python"]
    Path("app.py").write_text(app_file)
    Path("payments.csv").write_text(blocks["csv"][0])
    Path("customers.jsonl").write_text('{"customer_id": 2}\n{"customer_id": 1}\n')
    clock = HandClock(tmp_path / "clock", datetime(2026, 1, 10, tzinfo=UTC))
    parts = replace(bare_parts(tmp_path / "home", monkeypatch), clock=clock)
    app, code = load_app(Path("app.py"))
    parts.artifacts.put_bytes(code.encode())
    schemas = {source.name: read_schema(source, app.root) for source in app.all(DataSource)}
    parts.definitions.apply(app.with_schemas(schemas), actor="me")
    ingest_source(parts.operations.submit("ingest", "payments", {}, actor="me"), parts, str)
    shown: list[list[list[str]]] = []
    with exporting(parts, tmp_path, monkeypatch) as client:
        for block in blocks["text"]:
            command, _, expected = block.partition("\n")
            words = command.removeprefix("$ gnomon ").split()
            done = CliRunner().invoke(commands, words, catch_exceptions=False)
            said = re.sub(r"digest \w{12}", "digest …", done.stdout)
            assert expected in said, said  # the worker's log is in it too, as it runs in this process
            shown.append(_cells(words[words.index("--out") + 1]))
        names: dict[str, Any] = {}
        exec(verbs, names)
        assert names["in_batch"](client) == 1
    tables = [
        [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
        for table in _TABLE.findall(text)
    ]
    for number, at in ((0, 0), (2, 1)):
        assert [tables[at][0], *tables[at][2:]] == shown[number]


def _cells(path: str) -> list[list[str]]:
    table = pq.read_table(path)
    rows = [
        [f"{v:%Y-%m-%d %H:%M}" if isinstance(v, datetime) else str(v) for v in r.values()] for r in table.to_pylist()
    ]
    return [table.column_names, *rows]
