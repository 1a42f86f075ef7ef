"""Feast's own workflow, as `feast init` writes it: the same repository on Feast's stores and on ours, by Feast's CLI.

It applies, looks features up for training and for batch scoring, materializes, serves, pushes and tears down.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml
from scenarios.worlds import URL_VARIABLE

_TIMEOUT_S = 900.0
_OURS = {
    "offline_store": {"type": "gnomon_for_feast.offline_store.GnomonOfflineStore"},
    "online_store": {"type": "gnomon_for_feast.online_store.GnomonOnlineStore"},
}


def test_the_workflow_of_the_local_template(tmp_path: Path) -> None:
    _run(tmp_path, "feast", "init", "--template", "local", "theirs")
    shutil.copytree(tmp_path / "theirs", tmp_path / "ours")
    settings = tmp_path / "ours" / "feature_repo" / "feature_store.yaml"
    stores = {name: dict(store) for name, store in _OURS.items()}
    stores["online_store"]["url"] = os.environ[URL_VARIABLE]
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), **stores}))
    theirs, ours = (
        _parts(_run(tmp_path / name / "feature_repo", sys.executable, "test_workflow.py"))
        for name in ("theirs", "ours")
    )
    assert list(ours) == list(theirs)
    served = [title for title in theirs if "nline features" in title]
    assert len(served) == 4
    for title in (*served, "Historical features for training"):  # that for batch scoring is of the moment it is asked
        assert _words(ours[title]) == _words(theirs[title]), title
        assert any("None" not in line for line in ours[title])


def _words(lines: list[str]) -> Counter[str]:
    """Return the words of an answer: neither rows of a data frame nor entries of a map have an order in Feast."""
    return Counter(re.findall(r"[^\s,{}\[\]]+", " ".join(lines)))


def _run(folder: Path, *command: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path, "COLUMNS": "1000"}, capture_output=True, text=True,
        timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _parts(text: str) -> dict[str, list[str]]:
    """Return the lines of each step, by its title."""
    parts: dict[str, list[str]] = {"": []}
    for line in text.splitlines():
        if line.startswith("--- "):
            parts[line.strip("- ")] = []
        elif line.strip():
            parts[list(parts)[-1]].append(line.strip())
    return parts
