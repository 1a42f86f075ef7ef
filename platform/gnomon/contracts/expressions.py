"""Expressions over columns: declared with operators, stored as JSON, evaluated elsewhere.

`col("amount") / col("mean") > 3` builds a tree. `features.expressions` evaluates it over Arrow arrays, the same code
for a training set of a million rows and for one request. Nulls propagate as in SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict

from gnomon.contracts.specs import Value

UnaryOperator = Literal[
    "neg", "not", "abs", "log1p", "exp", "sqrt", "is_null", "hour", "day_of_week", "lower", "length", "float", "int"
]
BinaryOperator = Literal[
    "add", "sub", "mul", "div", "mod", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "fill_null", "min", "max"
]


def as_expression(value: Any) -> Any:
    """Let a constant stand for the literal of its value; used wherever an expression is taken."""
    return Constant(value=value) if isinstance(value, bool | int | float | str) else value


class Expression(Value):
    """A node of an expression tree. Build one with `col` and operators, not by hand.

    Division by zero and the logarithm of a negative number give null, so that one bad row does not poison a mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def columns(self) -> frozenset[str]:
        """Return the names of all columns that the expression reads."""
        return frozenset(node.name for node in walk(self) if isinstance(node, ColumnRef))

    def _binary(self, op: BinaryOperator, other: Any, *, swap: bool = False) -> Binary:
        mine: Any = self
        left, right = (other, mine) if swap else (mine, other)
        return Binary(op=op, left=left, right=right)

    def _unary(self, op: UnaryOperator) -> Unary:
        mine: Any = self
        return Unary(op=op, of=mine)

    def __add__(self, other: Any) -> Binary:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Binary:
        return self._binary("add", other, swap=True)

    def __sub__(self, other: Any) -> Binary:
        return self._binary("sub", other)

    def __rsub__(self, other: Any) -> Binary:
        return self._binary("sub", other, swap=True)

    def __mul__(self, other: Any) -> Binary:
        return self._binary("mul", other)

    def __rmul__(self, other: Any) -> Binary:
        return self._binary("mul", other, swap=True)

    def __truediv__(self, other: Any) -> Binary:
        return self._binary("div", other)

    def __rtruediv__(self, other: Any) -> Binary:
        return self._binary("div", other, swap=True)

    def __mod__(self, other: Any) -> Binary:
        return self._binary("mod", other)

    def __lt__(self, other: Any) -> Binary:
        return self._binary("lt", other)

    def __le__(self, other: Any) -> Binary:
        return self._binary("le", other)

    def __gt__(self, other: Any) -> Binary:
        return self._binary("gt", other)

    def __ge__(self, other: Any) -> Binary:
        return self._binary("ge", other)

    def __and__(self, other: Any) -> Binary:
        return self._binary("and", other)

    def __or__(self, other: Any) -> Binary:
        return self._binary("or", other)

    def __invert__(self) -> Unary:
        return self._unary("not")

    def __neg__(self) -> Unary:
        return self._unary("neg")

    def equals(self, other: Any) -> Binary:
        """Compare for equality (`==` stays Python's own, so that definitions can be compared)."""
        return self._binary("eq", other)

    def differs(self, other: Any) -> Binary:
        """Compare for inequality."""
        return self._binary("ne", other)

    def fill_null(self, other: Any) -> Binary:
        """Take `other` where this is null."""
        return self._binary("fill_null", other)

    def apply(self, op: UnaryOperator) -> Unary:
        """Apply a named one-argument operator, such as `col("amount").apply("log1p")`."""
        return self._unary(op)


class ColumnRef(Expression):
    """The value of a column."""

    node: Literal["column"] = "column"
    name: str


class Constant(Expression):
    """A constant."""

    node: Literal["literal"] = "literal"
    value: bool | int | float | str


class Unary(Expression):
    """An operator of one argument. `hour` is 0–23 and `day_of_week` 0–6 from Monday, both in UTC."""

    node: Literal["unary"] = "unary"
    op: UnaryOperator
    of: AnyExpression


class Binary(Expression):
    """An operator of two arguments. `min` and `max` are row by row and null when either side is."""

    node: Literal["binary"] = "binary"
    op: BinaryOperator
    left: AnyExpression
    right: AnyExpression


AnyExpression = Annotated[ColumnRef | Constant | Unary | Binary, BeforeValidator(as_expression)]

Unary.model_rebuild()
Binary.model_rebuild()


def col(name: str) -> ColumnRef:
    """Refer to a column by name.

    Args:
        name: Column of the source, or feature, that the place of use can read; checked there, not here.

    Returns:
        An expression; operators and comparisons on it build larger ones.

    Example:
        >>> sorted((col("amount") / col("mean") > 3).columns())
        ['amount', 'mean']
    """
    return ColumnRef(name=name)


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield every node of the tree, parents first."""
    yield expression
    if isinstance(expression, Unary):
        yield from walk(expression.of)
    elif isinstance(expression, Binary):
        yield from walk(expression.left)
        yield from walk(expression.right)
