"""What a check of a data contract found: tallies that add up over parts, and one result a rule.

Filled in by `validation` and `contract_checks`; part of the `IngestReport`, and of the error of a failed check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from gnomon.contracts.data_contracts import ContractRule
from gnomon.contracts.sources import DataSource
from gnomon.errors import ContractViolated

MOST_EXAMPLES = 5
_SHOWN_LETTERS = 80


@dataclass(frozen=True)
class Tally:
    """How often a rule was checked and broken.

    Attributes:
        checked: Rows, or 1 for a rule of the whole.
        violations: How many of them break it.
        examples: The first few: ids of events, or the value at fault.
    """

    checked: int = 0
    violations: int = 0
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, checked: int, violations: int, examples: list[Any]) -> Self:
        """Make one of any number of examples of any length."""
        texts = [str(example) for example in examples[:MOST_EXAMPLES]]
        cut = (text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}…" for text in texts)
        return cls(checked, violations, tuple(cut))

    def __add__(self, other: Tally) -> Tally:
        examples = (*self.examples, *other.examples)[:MOST_EXAMPLES]
        return Tally(self.checked + other.checked, self.violations + other.violations, examples)


@dataclass(frozen=True)
class Findings:
    """What was found in some of an ingestion's rows; those of several parts add up.

    Attributes:
        rows_read: Rows of these parts, rejects included.
        newest_us: Newest event time of the rows that would enter the table; None where there is none.
        tallies: By the rule's label; for a rule about nulls the violations are the nulls.
    """

    rows_read: int = 0
    newest_us: int | None = None
    tallies: Mapping[str, Tally] = field(default_factory=dict)

    def __add__(self, other: Findings) -> Findings:
        times = [time for time in (self.newest_us, other.newest_us) if time is not None]
        labels = {**self.tallies, **other.tallies}
        tallies = {label: self.tallies.get(label, Tally()) + other.tallies.get(label, Tally()) for label in labels}
        return Findings(self.rows_read + other.rows_read, max(times, default=None), tallies)


@dataclass(frozen=True)
class RuleResult:
    """What became of one rule.

    Attributes:
        rule: Its label.
        severity: What a violation means.
        checked: Rows that it was checked for; 1 for a rule of the whole; 0 where there was nothing to check.
        violations: How many broke it; of a rule with a tolerance they may be fewer than it allows.
        passed: Whether it holds.
        message: What was found, as a sentence.
        examples: Of violations: ids of events, or values.
    """

    rule: str
    severity: str
    checked: int
    violations: int
    passed: bool
    message: str
    examples: tuple[str, ...] = ()

    @classmethod
    def of(cls, rule: ContractRule, tally: Tally, message: str, *, passed: bool | None = None) -> Self:
        """Make one of a tally; without another word it passed where there is no violation."""
        holds = not tally.violations if passed is None else passed
        return cls(rule.label(), rule.severity, tally.checked, tally.violations, holds, message, tally.examples)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {**asdict(self), "examples": list(self.examples)}


def require_kept(source: DataSource, results: list[dict[str, Any]]) -> None:
    """Refuse an ingestion whose contract is broken.

    Args:
        source: Whose contract it is.
        results: `RuleResult.as_json` of every rule.

    Raises:
        ContractViolated: A rule of severity `fail` does not hold; the details have the whole report.
    """
    broken = [result for result in results if not result["passed"] and result["severity"] == "fail"]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ContractViolated(
            f"source '{source.name}': {broken[0]['rule']} is broken: {broken[0]['message']}{more}; "
            "nothing was ingested",
            "mend the data, or change the rule or its severity in the app file",
            {"source": source.name, "contract": results},
        )


def require_rows_kept(source: DataSource, tallies: Mapping[str, Tally]) -> None:
    """Refuse rows that break a row rule of severity `fail`, where no rule of a whole ingestion applies.

    Args:
        source: Whose contract it is.
        tallies: Of the row rules, by label.

    Raises:
        ContractViolated: One is broken.
    """
    require_kept(source, rule_results(source, tallies))


def rule_results(source: DataSource, tallies: Mapping[str, Tally]) -> list[dict[str, Any]]:
    """Return `RuleResult.as_json` of each rule of a source's contract that has a tally, by its label."""
    ruled = [(rule, tallies[rule.label()]) for rule in source.contract if rule.label() in tallies]
    return [RuleResult.of(rule, tally, broken_rows(tally)).as_json() for rule, tally in ruled]


def broken_rows(tally: Tally) -> str:
    """Say how many rows break a rule."""
    return f"{tally.violations:,} of {tally.checked:,} rows break it"
