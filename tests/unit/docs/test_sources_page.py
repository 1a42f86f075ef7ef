"""The guide to sources, run as it is printed."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from tests.unit.features.test_feature_views_page import run_page

from gnomon.contracts.data_contracts import AnyRule
from gnomon.contracts.transforms import AnyTransform

PAGE = Path(__file__).resolve().parents[3] / "platform" / "docs" / "sources.md"


def test_the_page_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "")  # the page sets it; this puts it back
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_page(PAGE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "part", [p for any_of in (AnyRule, AnyTransform) for p in typing.get_args(typing.get_args(any_of)[0])]
)
def test_the_page_tells_of_every_rule_and_transform(part: type) -> None:
    assert f"| `gn.{part.__name__}(" in PAGE.read_text(encoding="utf-8")
