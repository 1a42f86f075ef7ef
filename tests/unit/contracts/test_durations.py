"""Durations: what is one, and what is refused with a reason."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.contracts.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5h", 5400), ("7d", 604_800), ("2w", 1_209_600), (" 3m ", 180), ("0s", 0)]
)
def test_number_and_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("7", "is not a duration"), ("seven days", "is not a duration"), ("-7d", "is not a duration"),
        (7, "is not a duration"), (timedelta(days=-1), "cannot be negative"), ("9999999999999d", "is longer than"),
    ],
)  # fmt: skip
def test_refused_with_the_value(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_duration(value)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10_000)))
def test_what_is_written_is_read_again(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration
