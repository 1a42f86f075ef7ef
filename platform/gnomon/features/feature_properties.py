"""Tests that a feature of one row depends on that row alone, and is the same in a training set and when it is served.

Called by `gnomon test-features` with a subject for each feature: `serving.request_subjects` for request features,
`derived_subjects` for those that are derived in a view. The subjects compute; the drawing, the comparison bit by bit
and the search for the smallest example are here. The same seed draws the same values.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from gnomon.errors import GnomonError
from gnomon.features.drawn_values import Domain, identity
from gnomon.features.smallest_rows import Row, smallest_rows

Problem = Literal[
    "raises", "wrong_result", "changes_inputs", "not_deterministic", "depends_on_other_rows", "depends_on_order"
]
_HINTS: dict[Problem, str] = {
    "raises": "it has to take every value of its inputs' types: numbers are float64 with NaN for null, strings are "
    "objects with None for null",
    "wrong_result": "return one 1-D numpy array of the declared dtype with a value for every row",
    "changes_inputs": "work on a copy, `x = x.copy()`: the model and other features read the same array",
    "not_deterministic": "use no random numbers, clocks, counters or other state: what is served has to be what was "
    "trained on",
    "depends_on_other_rows": "compute every row from its own inputs, without a mean, sum, rank or length of a column: "
    "serving has one row at a time",
    "depends_on_order": "compute every row from its own inputs, without sorting, shifting or cumulating the column: "
    "serving has one row at a time",
}
_WRITES = "it writes to the array of an input"
_MOST_ROWS, _LONG_ROWS, _LONG_CHECKED = 16, 1000, 40


class Subject(Protocol):
    """A feature to be tested."""

    name: str
    kind: str
    domains: Mapping[str, Domain]

    def together(self, rows: Sequence[Row]) -> list[Any]:
        """Compute all rows at once, as a training set does; null for NaN, times in microseconds."""
        ...

    def alone(self, row: Row) -> Any:
        """Compute one row as serving does."""
        ...

    def changed_input(self, rows: Sequence[Row]) -> str | None:
        """Return the name of an input that the computation changed."""
        ...


@dataclass(frozen=True)
class Finding:
    """What is wrong with a feature.

    Attributes:
        problem: Of which class.
        message: What happened.
        hint: What to do.
        rows: The smallest inputs found that show it, null for NaN.
    """

    problem: Problem
    message: str
    hint: str
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class FeatureReport:
    """How the test of one feature ended.

    Attributes:
        feature: Its name.
        kind: `request_feature` or `derived`.
        tables: How many tables were drawn.
        rows: How many rows were compared.
        finding: What is wrong; None where nothing was found.
    """

    feature: str
    kind: str
    tables: int
    rows: int
    finding: Finding | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it for programs; `finding` is null where nothing was found."""
        found = self.finding
        body = None if found is None else {
            "problem": found.problem, "message": found.message, "hint": found.hint,
            "rows": [{name: _in_json(value) for name, value in row.items()} for row in found.rows],
        }  # fmt: skip
        counts = {"tables": self.tables, "rows": self.rows}
        return {"feature": self.feature, "kind": self.kind, **counts, "ok": found is None, "finding": body}


def check_feature(subject: Subject, examples: int, seed: int) -> FeatureReport:
    """Draw tables until one shows a fault, or there are enough.

    Args:
        subject: The feature.
        examples: How many tables at most, of 1 to 16 rows; the last has 1,000 rows, of which 40 are computed alone too.
        seed: The same one draws the same values for the same feature, whatever else is tested.

    Returns:
        The report, with the smallest example found of the first fault.
    """
    generator = np.random.default_rng([seed, zlib.crc32(subject.name.encode())])
    compared = 0
    for number in range(examples):
        rows = _draw(subject, generator, number, is_last=number == examples - 1)
        compared += len(rows)
        finding = _fault(subject, rows)
        if finding is not None:
            return FeatureReport(subject.name, subject.kind, number + 1, compared, _smallest(subject, rows, finding))
    return FeatureReport(subject.name, subject.kind, examples, compared)


def _draw(subject: Subject, generator: np.random.Generator, number: int, *, is_last: bool) -> list[Row]:
    """Draw a table; the first is one row of nulls, the last is long enough for any vector instruction."""
    size = 1 if not number else _LONG_ROWS if is_last else int(generator.integers(1, _MOST_ROWS + 1))
    columns = {name: domain.draw(generator, size) for name, domain in subject.domains.items()}
    if not number:
        columns = {name: [None] for name in columns}
    return [{name: values[i] for name, values in columns.items()} for i in range(size)]


def _fault(subject: Subject, rows: Sequence[Row]) -> Finding | None:
    """Return the first fault that a table shows."""
    try:
        changed = subject.changed_input(rows)
        if changed is not None:
            return _finding("changes_inputs", f"it changes the array of its input '{changed}'")
        together, again = subject.together(rows), subject.together(rows)
    except GnomonError as error:
        return _failure(error, f"with {len(rows)} row{'s' if len(rows) > 1 else ''} at once")
    for first, second in zip(together, again, strict=True):
        if identity(first) != identity(second):
            message = f"the same inputs gave {_shown(first)}, and {_shown(second)} when computed again"
            return _finding("not_deterministic", message)
    step = max(1, len(rows) // _LONG_CHECKED) if len(rows) > _MOST_ROWS else 1
    for number in range(0, len(rows), step):
        try:
            alone = subject.alone(rows[number])
        except GnomonError as error:
            return _failure(error, f"with row {number} alone")
        if identity(alone) != identity(together[number]):
            message = f"row {number} is {_shown(together[number])} among {len(rows)} rows, and {_shown(alone)} alone"
            return _finding("depends_on_other_rows", message)
    return None


def _smallest(subject: Subject, rows: Sequence[Row], finding: Finding) -> Finding:
    """Return the fault as the smallest table shows it."""

    def shows(candidate: Sequence[Row]) -> bool:
        found = _fault(subject, candidate)
        if found is None or found.problem != finding.problem:
            return False
        return found.message == finding.message or not found.message.startswith(_WRITES)  # which does not say to which

    small = smallest_rows(rows, subject.domains, shows)
    found = _fault(subject, small)
    if found is None or found.problem != finding.problem:  # what is not deterministic may not show itself again
        small, found = list(rows)[:_MOST_ROWS], finding
    if found.problem == "depends_on_other_rows" and _order_matters(subject, small):
        found = _finding("depends_on_order", found.message)
    return Finding(found.problem, found.message, found.hint, tuple(small))


def _order_matters(subject: Subject, rows: Sequence[Row]) -> bool:
    try:
        forward, backward = subject.together(rows), subject.together(rows[::-1])
    except GnomonError:
        return False
    return [identity(v) for v in forward] != [identity(v) for v in backward[::-1]]


def _failure(error: GnomonError, when: str) -> Finding:
    """Return what the platform says of a function that raised, or whose result it cannot take."""
    by_function = error.__cause__ is not None and not isinstance(error.__cause__, GnomonError)
    if by_function and "read-only" in str(error.__cause__):  # what numpy says; it was called with a copy before
        return _finding("changes_inputs", f"{_WRITES}: {error.__cause__}")
    problem: Problem = "raises" if by_function else "wrong_result"
    hint = _HINTS[problem] if by_function else error.hint or _HINTS[problem]
    return Finding(problem, f"{error.message} ({when})", hint)


def _finding(problem: Problem, message: str) -> Finding:
    return Finding(problem, message, _HINTS[problem])


def _shown(value: Any) -> str:
    return "null" if value is None else repr(value)


def _in_json(value: Any) -> Any:
    """Return a value that JSON can hold: NaN is null, infinity a text."""
    if isinstance(value, float) and value != value:
        return None
    return str(value) if isinstance(value, float) and value in (float("inf"), -float("inf")) else value
