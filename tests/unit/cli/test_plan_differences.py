"""What `gnomon plan` says of a changed field."""

from __future__ import annotations

from typing import Any

import pytest

from gnomon.cli.definition_commands import differences

COUNT: dict[str, Any] = {"name": "count_14d", "window": "14d", "where": None}


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("14d", "7d", ["14d → 7d"]),
        (None, "1s", ["None → 1s"]),
        ([COUNT], [], ["- count_14d"]),
        ([], [COUNT], ["+ count_14d"]),
        ([COUNT], [{**COUNT, "name": "count_7d"}], ["- count_14d", "+ count_7d"]),
        ([COUNT], [{**COUNT, "where": {"op": "gt"}}], ["count_14d: where: None → {'op': 'gt'}"]),
        (["a", "b"], ["b", "a"], ["the same in another order"]),
        ({"amount": {"min": 0}, "x": 1}, {"amount": {"min": 1}, "x": 1}, ["amount: min: 0 → 1"]),
    ],
    ids=str,
)
def test_differences_are_named(before: Any, after: Any, lines: list[str]) -> None:
    assert differences(before, after) == lines
