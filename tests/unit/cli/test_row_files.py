"""Files of rows and of outcomes that the command line reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from gnomon.cli.serving_commands import read_outcomes, read_rows
from gnomon.errors import InvalidInput


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_rows_come_in_order_without_blank_lines(file: Path) -> None:
    file.write_bytes(b'{"a": 1}\r\n\n  \n{"a": 2}')
    assert read_rows(file) == [{"a": 1}, {"a": 2}]


def test_only_a_line_feed_ends_a_line(file: Path) -> None:
    text = "one\u2028two\u0085three"
    file.write_text(f'{{"a": "{text}"}}\n', encoding="utf-8")
    assert read_rows(file) == [{"a": text}]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\n", "holds no rows"),
        (b'{"a": 1}\n{"a"', "line 2: not JSON"),
        (b'{"a": 1}\n\n{"b": 1}', "line 3: not an object with"),
        (b"[1]", "line 1: not an object"),
    ],
)
def test_what_is_no_row_is_named(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=problem):
        read_rows(file, ("a",))


def test_an_absent_file_is_named(file: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no file"):
        read_rows(file)


def test_the_same_outcome_twice_is_one(file: Path) -> None:
    file.write_text('{"prediction_id": "p", "value": 1}\n{"prediction_id": "p", "value": 1.0}\n')
    assert read_outcomes(file) == {"p": 1.0}


@pytest.mark.parametrize("value", ['"yes"', "null", "[]", "NaN", "1e999"])
def test_a_value_that_is_no_number_is_named_with_its_line(file: Path, value: str) -> None:
    file.write_text(f'{{"prediction_id": "p", "value": 1}}\n\n{{"prediction_id": "q", "value": {value}}}\n')
    with pytest.raises(InvalidInput, match=r"rows\.jsonl, line 3: the value of 'q' is"):
        read_outcomes(file)


def test_two_values_of_one_prediction_are_refused(file: Path) -> None:
    file.write_text('{"prediction_id": "p", "value": 1}\n{"prediction_id": "p", "value": 0}\n')
    with pytest.raises(InvalidInput, match="line 2: the value of 'p' is 0, and 1 further up"):
        read_outcomes(file)
