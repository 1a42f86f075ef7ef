"""`gnomon layouts` and its routes: what large training sets have laid out is shown, and removed when told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.export_world import exporting
from tests.gateway_world import bare_parts
from tests.ray_cluster import ray_cluster
from tests.unit.features.payments import label_requests, payment_rows, payments_app, requests_table, to_table
from typer.testing import CliRunner

from gnomon.cli.app import app as commands
from gnomon.control_plane.parts import Parts
from gnomon.errors import InvalidInput, NotFound
from gnomon.features.point_in_time import point_in_time_join
from gnomon.storage.delta_tables import DeltaTables

PAGE = Path(__file__).resolve().parents[3] / "platform" / "docs" / "training_sets.md"


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of which one is laid out by customer and by shop."""
    root = tmp_path_factory.mktemp("home") / "tables"
    tables = DeltaTables(root)
    tables.append("pay", to_table(payment_rows(200)), "b0")
    tables.append("empty", to_table(payment_rows(1)), "b0")
    requests = requests_table(label_requests(10))
    with ray_cluster(root.parent):
        for lookup in ("sums.rows", "newest.amount"):
            point_in_time_join(payments_app(), tables, requests, [lookup], local_rows=0, partition_rows=100)
    return root.parent


@pytest.fixture
def parts(laid_out: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    return bare_parts(laid_out, monkeypatch)


def _say(*words: str) -> str:
    done = CliRunner().invoke(commands, ["layouts", *words], catch_exceptions=False, env={"COLUMNS": "200"})
    return done.stdout


@pytest.mark.cluster
def test_layouts_are_shown_and_removed(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with exporting(parts, tmp_path, monkeypatch) as client:
        found = client.layouts.list()
        assert [(f["source"], f["keys"], f["segments"], f["rows"]) for f in found] == [
            ("pay", ["c"], 1, 200), ("pay", ["shop"], 1, 200),
        ]  # fmt: skip
        folder = parts.offline.derived_folder("pay")
        assert folder is not None
        files = [path for path in folder.rglob("*.parquet") if path.is_file()]
        assert sum(f["size_bytes"] for f in found) == sum(path.stat().st_size for path in files)
        assert re.search(r"pay +│? *c\b", _say())
        assert "no table is laid out by entity" in _say("empty")
        with pytest.raises(InvalidInput, match="--remove needs to be told of which source"):
            _say("--remove")
        with pytest.raises(NotFound, match="'pai'"):
            client.layouts.remove("pai")
        said = _say("pay", "--remove")
        assert f"pay: {sum(f['size_bytes'] for f in found)} bytes removed" in said
        assert client.layouts.list() == []
        assert not list(folder.rglob("*.parquet"))
        assert client.layouts.remove("empty") == {"source": "empty", "removed_bytes": 0}
    entry: Any = next(e for e in parts.audit.entries(limit=5) if e.target == "source/pay")
    assert entry.action == "remove_layouts"


@pytest.mark.cluster
def test_the_commands_of_the_page_run(parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    parts.offline.append("payments", to_table(payment_rows(1)), "b0")
    with exporting(parts, tmp_path, monkeypatch):
        for line in block.splitlines():
            words = line.removeprefix("gnomon layouts").split()
            said = _say(*words)
            assert "payments: 0 bytes removed" in said if "--remove" in words else "laid out" in said or "pay" in said
