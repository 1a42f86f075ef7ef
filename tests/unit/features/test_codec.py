"""Packed rows come back as they went in, whatever the values; bytes that are no packed row are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME, Dtype
from gnomon.contracts.layouts import StoredColumn, ViewLayout
from gnomon.errors import CorruptData, InvalidInput
from gnomon.features.codec import HEADER_BYTES, codec_of, decode, encode

TIMESTAMP = pa.timestamp("us", tz="UTC")
ARROW = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "timestamp": pa.int64(),
}
INTS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 0]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int64": INTS,
    "timestamp": INTS,
    "float64": st.floats(),
    "bool": st.booleans(),
    "string": st.text(max_size=8),
}


def layout_of(dtypes: list[Dtype], version: str = "00ff10a0") -> ViewLayout:
    columns = tuple(StoredColumn(f"f{i}", dtype) for i, dtype in enumerate(dtypes))
    return ViewLayout("view", (("id", "int64"),), columns, None, "null", version)


def table_of(layout: ViewLayout, rows: list[list[Any]], times: list[tuple[int, int]]) -> pa.Table:
    arrays = {
        EVENT_TIME: pa.array([t[0] for t in times], pa.int64()).cast(TIMESTAMP),
        KNOWN_TIME: pa.array([t[1] for t in times], pa.int64()).cast(TIMESTAMP),
    }
    for i, column in enumerate(layout.columns):
        array = pa.array([row[i] for row in rows], ARROW[column.dtype], from_pandas=False)
        arrays[column.name] = array.cast(TIMESTAMP) if column.dtype == "timestamp" else array
    return pa.table(arrays)


@st.composite
def views(draw: st.DrawFn) -> tuple[ViewLayout, list[list[Any]], list[tuple[int, int]]]:
    dtypes = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=12))
    row = st.tuples(*(st.none() | VALUES[dtype] for dtype in dtypes)).map(list)
    rows = draw(st.lists(row, max_size=6))
    times = draw(st.lists(st.tuples(INTS, INTS), min_size=len(rows), max_size=len(rows)))
    return layout_of(dtypes), rows, times


def naive(row: list[Any], index: int) -> Any:
    value = row[index]
    return None if isinstance(value, float) and math.isnan(value) else value


def plain(values: np.ndarray[Any, Any], dtype: str) -> list[Any]:
    found = values.tolist()
    return [None if isinstance(v, float) and math.isnan(v) else v for v in found] if dtype == "float64" else found


@settings(max_examples=300, deadline=None)
@given(views(), st.data())
def test_rows_come_back_as_they_went_in(
    case: tuple[ViewLayout, list[list[Any]], list[tuple[int, int]]], data: st.DataObject
) -> None:
    layout, rows, times = case
    packed = encode(layout, table_of(layout, rows, times))
    assert len(packed) == len(rows)
    order = data.draw(st.lists(st.none() | st.sampled_from(range(len(rows))), max_size=8)) if rows else [None]
    decoded = decode(layout, [None if i is None else packed[i] for i in order], [c.name for c in layout.columns])
    for index, column in enumerate(layout.columns):
        wanted = [None if i is None else naive(rows[i], index) for i in order]
        found = plain(decoded[column.name], column.dtype)
        assert found == wanted
        assert [type(v) for v in found] == [type(v) for v in wanted]
    whole = codec_of(layout).decode([None if i is None else packed[i] for i in order])
    assert whole.event_us.tolist() == [0 if i is None else times[i][0] for i in order]
    absent = [False] * len(order) if whole.absent is None else whole.absent.tolist()
    assert absent == [i is None for i in order]
    nulls = [[i is None or naive(rows[i], c) is None for c in range(len(layout.columns))] for i in order]
    assert (whole.nulls != 0).tolist() == nulls


def test_an_integer_beside_nulls_stays_exact() -> None:
    layout = layout_of(["int64"])
    packed = encode(layout, table_of(layout, [[2**53 + 1], [None]], [(1, 1), (2, 2)]))
    assert decode(layout, packed, ["f0"])["f0"].tolist() == [2**53 + 1, None]
    assert decode(layout, packed[:1], ["f0"])["f0"].dtype == np.int64


def test_a_float_nan_is_null() -> None:
    layout = layout_of(["float64"])
    packed = encode(layout, table_of(layout, [[math.nan], [-0.0]], [(1, 1), (2, 2)]))
    assert codec_of(layout).decode(packed).nulls.tolist() == [[1], [0]]
    assert math.copysign(1, decode(layout, packed, ["f0"])["f0"][1]) == -1


def test_a_row_of_another_version_is_absent_whatever_its_length() -> None:
    old, new = layout_of(["int64", "string"], "00000001"), layout_of(["float64"], "00000002")
    strange = encode(old, table_of(old, [[1, "x" * 50]], [(1, 1)]))
    mine = encode(new, table_of(new, [[1.5]], [(2, 2)]))
    rows = codec_of(new).decode([*strange, *mine, None])
    assert rows.absent is not None
    assert rows.absent.tolist() == [True, False, True]
    assert plain(rows.columns[0], "float64") == [None, 1.5, None]


def test_no_rows_at_all() -> None:
    layout = layout_of(["float64", "string", "bool", "int64"])
    assert encode(layout, table_of(layout, [], [])) == []
    assert {n: len(v) for n, v in decode(layout, [], ["f0", "f1", "f2", "f3"]).items()} == dict.fromkeys(
        ["f0", "f1", "f2", "f3"], 0
    )


@settings(max_examples=200, deadline=None)
@given(views().filter(lambda c: bool(c[1])), st.data())
def test_truncated_rows_are_refused(
    case: tuple[ViewLayout, list[list[Any]], list[tuple[int, int]]], data: st.DataObject
) -> None:
    layout, rows, times = case
    packed = encode(layout, table_of(layout, rows, times))[0]
    for cut in (packed[: data.draw(st.integers(0, len(packed) - 1))], packed + b"x"):
        with pytest.raises(CorruptData, match="view 'view'"):
            decode(layout, [cut], ["f0"])


@settings(max_examples=300, deadline=None)
@given(views(), st.binary(max_size=80))
def test_garbage_is_refused_or_absent_and_never_anything_else(
    case: tuple[ViewLayout, list[list[Any]], list[tuple[int, int]]], garbage: bytes
) -> None:
    layout = case[0]
    header = garbage[:16].ljust(16, b"\0") + bytes.fromhex(layout.version)
    for value in (garbage, header + garbage):
        try:
            rows = codec_of(layout).decode([value])
        except CorruptData:
            continue
        assert len(value) >= HEADER_BYTES
        assert all(len(column) == 1 for column in rows.columns)


def test_wrong_columns_are_named() -> None:
    layout = layout_of(["int64"])
    good = table_of(layout, [[1]], [(1, 1)])
    with pytest.raises(InvalidInput, match="'f0'"):
        encode(layout, good.drop_columns(["f0"]))
    with pytest.raises(InvalidInput, match="'f0' is double"):
        encode(layout, good.set_column(2, "f0", pa.array([1.0])))
    with pytest.raises(InvalidInput, match="_event_time"):
        encode(layout, good.set_column(0, EVENT_TIME, pa.array([None], TIMESTAMP)))
    with pytest.raises(InvalidInput, match="no feature 'f9'"):
        decode(layout, [], ["f9"])
