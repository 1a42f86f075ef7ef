"""`python -m tests.feast_suite`: our stores behind Feast's plugin interface, beside Feast's own; called by `make`.

Feast runs in an environment of its own, against an embedded Valkey that is started here. The exit code is 1 where a
scenario fails, and where none passes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tests.benchmarks.environments import MissingEnvironmentError, PinnedEnvironment, cache_folder
from tests.feast_suite.reports import Result, read_results

from gnomon.runtime.embedded_valkey import EmbeddedValkey

_HERE = Path(__file__).resolve().parent
_PACKAGE = _HERE.parents[1] / "platform"
_FEAST = PinnedEnvironment(_HERE / "feast-suite.txt")
_URL_VARIABLE = "GNOMON_FEAST_SUITE_URL"
_TIMEOUT_S = 3600.0


def main() -> int:
    """Run the scenarios, print what came of them, keep the log."""
    parser = argparse.ArgumentParser(prog="python -m tests.feast_suite", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/feast_suite"), help="folder for report and log")
    parser.add_argument("-k", dest="only", default="", help="only tests whose name matches, as pytest has it")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    stem = options.output / f"feast_suite-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    try:
        python = _FEAST.python(cache_folder())
    except MissingEnvironmentError as error:
        console.print(f"Feast cannot be installed: {escape(str(error))}")
        return 1
    results = _run(python, stem.resolve(), ["-k", options.only] if options.only else [])
    console.print(_table(results))
    for result in results:
        if result.outcome != "passed":
            console.print(f"{result.outcome}: {escape(result.name)}: {escape(result.reason)}")
    console.print(f"{_counts(results)}; report and log: {stem}.xml, {stem}.log")
    return 0 if results and all(result.outcome == "passed" for result in results) else 1


def _run(python: Path, stem: Path, more: Sequence[str]) -> list[Result]:
    report, log = stem.with_suffix(".xml"), stem.with_suffix(".log")
    with tempfile.TemporaryDirectory(prefix="gnf", ignore_cleanup_errors=True) as folder:
        server = EmbeddedValkey(Path(folder) / "valkey")
        server.start()
        try:
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("FEAST_", "GNOMON_", "PYTEST_"))}
            environment |= {
                "PYTHONPATH": os.pathsep.join(map(str, (_HERE, _PACKAGE))), "HOME": folder, _URL_VARIABLE: server.url,
                "FEAST_USAGE": "False", "IS_TEST": "True",
            }  # fmt: skip
            command = [
                str(python), "-m", "pytest", "-c", str(_HERE / "pytest.ini"), "--rootdir", str(_HERE),
                f"--basetemp={folder}/made", f"--junitxml={report}", "-q", *more, str(_HERE / "scenarios"),
            ]  # fmt: skip
            with log.open("wb") as output:
                subprocess.run(
                    command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT,
                    timeout=_TIMEOUT_S, check=False,
                )  # fmt: skip
        finally:
            server.stop()
    return read_results(report) if report.exists() else []


def _table(results: Sequence[Result]) -> Table:
    table = Table(title="Feast's interface on our stores, beside Feast's own")
    for heading in ("scenarios", "passed", "failed", "skipped"):
        table.add_column(heading, justify="left" if heading == "scenarios" else "right")
    for group in sorted({result.group for result in results}):
        outcomes = [result.outcome for result in results if result.group == group]
        table.add_row(group, *(str(outcomes.count(name)) for name in ("passed", "failed", "skipped")))
    return table


def _counts(results: Sequence[Result]) -> str:
    outcomes = [result.outcome for result in results]
    return ", ".join(f"{outcomes.count(name)} {name}" for name in ("passed", "failed", "skipped"))


if __name__ == "__main__":
    sys.exit(main())
