"""What the suite's program says of a run, and that it runs the Feast that all else is compared with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.feast_suite.reports import Result, read_results

_TESTS = Path(__file__).resolve().parents[2]
_SCENARIOS = """
import pytest

def test_right():
    pass

@pytest.mark.parametrize("n", [1, 2])
def test_sometimes(n):
    assert n == 1, "only one is one"

def test_not_here():
    pytest.skip("needs a server")

@pytest.fixture
def broken():
    raise RuntimeError("no store")

def test_without_a_store(broken):
    pass
"""


def test_results_are_those_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(_SCENARIOS)
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", f"--junitxml={report}", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, cwd=tmp_path, check=False).returncode == 1
    found = read_results(report)
    assert found[0] == Result("test_some", "test_right", "passed", "")
    assert [(result.name, result.outcome) for result in found[1:]] == [
        ("test_sometimes[1]", "passed"), ("test_sometimes[2]", "failed"), ("test_not_here", "skipped"),
        ("test_without_a_store", "failed"),
    ]  # fmt: skip
    assert [result.reason for result in found[2:]] == [
        "AssertionError: only one is one", "needs a server",
        'failed on setup with "RuntimeError: no store"',
    ]  # fmt: skip


def test_the_suite_runs_the_feast_that_is_measured() -> None:
    files = (_TESTS / "feast_suite" / "feast-suite.txt", _TESTS / "benchmarks" / "requirements" / "feast-offline.txt")
    shared = ("feast==", "pyarrow==", "duckdb==")
    pins = [{line for line in file.read_text().splitlines() if line.startswith(shared)} for file in files]
    assert pins[0] == pins[1]
    assert len(pins[0]) == 3
