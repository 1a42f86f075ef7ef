"""The guide to testing features: its app file and what the command says of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from gnomon.cli.app import app as commands
from gnomon.features.feature_properties import Problem

PAGE = Path(__file__).resolve().parents[3] / "platform" / "docs" / "testing_features.md"
_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_shows_what_the_command_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [kind for kind, _ in blocks] == ["python", "text", "python", "text"]
    app_file, *_ = (body for kind, body in blocks)
    for (_, code), (_, shown), exit_code in zip(blocks[::2], blocks[1::2], (1, 0), strict=True):
        text = code if code == app_file else app_file[: app_file.index("def standard_score")] + code
        Path("app.py").write_text(text)
        command, _, expected = shown.partition("\n")
        done = CliRunner().invoke(commands, command.removeprefix("$ gnomon ").split())
        assert done.exit_code == exit_code
        assert [line.rstrip() for line in done.stdout.splitlines()] == expected.splitlines()


@pytest.mark.parametrize("problem", get_args(Problem))
def test_the_page_tells_of_every_problem(problem: str) -> None:
    assert f"| {problem.replace('_', ' ')} |" in PAGE.read_text(encoding="utf-8")
