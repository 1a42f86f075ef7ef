"""Label: what a model learns, and when it may be learned from."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from gnomon.contracts.durations import Duration
from gnomon.contracts.expressions import AnyExpression
from gnomon.contracts.specs import Reference, Spec


class Label(Spec, init=False):
    """What a model learns: a column of a source, usable `delay` after the event.

    Every row of the source whose label is not null is a label row at its event time t, with the features of time t.
    A row takes part once both its known time and t + delay have passed.

    Attributes:
        source: The source that holds the label; it must have the key columns of all entities that the model reads.
        column: The label's column; the label's name when left out.
        delay: How long after the event the label is final.
        where: Only these rows are label rows.
        positive: For a yes/no label given by a condition over source columns, such as `col("delay") > 15`.
    """

    kind: ClassVar[str] = "label"
    source: Reference
    column: str | None = None
    delay: Duration
    where: AnyExpression | None = None
    positive: AnyExpression | None = None

    @model_validator(mode="after")
    def _one_definition(self) -> Self:
        if self.column is not None and self.positive is not None:
            raise ValueError("give either column or positive, not both")
        return self

    def source_columns(self) -> frozenset[str]:
        """Return the source columns that the label and its filter read."""
        read = self.positive.columns() if self.positive is not None else frozenset({self.column or self.name})
        return read | (self.where.columns() if self.where is not None else frozenset())
