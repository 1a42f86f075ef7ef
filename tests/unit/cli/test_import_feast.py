"""`gnomon import-feast` as a command: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.feast_repositories import PLAIN, REPOSITORIES, make_repository

from gnomon.runtime.app_code import load_app

GNOMON = Path(sys.executable).with_name("gnomon")


def run(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(GNOMON), "import-feast", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_without_out_the_app_file_is_all_that_is_printed(tmp_path: Path) -> None:
    done = run(make_repository(tmp_path / "repo", {"a.py": PLAIN}), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "app.py").write_text(done.stdout)
    assert [spec.name for spec in load_app(tmp_path / "app.py")[0].definitions] == ["driver", "stats", "view"]
    assert 'path="repo/stats.parquet"' in done.stdout


def test_a_file_is_written_once_and_the_rest_is_named(tmp_path: Path) -> None:
    done = run(REPOSITORIES / "drivers", "--out", "drivers.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "feature view driver_hourly_stats FeatureView 'driver_hourly_stats'" in lines
    assert lines[-1] == "wrote drivers.py; next: gnomon plan drivers.py"
    shown = [line for line in lines if line.startswith("no counterpart: ")]
    assert sum("'driver_metadata' of feature view" in line for line in shown) == 2
    assert sum("setting online_store of type redis" in line for line in shown) == 1
    assert load_app(tmp_path / "drivers.py")[0].name == "drivers"
    again = run(REPOSITORIES / "drivers", "--out", "drivers.py", folder=tmp_path)
    assert (again.returncode, again.stdout) == (2, "")
    assert "'drivers.py' exists" in again.stderr


def test_json_has_all_of_it(tmp_path: Path) -> None:
    done = run(REPOSITORIES / "shop", "--out", "shop.py", "-o", "json", folder=tmp_path)
    result = json.loads(done.stdout)
    assert set(result) == {"project", "app_file", "imported", "left_out", "differences", "out"}
    assert (result["project"], result["out"]) == ("shop", "shop.py")
    assert (tmp_path / "shop.py").read_text() == result["app_file"]
    assert {"what", "reason", "place"} == set(result["left_out"][0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no folder 'nowhere'"),
        (["."], "'.' is no Feast repository"),
        (["repo", "--out", "app.txt"], "'app.txt' is no name of a Python file"),
        (["repo", "--out", "lost/app.py"], "there is no folder 'lost'"),
        (["broken"], "broken/a.py, line 1: RuntimeError: no"),
    ],
)
def test_refusals(arguments: list[str], message: str, tmp_path: Path) -> None:
    make_repository(tmp_path / "repo", {"a.py": PLAIN})
    make_repository(tmp_path / "broken", {"a.py": "raise RuntimeError('no')\n"})
    done = run(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.replace("\n", "")
    assert "try: " in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "repo"]
