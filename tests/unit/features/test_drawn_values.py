"""What is drawn to test features with is what the features can be, and an example is made as small as it can."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import gnomon as gn
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME, Dtype
from gnomon.features.drawn_values import _FIRST_US, Domain, _json_list
from gnomon.features.smallest_rows import Row, smallest_rows
from gnomon.features.view_rows import REQUEST_TIME, view_values
from gnomon.testing.view_cases import S, app_of, events_table, requests_table

COLUMNS: dict[str, Dtype] = {"x": "float64", "n": "int64", "b": "bool", "s": "string", "ts": "timestamp"}


def listed(column: str, lists: Sequence[Sequence[Any]]) -> list[str | None]:
    """Write lists as `last_k` of an entity each."""
    app, view = app_of(("k",), [gn.Aggregation(column, "last_k", k=99, window="999s", name="f")])
    rows = [
        dict.fromkeys(COLUMNS)
        | {column: value, "k": entity, "name": "p", EVENT_TIME: second * S, KNOWN_TIME: second * S, INGESTED_AT: 0}
        | {EVENT_ID: f"{entity} {second}", DIGEST: "d"}
        for entity, values in enumerate(lists)
        for second, value in enumerate(reversed(values))  # the newest is the first of its list
    ]
    asked = requests_table([{"k": k, "name": "p", REQUEST_TIME: 900 * S} for k in range(len(lists))])
    found: list[str | None] = view_values(app, view, events_table(rows), asked).column("f").to_pylist()
    return found


@pytest.mark.parametrize(("column", "dtype"), COLUMNS.items())
def test_lists_are_written_as_windows_write_them(column: str, dtype: Dtype) -> None:
    domain, generator = Domain(dtype), np.random.default_rng(0)
    lists = [domain.draw(generator, 1 + i % 7) for i in range(60)] + [[None]]
    if dtype == "timestamp":
        lists.append([_FIRST_US])
    written = listed(column, lists)
    assert written == [_json_list(domain, each) for each in lists]
    assert written[60] is None


def test_a_list_is_never_drawn_empty_nor_made_so() -> None:
    """Without values a window's list is null."""
    domain = Domain("string", list_of=Domain("int64", least=2))
    drawn = domain.draw(np.random.default_rng(0), 500)
    assert "[]" not in drawn
    assert None in drawn
    assert list(domain.simpler("[7,8]")) == ["[2]", "[3]", None]


@pytest.mark.parametrize(("least", "greatest"), [(-1.7e308, 1.7e308), (1.6e308, 1.7e308), (0.1, 0.1), (None, -1.7e308)])
def test_numbers_are_between_their_bounds(least: float | None, greatest: float) -> None:
    drawn = Domain("float64", least, greatest).draw(np.random.default_rng(0), 2000)
    numbers = [value for value in drawn if value is not None]
    assert all(math.isfinite(n) or n == least == -math.inf for n in numbers if least is not None)
    assert all((least is None or n >= least) and n <= greatest for n in numbers)


def test_no_row_can_be_left_out() -> None:
    """Also where a row is needed only by one that can be left out later in the same pass."""

    def shows(rows: Sequence[Row]) -> bool:
        values = [row["x"] for row in rows]
        return 3.0 in values and not (2.0 in values and 1.0 not in values)  # 2 needs 1, which is tried before it

    rows = [{"x": float(number)} for number in (1, 2, 3)]
    assert smallest_rows(rows, {}, shows) == [{"x": 3.0}]
