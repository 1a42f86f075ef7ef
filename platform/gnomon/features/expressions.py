"""Evaluates expressions over Arrow columns: the same code for a training set of a million rows and for one request.

Called by windows, view rows, training sets and request features. Nulls are SQL's: an operator of null is null, `and`
and `or` are Kleene's. Division by zero, a logarithm or root that does not exist, integer overflow and NaN give null.
Numbers are promoted bool → int64 → float64; `div` is always float64, `mod` has the sign of the divisor; the difference
of two timestamps is in seconds, float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.expressions import Binary, ColumnRef, Constant, Expression, Unary
from gnomon.errors import InvalidInput, did_you_mean
from gnomon.features import expression_kernels as kernels
from gnomon.features.expression_kernels import BOOL, FLOAT, INT, NAMES, NUMBERS, STRING, TIMESTAMP, Value

_ANY = (INT, FLOAT, BOOL, STRING, TIMESTAMP)

_UNARY: Final[dict[str, tuple[tuple[Any, ...], Callable[[Value], Value]]]] = {
    "neg": (NUMBERS, kernels.negate),
    "not": ((BOOL,), pc.invert),
    "abs": (NUMBERS, kernels.absolute),
    "log1p": (NUMBERS, kernels.log1p),
    "exp": (NUMBERS, lambda v: pc.exp(kernels.to_float(v))),
    "sqrt": (NUMBERS, kernels.sqrt),
    "is_null": (_ANY, pc.is_null),
    "hour": ((TIMESTAMP,), kernels.hour),
    "day_of_week": ((TIMESTAMP,), kernels.day_of_week),
    "lower": ((STRING,), pc.utf8_lower),
    "length": ((STRING,), lambda v: pc.cast(pc.utf8_length(v), INT)),
    "float": (NUMBERS, kernels.to_float),
    "int": ((*NUMBERS, TIMESTAMP), kernels.to_int),
}
_BINARY: Final[dict[str, tuple[tuple[Any, ...], Callable[[Value, Value], Value]]]] = {
    "add": (NUMBERS, kernels.add),
    "sub": ((*NUMBERS, TIMESTAMP), kernels.subtract_any),
    "mul": (NUMBERS, kernels.multiply),
    "div": (NUMBERS, kernels.divide),
    "mod": (NUMBERS, kernels.modulo),
    "eq": (_ANY, pc.equal),
    "ne": (_ANY, pc.not_equal),
    "lt": (_ANY, pc.less),
    "le": (_ANY, pc.less_equal),
    "gt": (_ANY, pc.greater),
    "ge": (_ANY, pc.greater_equal),
    "and": ((BOOL,), pc.and_kleene),
    "or": ((BOOL,), pc.or_kleene),
    "fill_null": (_ANY, pc.coalesce),
    "min": ((INT, FLOAT, STRING, TIMESTAMP), lambda a, b: pc.if_else(pc.less_equal(a, b), a, b)),
    "max": ((INT, FLOAT, STRING, TIMESTAMP), lambda a, b: pc.if_else(pc.greater_equal(a, b), a, b)),
}  # fmt: skip


def evaluate(expression: Expression, columns: Mapping[str, Any], rows: int | None = None) -> pa.Array:
    """Compute an expression for every row.

    Args:
        expression: The tree.
        columns: Arrow arrays or chunked arrays of one length, by name. Narrower integers, floats and other string and
            timestamp types count as their widest kind.
        rows: Length of the result; needed only where the expression reads no column.

    Returns:
        One array, in the order of the rows, of type int64, float64, bool, string or timestamp('us', UTC).

    Raises:
        InvalidInput: A column is absent or of a type that its operator does not take, or lengths differ.

    Example:
        >>> from gnomon.contracts.expressions import col
        >>> evaluate(col("a") / col("b"), {"a": pa.array([6, 1]), "b": pa.array([4, 0])}).to_pylist()
        [1.5, None]
    """
    value = _evaluate(expression, columns)
    if isinstance(value, pa.Array):
        if rows is not None and len(value) != rows:
            raise InvalidInput(
                f"the columns have {len(value)} rows where {rows} are wanted", "give columns of one length"
            )
        return value
    if rows is None:
        read = next(iter(sorted(expression.columns())), None)
        if read is None:
            raise InvalidInput("an expression without columns has no length of its own", "pass rows=")
        rows = len(columns[read])
    return pa.repeat(value, rows)


def _evaluate(node: Expression, columns: Mapping[str, Any]) -> Value:
    if isinstance(node, ColumnRef):
        return _column(node.name, columns)
    if isinstance(node, Constant):
        return _literal(node.value)
    if isinstance(node, Unary):
        takes, kernel = _UNARY[node.op]
        value = _evaluate(node.of, columns)
        _check(node.op, node.of, value, takes)
        return kernel(value)
    assert isinstance(node, Binary), type(node)
    takes, operation = _BINARY[node.op]
    left, right = _evaluate(node.left, columns), _evaluate(node.right, columns)
    _check(node.op, node.left, left, takes)
    _check(node.op, node.right, right, takes)
    pair = kernels.unify(left, right)
    if pair is None:
        raise InvalidInput(
            f"'{node.op}' of {_describe(node.left)}, which is {NAMES[left.type]}, "
            f"and {_describe(node.right)}, which is {NAMES[right.type]}",
            "both sides need one type, or numbers",
        )
    if isinstance(left, pa.Array) and isinstance(right, pa.Array) and len(left) != len(right):
        raise InvalidInput(
            f"{_describe(node.left)} has {len(left)} rows and {_describe(node.right)} has {len(right)}",
            "give columns of one length",
        )
    return operation(*pair)


def _check(op: str, node: Expression, value: Value, takes: tuple[Any, ...]) -> None:
    if value.type not in takes:
        wanted = ", ".join(NAMES[t] for t in takes)
        raise InvalidInput(f"'{op}' of {_describe(node)}, which is {NAMES[value.type]}", f"'{op}' takes {wanted}")


def _describe(node: Expression) -> str:
    if isinstance(node, ColumnRef):
        return f"column '{node.name}'"
    if isinstance(node, Constant):
        return f"the constant {node.value!r}"
    assert isinstance(node, Unary | Binary)
    reads = ", ".join(f"'{name}'" for name in sorted(node.columns()))
    return f"a result of '{node.op}'" + (f" over column {reads}" if reads else "")


def _literal(value: bool | int | float | str) -> Value:
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 63:
        raise InvalidInput(f"the constant {value} does not fit int64", "write it as a float")
    return kernels.without_nan(pa.scalar(value))


def _column(name: str, columns: Mapping[str, Any]) -> pa.Array:
    try:
        array = columns[name]
    except KeyError:
        raise InvalidInput(f"there is no column '{name}' to evaluate", did_you_mean(name, columns)) from None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return kernels.without_nan(array if array.type in NAMES else _widened(name, array))


def _widened(name: str, array: pa.Array) -> pa.Array:
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if pa.types.is_integer(kind):
        target = INT
    elif pa.types.is_floating(kind):
        target = FLOAT
    elif pa.types.is_timestamp(kind) and kind.tz is not None:
        target = TIMESTAMP
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        target = STRING
    elif pa.types.is_boolean(kind):
        target = BOOL
    else:
        raise InvalidInput(f"column '{name}' is {array.type}", f"expressions take {', '.join(NAMES.values())}")
    try:
        return pc.cast(array, target, safe=target != TIMESTAMP)
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"column '{name}' does not fit {NAMES[target]}: {error}") from error
