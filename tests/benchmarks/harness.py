"""The harness: contestants in environments of their own, measured in interleaved rounds, compared within each round.

Called by `python -m tests.benchmarks`. A round gives every contestant one turn (A B C, A B C, …); a turn is a fresh
process, and no two turns overlap. Nothing here judges: a slow result is a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tests.benchmarks.environments import Environment, MissingEnvironmentError
from tests.benchmarks.programs import ContestantFailedError, Program

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Quantity:
    """One measured number.

    Attributes:
        name: Key in what `measure` returns.
        unit: As printed.
        better: Whether less or more of it is better.
    """

    name: str
    unit: str
    better: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True)
class Scenario:
    """One thing to measure.

    Attributes:
        name: As printed.
        settings: What the contestants understand.
        in_quick_rounds: Whether `--quick` measures it too; a large one takes too long for that.
    """

    name: str
    settings: Mapping[str, Any]
    in_quick_rounds: bool = True


@dataclass(frozen=True)
class Entrant:
    """A contestant as a benchmark enters it.

    Attributes:
        name: As printed.
        program: Its file; see `contestant`.
        environment: What it runs in.
        about: What it does, in one line.
    """

    name: str
    program: Path
    environment: Environment
    about: str


@dataclass(frozen=True)
class Timing:
    """Seconds that the parts of a turn may take: `measure_s` is the budget, the others are deadlines."""

    measure_s: float
    prepare_s: float = 900.0
    open_s: float = 300.0
    answer_s: float = 120.0


class Benchmark(Protocol):
    """What a benchmark says. The first entrant is ours: the others are compared with it."""

    @property
    def name(self) -> str:
        """Return its name on the command line."""
        ...

    @property
    def about(self) -> str:
        """Return what is measured, in one line."""
        ...

    @property
    def entrants(self) -> Sequence[Entrant]:
        """Return the contestants, ours first."""
        ...

    @property
    def scenarios(self) -> Sequence[Scenario]:
        """Return what is measured in each turn, in order."""
        ...

    @property
    def quantities(self) -> Sequence[Quantity]:
        """Return the numbers that each measurement gives."""
        ...

    def timing(self, quick: bool) -> Timing:
        """Return how long things take."""
        ...

    def world(self, folder: Path) -> AbstractContextManager[Mapping[str, Any]]:
        """Hold up what the contestants share, such as a server, and give what they need to know of it.

        The harness adds `scenarios`, the settings of those that will be measured.
        """
        ...


@dataclass
class Standing:
    """What is known of a contestant.

    Attributes:
        state: `measured`; `missing`, its environment cannot be made; or `failed`, which keeps earlier rounds.
        reason: Why it is missing or failed.
        versions: As its program reports them.
        invalid: Rounds that do not count, as `scenario: reason`.
    """

    state: Literal["measured", "missing", "failed"] = "measured"
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)


@dataclass
class Measurements:
    """Everything that was measured.

    Attributes:
        standings: By contestant.
        rounds: One mapping per round: (contestant, scenario) to its number per quantity.
    """

    standings: dict[str, Standing]
    rounds: list[dict[tuple[str, str], Mapping[str, float]]]


def measure(
    benchmark: Benchmark, *, repeats: int, quick: bool, cache: Path, folder: Path, announce: Announce
) -> Measurements:  # fmt: skip
    """Measure a benchmark.

    Args:
        benchmark: What to measure.
        repeats: Rounds.
        quick: Whether to spend little time on each scenario.
        cache: Folder of the contestants' environments.
        folder: Empty folder for logs and whatever contestants write.
        announce: Takes a line at each step.
    """
    found = Measurements({entrant.name: Standing() for entrant in benchmark.entrants}, [])
    timing = benchmark.timing(quick)
    scenarios = [scenario for scenario in benchmark.scenarios if scenario.in_quick_rounds or not quick]
    with benchmark.world(folder) as shared:
        shared = {**shared, "scenarios": [scenario.settings for scenario in scenarios]}
        race = _Race(benchmark, scenarios, timing, shared, cache, folder, found, announce)
        race.prepare()
        for number in range(1, repeats + 1):
            announce(f"round {number} of {repeats}")
            found.rounds.append({})
            for entrant in benchmark.entrants:
                race.turn(entrant)
    return found


class _Race:
    def __init__(
        self, benchmark: Benchmark, scenarios: Sequence[Scenario], timing: Timing, shared: Mapping[str, Any],
        cache: Path, folder: Path, found: Measurements, announce: Announce,
    ) -> None:  # fmt: skip
        self._benchmark = benchmark
        self._scenarios = scenarios
        self._timing = timing
        self._shared = shared
        self._cache = cache
        self._folder = folder
        self._found = found
        self._announce = announce
        self._pythons: dict[str, Path] = {}

    def prepare(self) -> None:
        for entrant in self._benchmark.entrants:
            self._announce(f"preparing {entrant.name}")
            standing = self._found.standings[entrant.name]
            try:
                self._pythons[entrant.name] = entrant.environment.python(self._cache)
                with self._program(entrant) as program:
                    program.ask("prepare", self._world(entrant), timeout_s=self._timing.prepare_s)
            except MissingEnvironmentError as error:
                standing.state, standing.reason = "missing", str(error)
            except ContestantFailedError as error:
                standing.state, standing.reason = "failed", str(error)
            if standing.reason:
                self._announce(f"{entrant.name} is {standing.state}: {standing.reason}")

    def turn(self, entrant: Entrant) -> None:
        standing = self._found.standings[entrant.name]
        if standing.state != "measured":
            return
        try:
            with self._program(entrant) as program:
                opened = program.ask("open", self._world(entrant), timeout_s=self._timing.open_s)
                standing.versions = opened["ok"] or {}
                for scenario in self._scenarios:
                    self._scenario(entrant, scenario, program, standing)
        except ContestantFailedError as error:
            standing.state, standing.reason = "failed", str(error)
            self._announce(f"{entrant.name} is failed: {error}")

    def _scenario(self, entrant: Entrant, scenario: Scenario, program: Program, standing: Standing) -> None:
        timing = self._timing
        answer = program.ask(
            "measure", scenario.settings, timing.measure_s, timeout_s=timing.measure_s + timing.answer_s
        )
        if "invalid" in answer:
            standing.invalid.append(f"{scenario.name}: {answer['invalid']}")
            return
        numbers = dict(answer["ok"])
        results = self._found.rounds[-1]
        ours = results.get((self._benchmark.entrants[0].name, scenario.name), numbers)
        if {"check"} <= ours.keys() & numbers.keys() and ours["check"] != numbers["check"]:
            wrong = f"{scenario.name}: its answer is {numbers['check']}, ours {ours['check']}"
            raise ContestantFailedError(wrong)
        results[entrant.name, scenario.name] = numbers

    def _program(self, entrant: Entrant) -> Program:
        return Program(self._pythons[entrant.name], entrant.program, self._folder / f"{_file_name(entrant.name)}.log")

    def _world(self, entrant: Entrant) -> dict[str, Any]:
        own = self._folder / _file_name(entrant.name)
        own.mkdir(exist_ok=True)
        return {**self._shared, "folder": str(own)}


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)
