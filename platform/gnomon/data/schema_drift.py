"""Schema drift: how the columns that a source has now differ from what is declared and from the ingestion before.

Called by `ingestion`, whose report holds the differences. None of them stops an ingestion by itself: a column that is
missing or of another type shows in the rows as well, and what they may be is for the rules of fields and contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gnomon.contracts.columns import Dtype
from gnomon.contracts.sources import DataSource

_NO_VALUE = "null"
_TEXT_FORMATS = ("csv", "json", "jsonl", "sql")
_READABLE = {("int64", "float64"), ("int64", "bool"), ("float64", "bool")}


@dataclass(frozen=True)
class ColumnDrift:
    """One difference.

    Attributes:
        column: Name of the column.
        change: What happened to it.
        against: What is compared: the definition, which is the declared fields and the types read when it was applied,
            or the ingestion before.
        before: Type there; None for an added column.
        now: Type found now; None for a removed one.
        message: The difference in a sentence.
    """

    column: str
    change: Literal["added", "removed", "changed"]
    against: Literal["definition", "previous"]
    before: str | None
    now: str | None
    message: str


def schema_drift(
    source: DataSource, schema: Mapping[str, Dtype], found: Mapping[str, str], previous: Mapping[str, str] | None
) -> list[dict[str, Any]]:  # fmt: skip
    """Compare the types found with those expected.

    A type that can be read as the declared one is no change against the definition, such as whole numbers for a
    fraction, or any text of a CSV file for a time. Against the ingestion before, every difference is one.

    Args:
        source: Its format decides what can be read as what.
        schema: Types by column that rows are read as.
        found: Types by column that the source has now; those of text are guessed from the first rows.
        previous: Types found at the ingestion before; None at the first.

    Returns:
        The differences, those against the definition first, by column; as JSON.
    """
    drift = [*_against_definition(source, schema, found)]
    if previous is not None:
        drift += _against_previous(found, previous)
    return [asdict(each) for each in drift]


def _against_definition(
    source: DataSource, schema: Mapping[str, Dtype], found: Mapping[str, str]
) -> Iterator[ColumnDrift]:  # fmt: skip
    declared = "declared" if source.fields else "in the applied definition"
    for name in sorted({*schema, *found}):
        now, wanted = found.get(name), schema.get(name)
        if wanted is None:
            message = f"column '{name}' ({now}) is not {declared}: it is not read"
            yield ColumnDrift(name, "added", "definition", None, now, message)
        elif now is None:
            message = f"column '{name}' ({wanted}) is {declared} and not there: its values are null"
            yield ColumnDrift(name, "removed", "definition", wanted, None, message)
        elif not _can_be_read(source, name, now, wanted):
            message = f"column '{name}' is {declared} as {wanted} and found as {now}"
            yield ColumnDrift(name, "changed", "definition", wanted, now, message)


def _against_previous(found: Mapping[str, str], previous: Mapping[str, str]) -> Iterator[ColumnDrift]:
    for name in sorted({*previous, *found}):
        now, before = found.get(name), previous.get(name)
        if before is None:
            message = f"column '{name}' ({now}) is new since the ingestion before"
            yield ColumnDrift(name, "added", "previous", None, now, message)
        elif now is None:
            message = f"column '{name}' ({before}) was there at the ingestion before and is gone"
            yield ColumnDrift(name, "removed", "previous", before, None, message)
        elif now != before and _NO_VALUE not in (now, before):
            message = f"column '{name}' is {now}, at the ingestion before it was {before}"
            yield ColumnDrift(name, "changed", "previous", before, now, message)


def _can_be_read(source: DataSource, name: str, now: str, wanted: str) -> bool:
    if now in (wanted, _NO_VALUE) or wanted == "string" or (now, wanted) in _READABLE:
        return True
    if wanted == "timestamp":
        is_text = now == "string" and (source.format in _TEXT_FORMATS or name in (source.event_time, source.known_time))
        return is_text or (source.time_format is not None and now in ("int64", "string"))
    return False
