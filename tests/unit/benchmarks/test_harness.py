"""The harness with small contestants of its own kind: real programs, real pipes, no benchmark."""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.benchmarks.contestant import PeakMemory, time_runs
from tests.benchmarks.environments import MissingEnvironmentError, OurEnvironment, PinnedEnvironment
from tests.benchmarks.harness import Entrant, Measurements, Quantity, Scenario, Timing, measure
from tests.benchmarks.report import as_json, machine_facts, show, times_better

_PROGRAM = """
from pathlib import Path
from contestant import InvalidRoundError, run

class Small:
    def prepare(self, world):
        {prepare}
    def open(self, world):
        self.world = world
        self.note("open")
        print("noise between the lines")
        return {{"small": "1.0"}}
    def measure(self, scenario, budget_s):
        self.note(scenario["what"])
        return {measure}
    def close(self):
        if hasattr(self, "world"):
            self.note("close")
    def note(self, what):
        with Path(self.world["journal"]).open("a") as journal:
            print("{name}", what, file=journal)

run(Small())
"""


@dataclass
class SmallBenchmark:
    """A benchmark over programs in a folder."""

    entrants: Sequence[Entrant]
    journal: Path
    answer_s: float = 20.0
    name: str = "small"
    about: str = "nothing of use"
    scenarios: Sequence[Scenario] = (Scenario("one", {"what": "one"}), Scenario("two", {"what": "two"}))
    quantities: Sequence[Quantity] = (Quantity("p50_us", "µs"), Quantity("rps", "/s", "higher"))

    def timing(self, quick: bool) -> Timing:
        return Timing(0.01, prepare_s=20.0, open_s=20.0, answer_s=self.answer_s)

    @contextmanager
    def world(self, folder: Path) -> Iterator[Mapping[str, Any]]:
        yield {"journal": str(self.journal)}


def _entrant(folder: Path, name: str, measure: str, prepare: str = "pass") -> Entrant:
    file = folder / f"{name}.py"
    file.write_text(textwrap.dedent(_PROGRAM).format(name=name, measure=measure, prepare=prepare))
    return Entrant(name, file, OurEnvironment(), f"program {name}")


def _measured(
    tmp_path: Path, entrants: Sequence[Entrant], repeats: int = 2, **options: Any
) -> tuple[Any, Measurements]:
    benchmark = SmallBenchmark(entrants, tmp_path / "journal", **options)
    work = tmp_path / "work"
    work.mkdir()
    found = measure(
        benchmark, repeats=repeats, quick=True, cache=tmp_path / "cache", folder=work, announce=lambda step: None
    )  # fmt: skip
    return benchmark, found


def test_rounds_are_interleaved_and_turns_do_not_overlap(tmp_path: Path) -> None:
    numbers = '{"p50_us": 1.0, "rps": 1.0}'
    _measured(tmp_path, [_entrant(tmp_path, "a", numbers), _entrant(tmp_path, "b", numbers)])
    turn = ["open", "one", "two", "close"]
    expected = [f"{name} {what}" for _ in range(2) for name in "ab" for what in turn]
    assert (tmp_path / "journal").read_text().splitlines() == expected


def test_ratios_are_taken_within_a_round(tmp_path: Path) -> None:
    # Each program counts its turns in a file of its own, so that the numbers differ from round to round.
    counted = "(lambda n: {{'p50_us': {base} * n, 'rps': 1000.0 / {base}}})(self.turn())"
    entrants = [_entrant(tmp_path, name, counted.format(base=base)) for name, base in (("ours", 10.0), ("rival", 40.0))]
    for entrant in entrants:
        text = entrant.program.read_text()
        entrant.program.write_text(text.replace("    def note(", _TURNS + "    def note("))
    benchmark, found = _measured(tmp_path, entrants, repeats=3)
    result = as_json(benchmark, found, {"repeats": 3})
    rival = result["scenarios"]["one"]["rival"]
    assert rival["p50_us"]["values"] == [40.0, 80.0, 120.0]
    assert rival["p50_us"]["median"] == 80.0
    assert (rival["p50_us"]["min"], rival["p50_us"]["max"]) == (40.0, 120.0)
    assert rival["p50_us"]["times_better_ours"]["values"] == [4.0, 4.0, 4.0]
    assert rival["rps"]["times_better_ours"]["median"] == 4.0
    assert "times_better_ours" not in result["scenarios"]["one"]["ours"]["p50_us"]


_TURNS = """    def turn(self):
        journal = Path(self.world["journal"]).read_text().splitlines()
        return sum(line == Path(__file__).stem + " open" for line in journal)
"""


def test_more_of_a_rate_is_better() -> None:
    assert times_better(Quantity("rps", "/s", "higher"), ours=200.0, rival=50.0) == 4.0
    assert times_better(Quantity("p50_us", "µs"), ours=200.0, rival=50.0) == 0.25


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("1 / 0", "measure: ZeroDivisionError: division by zero"),
        ("__import__('os')._exit(3)", "ended with status 3 during 'measure'"),
        ("__import__('time').sleep(4)", "no answer to 'measure' within 1 s"),
    ],
)
def test_a_failed_contestant_is_reported_and_the_others_go_on(tmp_path: Path, body: str, reason: str) -> None:
    entrants = [_entrant(tmp_path, "ours", '{"p50_us": 1.0, "rps": 1.0}'), _entrant(tmp_path, "broken", body)]
    benchmark, found = _measured(tmp_path, entrants, answer_s=1.0)
    assert found.standings["broken"].state == "failed"
    assert reason in found.standings["broken"].reason
    result = as_json(benchmark, found, _context())
    assert result["scenarios"]["one"]["ours"]["p50_us"]["values"] == [1.0, 1.0]
    assert "broken" not in result["scenarios"]["one"]
    assert "failed" in _shown(benchmark, result)
    assert reason.split(":")[0] in _shown(benchmark, result)


def test_a_contestant_that_cannot_prepare_has_no_turn(tmp_path: Path) -> None:
    broken = _entrant(tmp_path, "broken", "{}", prepare="raise OSError('no rows')")
    _, found = _measured(tmp_path, [_entrant(tmp_path, "ours", '{"p50_us": 1.0}'), broken])
    assert found.standings["broken"].reason == "prepare: OSError: no rows"
    assert "broken" not in (tmp_path / "journal").read_text()


def test_a_missing_environment_is_reported_by_name(tmp_path: Path) -> None:
    ours = _entrant(tmp_path, "ours", '{"p50_us": 1.0, "rps": 1.0}')
    rival = Entrant("rival", ours.program, PinnedEnvironment(tmp_path / "absent.txt"), "a rival")
    benchmark, found = _measured(tmp_path, [ours, rival])
    assert found.standings["rival"].state == "missing"
    shown = _shown(benchmark, as_json(benchmark, found, _context()))
    assert "rival" in shown
    assert "missing" in shown
    assert "absent.txt" in shown


def test_a_round_that_does_not_count_leaves_the_others(tmp_path: Path) -> None:
    errors = "self.fail() if scenario['what'] == 'two' else {'p50_us': 2.0, 'rps': 1.0}"
    entrant = _entrant(tmp_path, "ours", errors)
    failing = "    def fail(self):\n        raise InvalidRoundError('3 answers were 503')\n"
    entrant.program.write_text(entrant.program.read_text().replace("    def note(", failing + "    def note("))
    benchmark, found = _measured(tmp_path, [entrant])
    assert found.standings["ours"].state == "measured"
    assert found.standings["ours"].invalid == ["two: 3 answers were 503"] * 2
    result = as_json(benchmark, found, _context())
    assert result["scenarios"]["one"]["ours"]["p50_us"]["median"] == 2.0
    assert result["scenarios"]["two"] == {}
    assert "3 answers were 503" in _shown(benchmark, result)


def test_contestants_must_give_the_same_answers(tmp_path: Path) -> None:
    entrants = [
        _entrant(tmp_path, name, f"{{'p50_us': 1.0, 'rps': 1.0, 'check': {check}}}")
        for name, check in (("ours", 7.0), ("same", 7.0), ("other", 8.0))
    ]
    _, found = _measured(tmp_path, entrants)
    states = {name: standing.state for name, standing in found.standings.items()}
    assert states == {"ours": "measured", "same": "measured", "other": "failed"}
    assert "its answer is 8.0, ours 7.0" in found.standings["other"].reason


def test_quick_rounds_leave_large_scenarios_out(tmp_path: Path) -> None:
    """Contestants are told of those that are measured, so that they prepare no more than that."""
    numbers = '{"p50_us": 1.0, "rps": 1.0}'
    told = "(Path(world['folder']) / 'told').write_text(str(world['scenarios']))"
    entrant = _entrant(tmp_path, "ours", numbers, prepare=told)
    large = (Scenario("one", {"what": "one"}), Scenario("two", {"what": "two"}, in_quick_rounds=False))
    _, found = _measured(tmp_path, [entrant], repeats=1, scenarios=large)
    assert [name for _, name in found.rounds[0]] == ["one"]
    assert (tmp_path / "work" / "ours" / "told").read_text() == "[{'what': 'one'}]"


def test_long_work_is_repeated_until_the_budget_is_spent() -> None:
    done: list[str] = []
    numbers, last = time_runs(lambda: done.append("work") or len(done), 0.05, lambda: done.append("between"))
    assert done[:6] == ["between", "work"] * 3
    assert last == len(done)
    assert 0 < numbers["peak_mib"] < 100_000
    assert {"seconds", "first_s", "cpu_s"} < numbers.keys()


def test_work_that_takes_longer_than_the_budget_is_done_once() -> None:
    done: list[int] = []
    time_runs(lambda: done.append(sum(range(100_000))), 1e-9)
    assert len(done) == 1


def test_the_peak_of_memory_is_counted_from_its_beginning() -> None:
    before = bytearray(200 << 20)
    del before
    low = PeakMemory().mib()
    memory = PeakMemory()
    during = bytearray(b"x") * (100 << 20)
    del during
    assert memory.mib() - low > 90


def test_an_environment_is_made_once_and_again_for_other_pins(tmp_path: Path) -> None:
    cache, requirements = tmp_path / "cache", tmp_path / "rival.txt"
    requirements.write_text("# no packages\n")
    first = PinnedEnvironment(requirements).python(cache)
    made = (first.parent.parent / "ready").stat().st_mtime_ns
    assert PinnedEnvironment(requirements).python(cache) == first
    assert (first.parent.parent / "ready").stat().st_mtime_ns == made
    requirements.write_text("# other pins\n")
    assert PinnedEnvironment(requirements).python(cache) != first


def test_an_environment_that_cannot_be_made_says_which_package(tmp_path: Path) -> None:
    requirements = tmp_path / "rival.txt"
    requirements.write_text(f"--no-index\n{tmp_path / 'no-such-package.whl'}\n")
    with pytest.raises(MissingEnvironmentError, match=r"no-such-package\.whl"):
        PinnedEnvironment(requirements).python(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/ready"))


def test_the_result_is_json_and_knows_the_machine(tmp_path: Path) -> None:
    benchmark, found = _measured(tmp_path, [_entrant(tmp_path, "ours", '{"p50_us": 1.0, "rps": 1.0}')])
    result = json.loads(json.dumps(as_json(benchmark, found, _context())))
    assert result["machine"]["cores"] >= 1
    assert result["contestants"]["ours"]["versions"] == {"small": "1.0"}


def _context() -> dict[str, Any]:
    machine = machine_facts()
    machine["load_before"] = machine["load_after"] = machine.pop("load")
    return {"machine": machine, "repeats": 2, "quick": True}


def _shown(benchmark: Any, result: Any) -> str:
    text = io.StringIO()
    show(benchmark, result, Console(width=200, file=text))
    return text.getvalue()
