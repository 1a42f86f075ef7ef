"""The contestant's side of the harness: a program that answers commands with JSON lines.

Only the standard library, for it is imported in every contestant's own environment. A program calls `run` with an
object that has the methods of `Contestant`; what its libraries print goes to its log, not between the lines.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO


class InvalidRoundError(Exception):
    """What was measured does not count, such as a load of which some answers were errors."""


class Contestant(Protocol):
    """What a program offers.

    `world` is what the benchmark gives to all, with a `folder` of the contestant's own and the settings of all
    `scenarios` that will be measured.
    """

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Do once, before all rounds, what is not measured: write data, train."""
        ...

    def open(self, world: Mapping[str, Any]) -> Mapping[str, str]:
        """Begin a turn in a fresh process, up to the point where it could answer; return versions by package."""
        ...

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> Mapping[str, Any]:
        """Measure one scenario for about `budget_s` and return a number per quantity.

        `check` among them is no quantity: where two contestants give one, it has to be the same.

        Raises:
            InvalidRoundError: The measurement does not count.
        """
        ...

    def close(self) -> None:
        """End the turn; nothing that it started is left. Called after failures too."""
        ...


def run(contestant: Contestant) -> None:
    """Answer commands until the input ends. Call from the program's main thread."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        for line in sys.stdin:
            _answer(contestant, json.loads(line), answers)
    finally:
        contestant.close()


def _answer(contestant: Contestant, command: Mapping[str, Any], answers: TextIO) -> None:
    verb = getattr(contestant, command["do"])
    try:
        reply = {"ok": verb(*command["with"])}
    except InvalidRoundError as error:
        reply = {"invalid": str(error)}
    except Exception as error:  # noqa: BLE001
        # The edge of a program: the harness reports the failure by name, and the others go on.
        traceback.print_exc()
        reply = {"error": f"{type(error).__name__}: {error}"[:500]}
    print(json.dumps(reply), file=answers, flush=True)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of ascending values.

    Args:
        ordered: At least one value.
        share: 0 < share <= 1.

    Example:
        >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
        2.0
    """
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def time_calls(call: Callable[[Any], Any], inputs: Sequence[Any], budget_s: float) -> dict[str, float]:
    """Call again and again, with the inputs in turn.

    Args:
        call: What is measured.
        inputs: Arguments; the first is used for the first call.
        budget_s: For how long, first call apart; at least 20 calls are made.

    Returns:
        `first_us`, the first call; `p50_us` and `p99_us` of the others.
    """
    clock = time.perf_counter_ns
    began = clock()
    call(inputs[0])
    first_ns = clock() - began
    taken_ns: list[int] = []
    ends_ns = clock() + int(budget_s * 1e9)
    while len(taken_ns) < 20 or clock() < ends_ns:
        chosen = inputs[len(taken_ns) % len(inputs)]
        began = clock()
        call(chosen)
        taken_ns.append(clock() - began)
    taken_ns.sort()
    p50_ns, p99_ns = percentile(taken_ns, 0.5), percentile(taken_ns, 0.99)
    return {"p50_us": p50_ns / 1e3, "p99_us": p99_ns / 1e3, "first_us": first_ns / 1e3}


class PeakMemory:
    """The greatest resident size of this process since it was made; a child's does not count."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")

    def mib(self) -> float:
        """Return the peak up to now in MiB, everything that was loaded before included."""
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024


def time_runs(
    work: Callable[[], Any], budget_s: float, between: Callable[[], Any] = lambda: None
) -> tuple[dict[str, float], Any]:
    """Do long work again and again.

    Args:
        work: What is measured; at least three times, unless once takes longer than the whole budget.
        budget_s: For how long.
        between: Done before each time, unmeasured.

    Returns:
        `seconds` (the median), `cpu_s` (the median of what all threads of this process used, which other processes on
        the machine hardly change), `first_s`, and `peak_mib` of the process up to the end of the first time; and what
        the last time gave.
    """
    between()
    memory = PeakMemory()
    ends = time.perf_counter() + budget_s
    result, first_s, cpu_s = _timed(work)
    peak_mib = memory.mib()
    taken_s, used_s = [first_s], [cpu_s]
    while time.perf_counter() < ends or (len(taken_s) < 3 and first_s < budget_s):
        between()
        result, one_s, cpu_s = _timed(work)
        taken_s.append(one_s)
        used_s.append(cpu_s)
    seconds, cpu_s = (percentile(sorted(each), 0.5) for each in (taken_s, used_s))
    return {"seconds": seconds, "cpu_s": cpu_s, "first_s": first_s, "peak_mib": peak_mib}, result


def _timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    began, used_s = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - began, time.process_time() - used_s
