"""The rules of a source's data contract: what must hold of its rows, and of each ingestion as a whole.

Written in app files as `DataSource(contract=[…])` and checked by `data.contract_checks` before an ingestion commits
anything. A row rule looks at one row, a batch rule at all rows that an ingestion read. The severity says what follows:

- `warn`: the violation is reported, and the rows enter the table;
- `quarantine`: the rows go to quarantine, as for a broken rule of a field; only row rules have it;
- `fail`: nothing of this ingestion becomes visible.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gnomon.contracts.durations import Duration, format_duration
from gnomon.contracts.expressions import AnyExpression
from gnomon.contracts.specs import UNUSED, Name, Part, as_tuple, require_range

Severity = Literal["warn", "quarantine", "fail"]
BatchSeverity = Literal["warn", "fail"]


class ContractRule(Part, init=False):
    """What all rules share.

    Attributes:
        severity: What follows from a violation.
        name: What reports and quarantine call the rule; made of its kind and column when left out.
    """

    rule: str
    severity: Severity = "fail"
    name: Name | None = UNUSED

    def label(self) -> str:
        """Return the rule's name, unique in its source."""
        return self.name or ":".join([self.rule, *self.columns()])

    def columns(self) -> tuple[str, ...]:
        """Return the columns that the rule reads, sorted."""
        return ()


class RowRule(ContractRule, init=False):
    """A rule of one row; null breaks none of them (`Field(nullable=False)` refuses nulls)."""

    severity: Severity = "quarantine"


class BatchRule(ContractRule, init=False):
    """A rule of all rows that one ingestion reads and that no row rule keeps out of the table."""

    severity: BatchSeverity = "fail"


class Between(RowRule, init=False):
    """A number in a range, both ends inclusive.

    Attributes:
        column: The column; int64 or float64.
        min: Least number; any when left out.
        max: Greatest number; any when left out.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "min", "max")
    rule: Literal["between"] = "between"
    column: str
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        require_range(self.min, self.max)
        return self

    def columns(self) -> tuple[str, ...]:
        """Return the column."""
        return (self.column,)


class InSet(RowRule, init=False):
    """One of the values listed.

    Attributes:
        column: The column.
        values: The only values allowed.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "values")
    rule: Literal["in_set"] = "in_set"
    column: str
    values: Annotated[tuple[str | int, ...], Field(min_length=1)]

    def columns(self) -> tuple[str, ...]:
        """Return the column."""
        return (self.column,)


class Matches(RowRule, init=False):
    """A text that an RE2 regular expression matches as a whole.

    Attributes:
        column: The column; string.
        pattern: The expression.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "pattern")
    rule: Literal["matches"] = "matches"
    column: str
    pattern: str

    def columns(self) -> tuple[str, ...]:
        """Return the column."""
        return (self.column,)


class Check(RowRule, init=False):
    """A condition over several columns; as for SQL's CHECK a row breaks it where it is false, not where it is null.

    Attributes:
        name: What the rule is called; required.
        condition: A boolean expression over the source's columns.
    """

    positional: ClassVar[tuple[str, ...]] = ("name", "condition")
    rule: Literal["check"] = "check"
    name: Name
    condition: AnyExpression

    def label(self) -> str:
        """Return the kind and the name."""
        return f"check:{self.name}"

    def columns(self) -> tuple[str, ...]:
        """Return the columns of the condition."""
        return tuple(sorted(self.condition.columns()))


class NullRatio(BatchRule, init=False):
    """At most this share of a column is null.

    Attributes:
        column: The column.
        max_ratio: Nulls by rows, from 0 to 1; equal to it is allowed.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "max_ratio")
    rule: Literal["null_ratio"] = "null_ratio"
    column: str
    max_ratio: Annotated[float, Field(ge=0, le=1)]

    def columns(self) -> tuple[str, ...]:
        """Return the column."""
        return (self.column,)


class Unique(BatchRule, init=False):
    """No two events have one value; versions of one event may, and so may nulls.

    Rows read are compared with each other and with all versions of all events in the table.

    Attributes:
        column: The column, or several whose values together are unique.
    """

    positional: ClassVar[tuple[str, ...]] = ("column",)
    rule: Literal["unique"] = "unique"
    column: Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]

    def columns(self) -> tuple[str, ...]:
        """Return the columns."""
        return self.column


class Fresh(BatchRule, init=False):
    """The newest event, of those read and those in the table, is not older than this when the ingestion runs.

    Attributes:
        max_age: Greatest age allowed.
    """

    positional: ClassVar[tuple[str, ...]] = ("max_age",)
    rule: Literal["fresh"] = "fresh"
    max_age: Duration

    def requirement(self) -> str:
        """Say what is required."""
        return f"the newest event is at most {format_duration(self.max_age)} old"


class RowCount(BatchRule, init=False):
    """The source holds about as many rows as at the ingestion before; not checked at the first one.

    Rows of files count whether or not they were ingested before; of tables and databases, the rows read this time.

    Attributes:
        max_drop: Greatest share of the former rows by which there may be fewer, from 0 to 1.
        max_growth: Greatest share of the former rows by which there may be more; 1 allows twice as many.
    """

    rule: Literal["row_count"] = "row_count"
    max_drop: Annotated[float, Field(ge=0, le=1)] | None = None
    max_growth: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _a_bound(self) -> Self:
        if self.max_drop is None and self.max_growth is None:
            raise ValueError("give max_drop, max_growth or both")
        return self

    def allowed_rows(self, before: int) -> tuple[int, float]:
        """Return the least and the greatest number of rows allowed after so many.

        Args:
            before: Rows at the ingestion before.

        Returns:
            Both inclusive; the greatest is infinite where growth is not bounded.

        Example:
            >>> RowCount(max_drop=0.5).allowed_rows(11)
            (6, inf)
        """
        least = 0 if self.max_drop is None else math.ceil(before * (1 - self.max_drop) - 1e-9)
        most = math.inf if self.max_growth is None else math.floor(before * (1 + self.max_growth) + 1e-9)
        return least, most


AnyRule = Annotated[
    Between | InSet | Matches | Check | NullRatio | Unique | Fresh | RowCount, Field(discriminator="rule")
]
