"""`python -m tests.benchmarks [NAMES] [--output DIR] [--repeats N] [--quick]`: measure, print, write JSON.

Called by `make bench`. It never fails because of a timing; its exit code is 1 only where our own contestant failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from tests.benchmarks.distributed_join.benchmark import DistributedJoin
from tests.benchmarks.environments import cache_folder
from tests.benchmarks.harness import Benchmark, measure
from tests.benchmarks.online_read.benchmark import OnlineRead
from tests.benchmarks.online_write.benchmark import OnlineWrite
from tests.benchmarks.point_in_time.benchmark import PointInTime
from tests.benchmarks.registered_views.benchmark import RegisteredViews
from tests.benchmarks.report import as_json, machine_facts, show
from tests.benchmarks.served_prediction.benchmark import ServedPrediction
from tests.benchmarks.stream.benchmark import Stream

_ALL: tuple[Benchmark, ...] = (
    OnlineRead(), RegisteredViews(), OnlineWrite(), PointInTime(), DistributedJoin(), ServedPrediction(), Stream(),
)  # fmt: skip
BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}
_REPEATS, _QUICK_REPEATS = 5, 2


def main() -> int:
    """Measure what was asked for."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    failed = False
    for name in options.names or BENCHMARKS:
        failed |= not _measure(BENCHMARKS[name], options, console)
    return 1 if failed else 0


def _measure(benchmark: Benchmark, options: argparse.Namespace, console: Console) -> bool:
    """Measure one benchmark; return whether ours could be measured."""
    repeats = options.repeats or (_QUICK_REPEATS if options.quick else _REPEATS)
    console.print(f"[bold]{benchmark.name}[/]: {benchmark.about}")
    machine = machine_facts()
    machine["load_before"] = machine.pop("load")
    began = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="gnb", ignore_cleanup_errors=True) as folder:
        found = measure(
            benchmark, repeats=repeats, quick=options.quick, cache=cache_folder(), folder=Path(folder),
            announce=lambda step: console.print(f"· {step}", style="dim", markup=False),
        )  # fmt: skip
        logs = {log.stem: log.read_text(errors="replace") for log in Path(folder).glob("*.log")}
    machine["load_after"] = machine_facts()["load"]
    context = {
        "began": began.isoformat(), "ended": datetime.now(UTC).isoformat(), "machine": machine, "repeats": repeats,
        "quick": options.quick,
    }  # fmt: skip
    result = as_json(benchmark, found, context)
    options.output.mkdir(parents=True, exist_ok=True)
    stem = f"{benchmark.name}-{began:%Y%m%dT%H%M%SZ}"
    file = options.output / f"{stem}.json"
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for name, log in logs.items():
        (options.output / f"{stem}.{name}.log").write_text(log)
    show(benchmark, result, console)
    console.print(f"written to {file}\n")
    return found.standings[benchmark.entrants[0].name].state == "measured"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Ratios against rivals.")
    parser.add_argument("names", nargs="*", help=f"which of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"), help="folder for the JSON files")
    parser.add_argument("--repeats", type=int, help=f"rounds; {_REPEATS} by default, {_QUICK_REPEATS} with --quick")
    parser.add_argument("--quick", action="store_true", help="little time on each scenario: rough figures")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is named {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    if options.repeats is not None and options.repeats < 1:
        parser.error(f"--repeats is {options.repeats}; at least one round is needed")
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted: what was started is stopped, nothing was written")
