"""Expressions equal a row-by-row oracle in plain Python, and refuse what they cannot compute with a message."""

from __future__ import annotations

import math
import operator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.contracts.expressions import Binary, ColumnRef, Constant, Expression, Unary, col
from gnomon.errors import InvalidInput
from gnomon.features.expressions import evaluate

TIMESTAMP = pa.timestamp("us", tz="UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPES = {"i": pa.int64(), "j": pa.int64(), "f": pa.float64(), "g": pa.float64(), "p": pa.bool_(), "q": pa.bool_(),
         "s": pa.string(), "u": pa.string(), "t": TIMESTAMP}  # fmt: skip
INTS = st.one_of(st.integers(-5, 5), st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63)]))
FLOATS = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, math.inf, -math.inf, math.nan]), st.floats(-1e6, 1e6))
TEXTS = st.text(alphabet="aBcÄß0 \U0001f600", max_size=4)
MOMENTS = st.integers(-(10**15), 10**16)


def compare(op: Any) -> Any:
    return lambda a, b: op(*promote(a, b))


def promote(*values: Any) -> tuple[Any, ...]:
    if any(isinstance(v, float) for v in values):
        return tuple(float(v) for v in values)
    return values


def _int_of(value: Any) -> int | None:
    return int(value) if isinstance(value, int) or -(2.0**63) <= value < 2.0**63 else None


ORACLE = {
    "neg": operator.neg, "abs": abs, "not": operator.not_, "float": float, "int": _int_of,
    "lower": str.lower, "length": len,
    "log1p": lambda x: math.log1p(x) if x > -1 else None,
    "exp": lambda x: math.exp(x) if x < 709 else math.inf,
    "sqrt": lambda x: math.sqrt(x) if x >= 0 else None,
    "hour": lambda t: (EPOCH + timedelta(microseconds=t)).hour,
    "day_of_week": lambda t: (EPOCH + timedelta(microseconds=t)).weekday(),
    "add": lambda a, b: operator.add(*promote(a, b)),
    "sub": lambda a, b: operator.sub(*promote(a, b)),
    "mul": lambda a, b: operator.mul(*promote(a, b)),
    "div": lambda a, b: float(a) / float(b) if b else None,
    "mod": lambda a, b: _mod(*promote(a, b)) if b else None,
    "eq": compare(operator.eq), "ne": compare(operator.ne), "lt": compare(operator.lt),
    "le": compare(operator.le), "gt": compare(operator.gt), "ge": compare(operator.ge),
    "min": lambda a, b: min(promote(a, b)), "max": lambda a, b: max(promote(a, b)),
}  # fmt: skip


def _mod(a: Any, b: Any) -> Any:
    return a % b if not (isinstance(a, float) and math.isinf(a)) else None


def oracle(node: Expression, row: dict[str, Any]) -> Any:
    if isinstance(node, ColumnRef):
        value = row[node.name]
    elif isinstance(node, Constant):
        value = node.value
    elif isinstance(node, Unary):
        inner = oracle(node.of, row)
        if node.op == "is_null":
            return inner is None
        value = None if inner is None else ORACLE[node.op](inner)
    else:
        assert isinstance(node, Binary)
        value = _oracle_binary(node.op, oracle(node.left, row), oracle(node.right, row))
        if is_float(node) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)  # a missing float that is filled with a whole number stays a float
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return None
    return value


def is_float(node: Expression) -> bool:
    if isinstance(node, ColumnRef):
        return node.name in "fg"
    if isinstance(node, Constant):
        return isinstance(node.value, float)
    if isinstance(node, Unary):
        return node.op in ("float", "log1p", "exp", "sqrt") or (node.op in ("neg", "abs") and is_float(node.of))
    assert isinstance(node, Binary)
    arithmetic = node.op in ("add", "sub", "mul", "mod", "min", "max", "fill_null")
    return node.op == "div" or (arithmetic and (is_float(node.left) or is_float(node.right)))


def _oracle_binary(op: str, a: Any, b: Any) -> Any:
    if op == "and":
        return False if a is False or b is False else None if None in (a, b) else True
    if op == "or":
        return True if a is True or b is True else None if None in (a, b) else False
    if op == "fill_null":
        return b if a is None else a
    return None if a is None or b is None else ORACLE[op](a, b)


@cache
def trees(kind: str, depth: int = 2) -> st.SearchStrategy[Expression]:
    """Well-typed trees: kind is int, float, bool, string or timestamp."""
    return _leaves(kind) if depth == 0 else st.one_of(_leaves(kind), _nodes(kind, depth - 1))


def _leaves(kind: str) -> st.SearchStrategy[Expression]:
    names = {"int": "ij", "float": "fg", "bool": "pq", "string": "su", "timestamp": "t"}[kind]
    constants = {"int": INTS, "float": st.floats(-100, 100), "bool": st.booleans(), "string": TEXTS}
    leaves = [st.sampled_from(names).map(col)]
    if kind in constants:
        leaves.append(constants[kind].map(lambda v: Constant(value=v)))
    return st.one_of(*leaves)


def _nodes(kind: str, depth: int) -> st.SearchStrategy[Expression]:
    def unary(ops: list[str], of: str) -> st.SearchStrategy[Expression]:
        return st.builds(Unary, op=st.sampled_from(ops), of=trees(of, depth))

    def binary(ops: list[str], left: str, right: str) -> st.SearchStrategy[Expression]:
        return st.builds(Binary, op=st.sampled_from(ops), left=trees(left, depth), right=trees(right, depth))

    same = ["fill_null", "min", "max"]
    order = ["eq", "ne", "lt", "le", "gt", "ge"]
    return {
        "int": st.one_of(
            binary(["add", "sub", "mul", "mod", *same], "int", "int"), unary(["neg", "abs"], "int"),
            unary(["int"], "float"), unary(["length"], "string"), unary(["hour", "day_of_week"], "timestamp"),
        ),
        "float": st.one_of(
            binary(["add", "sub", "mul", "div", "mod", *same], "float", "float"), binary(["div"], "int", "int"),
            binary(["add", "mul", "mod", *same], "float", "int"), unary(["float"], "int"),
            unary(["neg", "abs", "log1p", "exp", "sqrt"], "float"),
        ),
        "bool": st.one_of(
            binary(["and", "or"], "bool", "bool"), unary(["not"], "bool"), unary(["is_null"], "float"),
            *(binary(order, k, k) for k in ("int", "float", "string")), binary(order, "int", "float"),
        ),
        "string": st.one_of(unary(["lower"], "string"), binary(same, "string", "string")),
        "timestamp": binary(same, "timestamp", "timestamp"),
    }[kind]  # fmt: skip


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            name: st.none() | values
            for names, values in (("ij", INTS), ("fg", FLOATS), ("pq", st.booleans()), ("su", TEXTS), ("t", MOMENTS))
            for name in names
        }
    ),
    max_size=6,
)


def as_columns(rows: list[dict[str, Any]]) -> dict[str, pa.Array]:
    return {
        name: pa.array([r[name] for r in rows], pa.int64() if kind == TIMESTAMP else kind, from_pandas=False).cast(kind)
        for name, kind in TYPES.items()
    }


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, float):
        return found == wanted or math.isclose(found, wanted, rel_tol=1e-12, abs_tol=1e-300)
    return type(found) is type(wanted) and found == wanted


@settings(max_examples=300, deadline=None)
@given(st.data(), ROWS, st.sampled_from(["int", "float", "bool", "string", "timestamp"]))
def test_equals_the_oracle_row_by_row(data: st.DataObject, rows: list[dict[str, Any]], kind: str) -> None:
    tree = data.draw(trees(kind))
    result = evaluate(tree, as_columns(rows), rows=len(rows))
    if kind == "timestamp":
        result = result.cast(pa.int64())
    found = result.to_pylist()
    wanted = [oracle(tree, row) for row in rows]
    assert len(found) == len(wanted)
    for f, w, row in zip(found, wanted, rows, strict=True):
        assert same(f, w), (f, w, row)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.lists(ROWS.filter(bool).map(lambda r: r[0]), min_size=1, max_size=5))
def test_one_row_at_a_time_equals_all_at_once(data: st.DataObject, rows: list[dict[str, Any]]) -> None:
    tree = data.draw(trees("float"))
    together = evaluate(tree, as_columns(rows), rows=len(rows)).to_pylist()
    alone = [evaluate(tree, as_columns([row]), rows=1)[0].as_py() for row in rows]
    assert together == alone


def test_a_literal_alone_takes_the_number_of_rows() -> None:
    assert evaluate(Constant(value=2.5), {}, rows=3).to_pylist() == [2.5, 2.5, 2.5]
    with pytest.raises(InvalidInput, match="rows="):
        evaluate(Constant(value=2.5), {})


def test_chunked_narrow_and_dictionary_columns_count_as_their_widest_kind() -> None:
    columns = {
        "a": pa.chunked_array([pa.array([1], pa.int8()), pa.array([None, 3], pa.int8())]),
        "b": pa.array(["x", "Y", None]).dictionary_encode(),
        "c": pa.array([1.5, float("nan"), 2], pa.float32()),
        "d": pa.array([1, 2, 3], pa.timestamp("ms", tz="Europe/Paris")),
    }
    assert evaluate(col("a") + 1, columns).equals(pa.array([2, None, 4]))
    assert evaluate(col("b").apply("lower"), columns).equals(pa.array(["x", "y", None]))
    assert evaluate(col("c").apply("is_null"), columns).to_pylist() == [False, True, False]
    assert evaluate(col("d"), columns).type == TIMESTAMP


def test_timestamps_differ_in_seconds() -> None:
    columns = {"a": pa.array([2_500_000, None], TIMESTAMP), "b": pa.array([1_000_000, 1], TIMESTAMP)}
    assert evaluate(col("a") - col("b"), columns).to_pylist() == [1.5, None]


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (col("absent") + 1, ["'absent'"]),
        (col("s") + 1, ["'add'", "'s'", "string"]),
        (col("i") & col("p"), ["'and'", "'i'", "int64"]),
        (col("s").equals(3), ["'eq'", "'s'", "string", "3", "int64"]),
        (col("i").apply("lower"), ["'lower'", "'i'", "int64"]),
        (col("t") - 1, ["'sub'", "'t'", "timestamp", "int64"]),
        (col("d") + 1, ["'d'", "date32"]),
        (col("naive"), ["'naive'", "timestamp"]),
        (col("i") + 2**63, ["9223372036854775808"]),
    ],
)
def test_a_wrong_type_is_refused_by_column_and_type(tree: Expression, names: list[str]) -> None:
    columns = {"i": pa.array([1]), "s": pa.array(["x"]), "p": pa.array([True]), "t": pa.array([1], TIMESTAMP),
               "d": pa.array([1], pa.date32()), "naive": pa.array([1], pa.timestamp("us"))}  # fmt: skip
    with pytest.raises(InvalidInput) as error:
        evaluate(tree, columns)
    for name in names:
        assert name in error.value.message
    assert error.value.hint


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput, match="2 rows"):
        evaluate(col("a") + col("b"), {"a": pa.array([1, 2]), "b": pa.array([1])})
