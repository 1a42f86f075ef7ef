"""The guide for users of Feast, run as it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.features.test_feature_views_page import run_page

from gnomon.importing import stand_in

PAGE = Path(__file__).resolve().parents[3] / "platform" / "docs" / "from_feast.md"
DEFINITIONS = [
    k for k in stand_in._KINDS if k.endswith(("View", "Source", "Entity", "Service", "Project", "Permission"))
]


def test_the_page_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_page(PAGE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_the_page_tells_of_every_kind(kind: str) -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert any(f"`{kind}`" in row.split("|")[1] for row in rows)
