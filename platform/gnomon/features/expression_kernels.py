"""The operators of expressions over Arrow values, with SQL's nulls; called by `features.expressions` only.

A value is an Arrow array, or a scalar where it is the same in every row, of one of the five types of `columns.Dtype`.
No value is ever NaN: what would be NaN is null, so that one bad row does not poison a mean. Infinity stays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Value = Any
"""`pa.Array` or `pa.Scalar`; pyarrow has no types to check."""

INT, FLOAT, BOOL, STRING = pa.int64(), pa.float64(), pa.bool_(), pa.string()
TIMESTAMP = pa.timestamp("us", tz="UTC")
ARROW_TYPES: Final = {"int64": INT, "float64": FLOAT, "bool": BOOL, "string": STRING, "timestamp": TIMESTAMP}
NAMES: Final = {arrow: name for name, arrow in ARROW_TYPES.items()}
NUMBERS: Final = (INT, FLOAT, BOOL)

# pyarrow.compute's own wrappers cost more than a kernel does on the one row of a request
_is_nan, _divide, _equal = (pc.get_function(name) for name in ("is_nan", "divide", "equal"))
_ZERO: Final = pa.scalar(0.0)
_HOUR_US, _DAY_US = 3_600_000_000, 86_400_000_000
_INT_LIMIT = 1 << 63


def null_where(mask: Value, value: Value) -> Value:
    """Return `value` with nulls where `mask` is true; where there is none, for free."""
    if not (mask.true_count if isinstance(mask, pa.Array) else mask.as_py()):
        return value
    return pc.if_else(mask, pa.scalar(None, value.type), value)


def without_nan(value: Value) -> Value:
    """Return `value` with null in place of NaN."""
    if value.type != FLOAT:
        return value
    # on the one row of a request numpy answers in a third of a kernel's time
    if isinstance(value, pa.Array) and not value.null_count and not np.isnan(value.to_numpy()).any():
        return value
    return null_where(_is_nan.call([value]), value)


def to_float(value: Value) -> Value:
    """Cast a number to float64; integers above 2^53 are rounded to the nearest."""
    return value if value.type == FLOAT else pc.cast(_as_int(value), FLOAT, safe=False)


def to_int(value: Value) -> Value:
    """Cast to int64: floats lose their fraction and are null outside the range, timestamps become microseconds."""
    if value.type != FLOAT:
        return pc.cast(value, INT)
    fits = pc.and_(pc.greater_equal(value, -float(_INT_LIMIT)), pc.less(value, float(_INT_LIMIT)))
    return pc.cast(pc.trunc(null_where(pc.invert(fits), value)), INT, safe=False)


def unify(left: Value, right: Value) -> tuple[Value, Value] | None:
    """Bring two values to one type: bool → int64 → float64; return None when nothing holds both."""
    if left.type == right.type:
        return left, right
    if left.type not in NUMBERS or right.type not in NUMBERS:
        return None
    if FLOAT in (left.type, right.type):
        return to_float(left), to_float(right)
    return _as_int(left), _as_int(right)


def _as_int(value: Value) -> Value:
    return pc.cast(value, INT) if value.type == BOOL else value


def _by_rows(function: Callable[..., int], *values: Value) -> Value:
    """Integer arithmetic that left the range of int64 somewhere: exact, row by row, null outside the range."""
    rows = next((len(v) for v in values if isinstance(v, pa.Array)), None)
    length = 1 if rows is None else rows
    columns = [v.to_pylist() if isinstance(v, pa.Array) else [v.as_py()] * length for v in values]
    exact = [None if None in row else function(*row) for row in zip(*columns, strict=True)]
    result = pa.array([v if v is not None and -_INT_LIMIT <= v < _INT_LIMIT else None for v in exact], INT)
    return result if rows is not None else result[0]


def arithmetic(kernel: str, exact: Callable[..., int]) -> Callable[..., Value]:
    """Build an operator over numbers of one type; integer results outside int64 are null."""
    unchecked, checked = pc.get_function(kernel), pc.get_function(f"{kernel}_checked")

    def apply(*values: Value) -> Value:
        if values[0].type == FLOAT:
            return without_nan(unchecked.call(list(values)))
        values = tuple(_as_int(v) for v in values)
        try:
            return checked.call(list(values))
        except pa.ArrowInvalid:
            return _by_rows(exact, *values)

    return apply


def divide(left: Value, right: Value) -> Value:
    """Divide as floats; by zero gives null."""
    right = to_float(right)
    quotient = _divide.call([to_float(left), right])
    return without_nan(null_where(_equal.call([right, _ZERO]), quotient))


def modulo(left: Value, right: Value) -> Value:
    """Return the remainder with the sign of the divisor, as Python's `%`; of zero it is null."""
    left, right = _as_int(left), _as_int(right)
    zero = pa.scalar(0, right.type)
    right = null_where(pc.equal(right, zero), right)
    return without_nan(_over_numpy(np.remainder, left.type, left, right))


def _over_numpy(function: Callable[..., Any], result: Any, *values: Value) -> Value:
    """Apply a numpy function to numbers; null wherever any of them is null."""
    rows = next((len(v) for v in values if isinstance(v, pa.Array)), None)
    arrays = [v if isinstance(v, pa.Array) else pa.repeat(v, 1 if rows is None else rows) for v in values]
    # 1 in place of null: it divides anything, and the row is null in the result
    plain = [np.asarray(pc.fill_null(a, 1) if a.null_count else a) for a in arrays]
    with np.errstate(all="ignore"):
        numbers = np.asarray(function(*plain))
    null = np.zeros(len(numbers), dtype=bool)
    for a in arrays:
        if a.null_count:
            null |= np.asarray(pc.is_null(a))
    computed = pa.array(numbers, result, mask=null)
    return computed if rows is not None else computed[0]


def hour(value: Value) -> Value:
    """Return the hour of the day in UTC, 0–23."""
    return _over_numpy(lambda us: us // _HOUR_US % 24, INT, pc.cast(value, INT))


def day_of_week(value: Value) -> Value:
    """Return the day of the week in UTC, 0–6 from Monday; the epoch was a Thursday."""
    return _over_numpy(lambda us: (us // _DAY_US + 3) % 7, INT, pc.cast(value, INT))


def subtract_any(left: Value, right: Value) -> Value:
    """Return `left − right` of two numbers, or of two timestamps in seconds."""
    if left.type == TIMESTAMP:
        return pc.divide(to_float(subtract(pc.cast(left, INT), pc.cast(right, INT))), 1e6)
    return subtract(left, right)


def log1p(value: Value) -> Value:
    """Return ln(1 + x); null for x ≤ −1, where it has no finite value."""
    value = to_float(value)
    return pc.log1p(null_where(pc.less_equal(value, -1.0), value))


def sqrt(value: Value) -> Value:
    """Return the square root; null for a negative number."""
    value = to_float(value)
    return pc.sqrt(null_where(pc.less(value, 0.0), value))


add = arithmetic("add", operator.add)
subtract = arithmetic("subtract", operator.sub)
multiply = arithmetic("multiply", operator.mul)
negate = arithmetic("negate", operator.neg)
absolute = arithmetic("abs", abs)
