"""Ids of operations sort by time and never repeat."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gnomon.contracts.operations import new_operation_id

MOMENTS_US = st.integers(min_value=0, max_value=(1 << 48) * 1000 - 1)


@given(MOMENTS_US, MOMENTS_US)
def test_order_of_ids_is_order_of_milliseconds(a_us: int, b_us: int) -> None:
    a, b = new_operation_id(a_us), new_operation_id(b_us)
    assert len(a) == len(b) == 26
    assert a != b
    if a_us // 1000 < b_us // 1000:
        assert a < b
