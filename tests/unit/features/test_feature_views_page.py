"""The guide to feature views, run as it is printed: its Python blocks in order, with the values that it shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from gnomon.contracts.features import AggregationFunction

PAGE = Path(__file__).resolve().parents[3] / "platform" / "docs" / "feature_views.md"
_BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def run_page(text: str) -> list[str]:
    """Run a page's `python` blocks and the examples of its `pycon` blocks; return what went otherwise than shown."""
    names: dict[str, Any] = {"__name__": "app"}
    failures: list[str] = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("body"))
        if block["kind"] == "python":
            exec(compile(block["body"], str(PAGE), "exec"), names)
        elif block["kind"] == "pycon":
            example = doctest.DocTestParser().get_doctest(block["body"], names, PAGE.name, str(PAGE), line)
            assert example.examples, f"line {line}: a block without an example"
            doctest.DocTestRunner().run(example, out=failures.append, clear_globs=False)
    return failures


def test_the_page_shows_what_happens() -> None:
    assert run_page(PAGE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("shown", ["3", "Traceback (most recent call last):\nValueError: 2"])
def test_a_value_that_is_not_what_happens_is_noticed(shown: str) -> None:
    """The test of the page can fail."""
    assert run_page(f"```python\nx = 1\n```\n\n```pycon\n>>> x + 1\n{shown}\n```\n")


@pytest.mark.parametrize("function", get_args(AggregationFunction))
def test_the_page_tells_of_every_statistic(function: str) -> None:
    table = [line.split("|")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert any(f"`{function}`" in cell for cell in table)
