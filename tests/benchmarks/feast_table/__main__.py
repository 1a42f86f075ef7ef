"""`python -m tests.benchmarks.feast_table [--output DIR]`: what Feast 0.67 gets wrong, seen on Feast and on ours.

Every case is run on both sides against one embedded Valkey: Feast in its pinned environment, a fresh process for each
case, ours in this one. The verdicts come from what was seen; the exit code is 1 only where ours is not right.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tests.benchmarks.environments import MissingEnvironmentError, PinnedEnvironment, cache_folder
from tests.benchmarks.feast_table.cases import CASES, Case
from tests.benchmarks.feast_table.gnomon_world import GnomonWorld
from tests.benchmarks.programs import ContestantFailedError, Program
from tests.benchmarks.report import machine_facts

from gnomon.runtime.embedded_valkey import EmbeddedValkey

_HERE = Path(__file__).parent
_FEAST = PinnedEnvironment(_HERE.parent / "requirements" / "feast.txt")
_CASE_TIMEOUT_S = 300.0
_COLOURS = {"right": "green", "wrong": "red", "failed": "yellow"}


@dataclass(frozen=True)
class Outcome:
    """What came of a case on one side; `seen` is empty and `reason` says why where it could not be run."""

    verdict: Literal["right", "wrong", "failed"]
    seen: Mapping[str, Any]
    reason: str = ""


Row = tuple[Case, Outcome, Outcome]
"""A case, what came of it on Feast, and on ours."""


class FeastSide:
    """Runs cases on Feast.

    Args:
        url: Server of the online store.
        log: File that gets what Feast prints.
    """

    def __init__(self, url: str, log: Path) -> None:
        self._url, self._log = url, log
        self.versions: Mapping[str, str] = {}
        self._python: Path | None = None

    def observe(self, case: Case, folder: Path) -> Mapping[str, Any]:
        """Run a case in a process of its own; return what was seen."""
        self._python = self._python or _FEAST.python(cache_folder())
        with Program(self._python, _HERE / "feast_program.py", self._log) as program:
            self.versions = program.ask("versions", timeout_s=_CASE_TIMEOUT_S)["ok"]
            seen = program.ask("observe", case.name, str(folder), self._url, timeout_s=_CASE_TIMEOUT_S)["ok"]
        return dict(seen)


def main() -> int:
    """Run all cases, print the table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.feast_table", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"), help="folder for JSON and Feast's log")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    began, machine = datetime.now(UTC), machine_facts()
    file = output / f"feast_table-{began:%Y%m%dT%H%M%SZ}.json"
    rows, versions = _run_cases(file.with_suffix(".feast.log"), console)
    result = {
        "benchmark": "feast_table", "began": began.isoformat(), "machine": machine, "versions": versions,
        "cases": [
            {"case": case.name, "expected": case.expected, "feast": vars(theirs), "gnomon": vars(ours)}
            for case, theirs, ours in rows
        ],
    }  # fmt: skip
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    console.print(_table(rows))
    console.print(", ".join(f"{package} {number}" for package, number in versions.items()))
    console.print(f"written to {file}")
    return 0 if all(ours.verdict == "right" for _, _, ours in rows) else 1


def _run_cases(log: Path, console: Console) -> tuple[list[Row], dict[str, str]]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gnb", ignore_cleanup_errors=True) as name:
        server = EmbeddedValkey(Path(name) / "valkey")
        server.start()
        try:
            feast = FeastSide(server.url, log)
            for i, case in enumerate(CASES):
                console.print(f"· {case.name}", style="dim", markup=False)
                theirs, ours = (Path(name) / f"{side}{i}" for side in ("feast", "gnomon"))
                theirs.mkdir()
                ours.mkdir()
                world = GnomonWorld(ours, server.url)
                rows.append((
                    case, _outcome(case, partial(feast.observe, case, theirs)),
                    _outcome(case, partial(case.gnomon, world)),
                ))  # fmt: skip
        finally:
            server.stop()
    return rows, {"gnomon": version("gnomon"), **feast.versions}


def _outcome(case: Case, observe: Callable[[], Mapping[str, Any]]) -> Outcome:
    try:
        seen = observe()
    except (MissingEnvironmentError, ContestantFailedError) as error:
        return Outcome("failed", {}, str(error))
    except Exception as error:  # noqa: BLE001
        # The edge of a case: one that cannot run is reported by its reason, and the others go on.
        traceback.print_exc()
        return Outcome("failed", {}, f"{type(error).__name__}: {error}")
    return Outcome("right" if case.holds(seen) else "wrong", seen)


def _table(rows: list[Row]) -> Table:
    table = Table(title="feast_table · what was seen on each side", show_lines=True)
    for heading in ("case", "expected", "Feast", "Gnomon"):
        table.add_column(heading)
    for case, theirs, ours in rows:
        table.add_row(escape(case.name), escape(_text(case.expected)), _cell(theirs), _cell(ours))
    return table


def _cell(outcome: Outcome) -> str:
    said = outcome.reason or _text(outcome.seen)
    return f"[bold {_COLOURS[outcome.verdict]}]{outcome.verdict}[/]\n{escape(said)}"


def _text(seen: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in seen.items())


if __name__ == "__main__":
    sys.exit(main())
