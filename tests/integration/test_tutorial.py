"""The tutorial, run as it is printed: its files are written, its commands run in order, its output looked for.

A block marked `python NAME` is a file. In a block marked `console`, a line that starts with `$ ` is a command, and the
lines below it must appear in its output in that order; `…` stands for any text, and runs of blanks count as one.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.local_platform import ROOT, LocalPlatform

TUTORIAL = ROOT / "platform" / "docs" / "tutorial.md"
VERBS = {
    "up", "plan", "apply", "ingest", "materialize", "train", "models", "deploy", "predict", "outcome", "status", "logs",
    "retrain", "down",
}  # fmt: skip
_BLOCK = re.compile(r"^```(?P<kind>\S*)[ ]?(?P<name>.*?)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """A command, and the lines of output that are shown below it."""

    command: str
    shown: list[str] = field(default_factory=list)


def _blocks() -> list[tuple[str, str, str]]:
    return [(m["kind"], m["name"], m["body"]) for m in _BLOCK.finditer(TUTORIAL.read_text(encoding="utf-8"))]


def _steps(body: str) -> list[Step]:
    steps: list[Step] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:]))
        else:
            steps[-1].shown.append(line)
    return steps


def _missing(shown: list[str], output: str) -> str | None:
    """Return the first shown line that does not appear in the output after the ones before it."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in shown:
        parts = [re.escape(" ".join(part.split())) for part in line.split("…")]
        pattern = re.compile(r"\s*.*?\s*".join(parts))
        if not any(pattern.search(found) for found in lines):
            return line
    return None


def test_the_tutorial_uses_every_verb() -> None:
    """What the tutorial does not show, nobody finds."""
    commands = [step.command for kind, _, body in _blocks() if kind == "console" for step in _steps(body)]
    used = {words[1] for command in commands if (words := command.split())[0] == "gnomon"}
    assert used >= VERBS


@pytest.mark.parametrize(
    ("shown", "output", "missing"),
    [
        (["a …", "c"], "x\na  1\nb\nc", None),
        (["c", "a …"], "a 1\nc", "a …"),
        (["a  2"], "a 1", "a  2"),
        (["+ entity courier"], "+ source courier", "+ entity courier"),
    ],
)
def test_a_line_that_is_not_printed_is_noticed(shown: list[str], output: str, missing: str | None) -> None:
    """The test of the tutorial can fail."""
    assert _missing(shown, output) == missing


@pytest.mark.timeout(1200)
def test_every_command_does_what_the_tutorial_shows(tmp_path: Path) -> None:
    """One run from the empty folder to `gnomon down`."""
    platform = LocalPlatform(tmp_path / "home")
    folder = tmp_path / "work"
    folder.mkdir()
    try:
        for kind, name, body in _blocks():
            if kind == "python":
                (folder / name).write_text(body, encoding="utf-8")
            for step in _steps(body) if kind == "console" else ():
                done = subprocess.run(
                    ["bash", "-c", step.command], cwd=folder, env=platform.environment, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
                )  # fmt: skip
                assert done.returncode == 0, f"$ {step.command}\n{done.stdout}"
                missing = _missing(step.shown, done.stdout)
                assert missing is None, f"$ {step.command}\ndoes not print: {missing}\nbut:\n{done.stdout}"
    finally:
        platform.run("down", timeout_s=120)
    assert platform.processes() == []
