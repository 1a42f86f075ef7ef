"""Makes a table that shows a fault as small as it can: fewer rows first, then simpler values. Called by
`feature_properties`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gnomon.features.drawn_values import Domain

Row = Mapping[str, Any]
_MOST_TRIES = 500


def smallest_rows(
    rows: Sequence[Row], domains: Mapping[str, Domain], shows: Callable[[Sequence[Row]], bool]
) -> list[Row]:  # fmt: skip
    """Return the smallest table that still shows the fault.

    Args:
        rows: Show it.
        domains: Of the columns, by name.
        shows: Whether some rows show the same fault.

    Returns:
        Rows that show it. Where 500 tries sufficed, no row can be left out and no value can be made simpler; otherwise
        the smallest that were found.
    """
    tries = iter(range(_MOST_TRIES))

    def still(candidate: Sequence[Row]) -> bool:
        return next(tries, None) is not None and shows(candidate)

    kept = _fewer(list(rows), still)
    while (simpler := _simplified(kept, domains, still)) is not None:
        kept = _fewer(simpler, still)
    return kept


def _fewer(rows: list[Row], still: Callable[[Sequence[Row]], bool]) -> list[Row]:
    """Leave out halves, quarters and so on down to single rows, and these until each of them is needed."""
    size = len(rows) // 2
    while size:
        start, before = 0, len(rows)
        while start < len(rows) and len(rows) > 1:
            left = rows[:start] + rows[start + size :]
            if left and still(left):
                rows = left
            else:
                start += size
        if size > 1 or len(rows) == before:  # a row may be needed only by one that was left out after it was tried
            size //= 2
    return rows


def _simplified(
    rows: list[Row], domains: Mapping[str, Domain], still: Callable[[Sequence[Row]], bool]
) -> list[Row] | None:  # fmt: skip
    """Return the rows with values made simpler, each as far as it goes at once; None where none can be."""
    changed = False
    for number in range(len(rows)):
        for name, domain in domains.items():
            for value in domain.simpler(rows[number][name]):
                candidate = [*rows[:number], {**rows[number], name: value}, *rows[number + 1 :]]
                if still(candidate):
                    rows, changed = candidate, True
                    break
    return rows if changed else None
