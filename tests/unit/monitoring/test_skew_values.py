"""Two logged values are the same when their bits are; and what the log holds of each type."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gnomon.monitoring.skew_values import as_logged, rounded_rows, same

FLOATS = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 0.1 + 0.2, 0.3]))


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1))
@example([(0.0, -0.0), (None, math.nan), (math.inf, math.inf)])
def test_floats_are_the_same_when_their_bits_are(pairs: list[tuple[float | None, float | None]]) -> None:
    left, right = (as_logged(pa.array([pair[i] for pair in pairs], pa.float64())) for i in (0, 1))
    assert same(left, right).tolist() == [_bits(a) == _bits(b) for a, b in pairs]
    assert same(left, left).all()


def _bits(value: float | None) -> bytes | None:
    return None if value is None or math.isnan(value) else struct.pack("<d", value)


@given(st.lists(st.tuples(st.none() | st.text(max_size=3), st.none() | st.text(max_size=3))))
def test_texts_are_the_same_when_they_are_equal(pairs: list[tuple[str | None, str | None]]) -> None:
    left, right = (pa.array([pair[i] for pair in pairs], pa.string()) for i in (0, 1))
    assert same(left, right).tolist() == [a == b for a, b in pairs]


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers_are_logged_as_floats_and_their_rounding_is_counted(values: list[int | None]) -> None:
    column = pa.array(values, pa.int64())
    assert as_logged(column).to_pylist() == [None if v is None else float(v) for v in values]
    assert rounded_rows(column) == sum(v is not None and abs(v) > 2**53 for v in values)


def test_truth_values_and_times_are_logged_as_numbers() -> None:
    assert as_logged(pa.array([True, None, False])).to_pylist() == [1.0, None, 0.0]
    moment = pa.array([datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC"))
    assert as_logged(pa.chunked_array([moment])).to_pylist() == [1_000_000.0]
    assert rounded_rows(pa.array([1e300])) == 0


@pytest.mark.parametrize("other", [pa.array(["1", None]), pa.array([1.0, 1.0])])
def test_values_of_different_types_differ_but_for_nulls(other: pa.Array) -> None:
    assert same(pa.array([2.0, None]), other).tolist() == [False, other[1].as_py() is None]
