"""What was measured, as JSON and as a table: median and range of each number, and of its ratio to ours.

Called by `python -m tests.benchmarks`. A ratio is taken within a round and says how many times better ours is: the
rival's time divided by ours, or our rate divided by the rival's; above 1 ours is ahead.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tests.benchmarks.harness import Benchmark, Measurements, Quantity

Json = dict[str, Any]


def machine_facts() -> Json:
    """Return what a reader needs to know of the machine, with its load now."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()],
    }


def as_json(benchmark: Benchmark, found: Measurements, context: Mapping[str, Any]) -> Json:
    """Return the whole result.

    Args:
        benchmark: What was measured.
        found: What came out.
        context: Machine, times and options, put at the beginning.
    """
    scenarios = {
        scenario.name: {
            entrant.name: summary
            for entrant in benchmark.entrants
            if (summary := _summary(benchmark, found, entrant.name, scenario.name))
        }
        for scenario in benchmark.scenarios
    }
    contestants = {
        entrant.name: {"about": entrant.about, **vars(found.standings[entrant.name])} for entrant in benchmark.entrants
    }
    return {"benchmark": benchmark.name, **context, "contestants": contestants, "scenarios": scenarios}


def _summary(benchmark: Benchmark, found: Measurements, name: str, scenario: str) -> Json:
    ours = benchmark.entrants[0].name
    summary: Json = {}
    for quantity in benchmark.quantities:
        values, ratios = [], []
        for results in found.rounds:
            mine, reference = results.get((name, scenario)), results.get((ours, scenario))
            if mine is None or quantity.name not in mine:
                continue
            values.append(mine[quantity.name])
            if reference is not None and name != ours:
                ratios.append(times_better(quantity, reference[quantity.name], mine[quantity.name]))
        if values:
            summary[quantity.name] = {**_spread(values), "unit": quantity.unit}
        if ratios:
            summary[quantity.name]["times_better_ours"] = _spread(ratios)
    return summary


def times_better(quantity: Quantity, ours: float, rival: float) -> float:
    """Return how many times better ours is than the rival.

    Example:
        >>> times_better(Quantity("p50_us", "µs"), 50.0, 200.0)
        4.0
    """
    return rival / ours if quantity.better == "lower" else ours / rival


def _spread(values: Sequence[float]) -> Json:
    return {"median": median(values), "min": min(values), "max": max(values), "values": list(values)}


def show(benchmark: Benchmark, result: Json, console: Console) -> None:
    """Print the table, and who is missing or failed."""
    load = " → ".join(str(result["machine"][when][0]) for when in ("load_before", "load_after"))
    title = f"{benchmark.name} · {result['repeats']} rounds · {result['machine']['cores']} cores, load {load}"
    table = Table(title=title, caption="median \\[range]; × = how many times better ours is in the same round")
    table.add_column("scenario")
    table.add_column("contestant")
    for quantity in benchmark.quantities:
        table.add_column(f"{quantity.name} ({quantity.better} is better)", justify="right")
    for scenario, contestants in result["scenarios"].items():
        for i, (name, summary) in enumerate(contestants.items()):
            cells = [_cell(summary.get(quantity.name)) for quantity in benchmark.quantities]
            table.add_row("" if i else scenario, escape(name), *cells, end_section=i == len(contestants) - 1)
    console.print(table)
    for name, contestant in result["contestants"].items():
        versions = ", ".join(f"{package} {version}" for package, version in contestant["versions"].items())
        console.print(f"[bold]{escape(name)}[/]: {escape(contestant['about'])} ({escape(versions) or 'not run'})")
        if contestant["reason"]:
            console.print(f"  [red]{contestant['state']}[/]: {escape(contestant['reason'])}")
        for reason in contestant["invalid"]:
            console.print(f"  [yellow]a round does not count[/]: {escape(reason)}")


def _cell(summary: Mapping[str, Any] | None) -> str:
    if summary is None:
        return "–"
    text = f"{_number(summary['median'])} {summary['unit']} {_range(summary)}"
    ratio = summary.get("times_better_ours")
    return text if ratio is None else f"{text}\n[bold]{_number(ratio['median'])}×[/] {_range(ratio)}"


def _range(spread: Mapping[str, float]) -> str:
    return f"[dim]\\[{_number(spread['min'])}–{_number(spread['max'])}][/]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
