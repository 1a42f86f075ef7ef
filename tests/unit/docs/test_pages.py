"""The pages for readers name only what exists, and the README's app file is the one that the tutorial's test runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "platform" / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
_LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)")
_PATH = re.compile(r"`((?:tests|platform|jobs|serve_apps|cluster_configs)/[\w./-]+)(?:::\w+)?`")
_PYTHON = re.compile(r"^```python.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    broken += [path for path in _PATH.findall(text) if not (ROOT / path).exists()]
    assert not broken


def test_the_readme_shows_the_tutorials_app_file() -> None:
    readme, tutorial = ((page).read_text(encoding="utf-8") for page in (PAGES[0], DOCS / "tutorial.md"))
    assert _PYTHON.findall(readme)[0] in _PYTHON.findall(tutorial)


def test_the_readme_states_the_two_commands() -> None:
    readme = PAGES[0].read_text(encoding="utf-8")
    assert "\n    make demo " in readme
    assert "\n    make test " in readme
