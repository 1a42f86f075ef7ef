"""The digest is part of the stored format: its values are frozen here."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.data.digests import row_digests

ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.floats(), st.none() | st.text(max_size=40),
        st.none() | st.booleans(),
    ),
    max_size=30,
)  # fmt: skip


def columns(rows):
    types = {"i": pa.int64(), "f": pa.float64(), "s": pa.string(), "b": pa.bool_()}
    return {name: pa.array([row[k] for row in rows], t) for k, (name, t) in enumerate(types.items())}


def test_values_are_frozen():
    times = pa.array([0, 1], pa.timestamp("us", tz="UTC"))
    digests = row_digests({"x": pa.array([1, None]), "y": pa.array(["é" * 9, ""]), "t": times})
    assert digests.to_pylist() == ["fa7564f71d7a6d73cc50940540359e8b", "a2a819bb7650dc77c0f1edc1b3e04642"]


@given(ROWS)
@settings(deadline=None)
def test_neither_order_nor_neighbours_matter(rows):
    whole = columns(rows)
    digests = row_digests(whole).to_pylist()
    assert row_digests({name: whole[name] for name in reversed(whole)}).to_pylist() == digests
    assert row_digests({**whole, "absent": pa.nulls(len(rows), pa.string())}).to_pylist() == digests
    for position, row in enumerate(rows):
        assert row_digests(columns([row])).to_pylist() == [digests[position]]
    half = len(rows) // 2
    assert row_digests({name: a.slice(half) for name, a in whole.items()}).to_pylist() == digests[half:]


@given(ROWS)
@settings(deadline=None)
def test_different_rows_differ(rows):
    distinct = {}
    for row, digest in zip(rows, row_digests(columns(rows)).to_pylist(), strict=True):
        distinct.setdefault(digest, set()).add(repr((row[0], row[1] + 0.0 if row[1] is not None else None, *row[2:])))
    assert all(len({text.replace("-0.0", "0.0") for text in same}) == 1 for same in distinct.values())


def test_a_whole_float_equals_its_integer_and_text_does_not():
    one, float_one, text_one = (row_digests({"x": pa.array([value])})[0] for value in (1, 1.0, "1"))
    assert one == float_one != text_one
    assert row_digests({"x": pa.array([1])}) != row_digests({"y": pa.array([1])})
    assert row_digests({"x": pa.array([""])}) != row_digests({"x": pa.array([None], pa.string())})
