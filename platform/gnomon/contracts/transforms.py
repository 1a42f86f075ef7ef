"""The declared transforms of a source: small steps that cleanse and normalise its rows, one row at a time.

Written in app files as `DataSource(transforms=[…])` and applied by `data.column_reading`, to files and pushes alike.
Steps on text see a cell as it is written, before it is read as its type; the others see the value that was read. No
step looks at another row: what needs statistics of the data, such as standardisation, belongs to training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from gnomon.contracts.columns import Dtype
from gnomon.contracts.expressions import AnyExpression
from gnomon.contracts.specs import Part, as_tuple, require_range

Columns = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]


def _as_constant(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError("give a finite number, a text, True or False")
    return value


Constant = Annotated[bool | int | float | str, BeforeValidator(_as_constant)]

_LEAST_INT, _MOST_INT = -(2**63), 2**63 - 1
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "bool": (bool,),
    "int64": (int, float),
    "float64": (int, float),
}


class Transform(Part, init=False):
    """What all steps share."""

    step: str

    def columns(self) -> tuple[str, ...]:
        """Return the columns that the step changes."""
        return ()

    def reads(self) -> tuple[str, ...]:
        """Return the columns that the step looks at, sorted."""
        return tuple(sorted(self.columns()))

    def label(self) -> str:
        """Return what reports call the step: its kind and columns."""
        return ":".join([self.step, *self.columns()])

    def is_of_text(self) -> bool:
        """Tell whether the step sees cells as they are written, before they are read as their type."""
        return True

    def problem(self, dtype: Dtype) -> str | None:
        """Return why the step does not fit a column of that type; None where it fits."""
        return None


class _ColumnTransform(Transform, init=False):
    positional: ClassVar[tuple[str, ...]] = ("column",)
    column: Columns

    def columns(self) -> tuple[str, ...]:
        """Return the columns."""
        return self.column


class Trim(_ColumnTransform, init=False):
    """Take white space from both ends of a text.

    Attributes:
        column: The column, or several.
    """

    step: Literal["trim"] = "trim"


class Lower(_ColumnTransform, init=False):
    """Write a text in lower-case letters.

    Attributes:
        column: The column, or several.
    """

    step: Literal["lower"] = "lower"


class Upper(_ColumnTransform, init=False):
    """Write a text in capital letters, letter by letter.

    Attributes:
        column: The column, or several.
    """

    step: Literal["upper"] = "upper"


class Replace(_ColumnTransform, init=False):
    r"""Replace every match of an RE2 regular expression in a text.

    Attributes:
        column: The column, or several.
        pattern: The expression.
        by: What stands in its place; `\1` is the first group.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "pattern", "by")
    step: Literal["replace"] = "replace"
    pattern: Annotated[str, Field(min_length=1)]
    by: str


class MapValues(_ColumnTransform, init=False):
    """Write one text for another, as for codes and their names; a text that is not listed stays.

    Attributes:
        column: The column, or several.
        values: The new text by the old one, which is the whole cell.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "values")
    step: Literal["map_values"] = "map_values"
    values: Annotated[dict[str, str], Field(min_length=1)]


class NullIf(_ColumnTransform, init=False):
    """Take values that stand for nothing as null: texts as they are written, such as `N/A`, or numbers, such as -999.

    Attributes:
        column: The column, or several.
        values: The value, or several: all texts, or none.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "values")
    step: Literal["null_if"] = "null_if"
    values: Annotated[tuple[Constant, ...], BeforeValidator(as_tuple), Field(min_length=1)]

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        if len({isinstance(value, str) for value in self.values}) > 1:
            raise ValueError("texts and numbers in one step: write two steps, that of the texts first")
        return self

    def is_of_text(self) -> bool:
        """Tell whether the values are texts."""
        return isinstance(self.values[0], str)

    def problem(self, dtype: Dtype) -> str | None:
        """Return the first value that no value of that type can be."""
        if self.is_of_text():
            return None
        return next((why for why in (_misfit(value, dtype) for value in self.values) if why), None)


class Fill(_ColumnTransform, init=False):
    """Put a value where there is none; a cell that cannot be read is not filled, its row is quarantined.

    Attributes:
        column: The column, or several.
        value: Of the column's type; times cannot be filled.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "value")
    step: Literal["fill"] = "fill"
    value: Constant

    def is_of_text(self) -> bool:
        """Return False: what was read is filled, also text."""
        return False

    def problem(self, dtype: Dtype) -> str | None:
        """Return why the value is none of that type."""
        return _misfit(self.value, dtype)


class Clip(_ColumnTransform, init=False):
    """Bring numbers into a range: those below become its least, those above its greatest.

    Attributes:
        column: The column, or several; int64 or float64.
        min: Least number; any when left out.
        max: Greatest number; any when left out.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "min", "max")
    step: Literal["clip"] = "clip"
    min: int | FiniteFloat | None = None
    max: int | FiniteFloat | None = None

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        require_range(self.min, self.max)
        return self

    def is_of_text(self) -> bool:
        """Return False: numbers are compared."""
        return False

    def problem(self, dtype: Dtype) -> str | None:
        """Return why a column of that type has no such range."""
        if dtype not in ("int64", "float64"):
            return f"needs a number, the column is {dtype}"
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        return next((why for why in (_misfit(bound, dtype) for bound in bounds) if why), None)


class Compute(Transform, init=False):
    """Add a column whose value is computed from others of the row, as those are after the steps before.

    Attributes:
        column: Name of the new column; no file has it.
        expression: What it holds; of the expression's type.
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "expression")
    step: Literal["compute"] = "compute"
    column: str
    expression: AnyExpression

    @model_validator(mode="after")
    def _of_columns(self) -> Self:
        if not self.expression.columns():
            raise ValueError("the expression reads no column: gn.col('amount') refers to one")
        return self

    def columns(self) -> tuple[str, ...]:
        """Return the new column."""
        return (self.column,)

    def reads(self) -> tuple[str, ...]:
        """Return the columns of the expression, sorted."""
        return tuple(sorted(self.expression.columns()))

    def is_of_text(self) -> bool:
        """Return False: values are computed from values."""
        return False


AnyTransform = Annotated[
    Trim | Lower | Upper | Replace | MapValues | NullIf | Fill | Clip | Compute, Field(discriminator="step")
]


def computed_columns(steps: Sequence[Transform]) -> tuple[str, ...]:
    """Return the columns that steps add, in their order."""
    return tuple(step.column for step in steps if isinstance(step, Compute))


def columns_read(steps: Sequence[Transform]) -> tuple[str, ...]:
    """Return the columns that steps need of the files, in order and without repeats."""
    made = computed_columns(steps)
    return tuple(dict.fromkeys(name for step in steps for name in step.reads() if name not in made))


def _misfit(value: Constant, dtype: Dtype) -> str | None:
    """Return why a constant is no value of a type."""
    if dtype == "timestamp":
        return "it holds times: only steps on text change them"
    fits = isinstance(value, _KINDS[dtype]) and isinstance(value, bool) == (dtype == "bool")
    if dtype == "int64" and isinstance(value, int | float):
        fits = fits and float(value).is_integer() and _LEAST_INT <= value <= _MOST_INT
    return None if fits else f"{value!r} is no {dtype}"
