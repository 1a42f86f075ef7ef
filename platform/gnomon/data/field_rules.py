"""The rules that a row must keep, each as a mask over the whole column, in the order in which they are reported.

Called by `validation`. Rule names are stored in quarantine tables and counted in reports: `null_id`,
`null_event_time`, `null_known_time`, `future`, and `<rule>:<column>` with the rules `type`, `zone`, `not_null`, `min`,
`max`, `one_of` and `pattern`. (Readers add `cells` and `json` for rows that have no columns at all.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import Dtype
from gnomon.contracts.sources import DataSource, FieldSpec
from gnomon.data.casting import Mask, Reading, as_mask
from gnomon.errors import InvalidDefinition


@dataclass(frozen=True)
class Fault:
    """A rule and the rows that break it.

    Attributes:
        rule: Its name.
        reason: What is true of such a row; `{}` stands for the cell as it is in the file.
        column: The column at fault.
        rows: Marks the rows.
    """

    rule: str
    reason: str
    column: str
    rows: Mask


def broken_rules(
    source: DataSource, schema: Mapping[str, Dtype], readings: Mapping[str, Reading], ids: pa.Array, latest_us: int
) -> list[Fault]:  # fmt: skip
    """Return the rules that are broken by any row.

    Args:
        source: Its id, times and field rules.
        schema: Types of the columns.
        readings: The columns as read.
        ids: Event ids, null where there is none.
        latest_us: Event times after this are refused.

    Returns:
        In the order in which they are reported; a row may break several.

    Raises:
        InvalidDefinition: A rule itself cannot be applied.
    """
    faults = [*_cell_faults(schema, readings), *_event_faults(source, readings, ids, latest_us)]
    for name, field in source.fields.items():
        faults.extend(_field_faults(source, name, field, readings[name].values))
    return [fault for fault in faults if fault.rows.any()]


def _cell_faults(schema: Mapping[str, Dtype], readings: Mapping[str, Reading]) -> Iterator[Fault]:
    for name, reading in readings.items():
        zone_hint = "is a time without a zone, and the source declares none (timezone=)"
        yield Fault(f"zone:{name}", f"{name} '{{}}' {zone_hint}", name, reading.zoneless)
        unreadable = reading.unreadable & ~reading.zoneless
        yield Fault(f"type:{name}", f"{name} '{{}}' cannot be read as {schema[name]}", name, unreadable)


def _event_faults(
    source: DataSource, readings: Mapping[str, Reading], ids: pa.Array, latest_us: int
) -> Iterator[Fault]:  # fmt: skip
    columns = " and ".join(source.id)
    yield Fault("null_id", f"the event has no id in {columns}", source.id[0], as_mask(ids.is_null()))
    time = readings[source.event_time].values
    yield Fault(
        "null_event_time", f"the event has no time in {source.event_time}", source.event_time, as_mask(time.is_null())
    )
    future = as_mask(pc.greater(time.cast(pa.int64()), latest_us))
    yield Fault("future", f"the event time {source.event_time} {{}} lies in the future", source.event_time, future)
    if source.known_time is not None:
        known = readings[source.known_time].values
        yield Fault(
            "null_known_time",
            f"the row has no known time in {source.known_time}",
            source.known_time,
            as_mask(known.is_null()),
        )


def _field_faults(source: DataSource, name: str, field: FieldSpec, values: pa.Array) -> Iterator[Fault]:
    if not field.nullable:
        yield Fault(f"not_null:{name}", f"{name} is null", name, as_mask(values.is_null()))
    if field.min is not None:
        yield Fault(
            f"min:{name}",
            f"{name} {{}} is below {field.min:g}",
            name,
            as_mask(pc.less(values, bound_of(field.min, values))),
        )
    if field.max is not None:
        above = as_mask(pc.greater(values, bound_of(field.max, values)))
        yield Fault(f"max:{name}", f"{name} {{}} is above {field.max:g}", name, above)
    if field.one_of:
        reason = f"{name} '{{}}' is none of {listed(field.one_of)}"
        yield Fault(f"one_of:{name}", reason, name, unlisted(source, name, field.one_of, values))
    if field.pattern is not None:
        reason = f"{name} '{{}}' does not match {field.pattern}"
        yield Fault(f"pattern:{name}", reason, name, unmatched(source, name, field.pattern, values))


def listed(allowed: Sequence[str | int]) -> str:
    """Return the first allowed values as text."""
    return ", ".join(str(value) for value in allowed[:8]) + ("…" if len(allowed) > 8 else "")


def unlisted(source: DataSource, name: str, allowed: Sequence[str | int], values: pa.Array) -> Mask:
    """Mark the values of a column that are neither null nor among the allowed ones.

    Args:
        source: Named in the error.
        name: The column.
        allowed: Values that can be cast to the column's type.
        values: The column.

    Returns:
        As many marks, in the same order.

    Raises:
        InvalidDefinition: The allowed values are of another type.
    """
    try:
        value_set = pa.array(allowed).cast(values.type)
    except (pa.ArrowException, TypeError) as error:
        raise InvalidDefinition(
            f"source '{source.name}': one_of {list(allowed)} of field '{name}' do not fit type {values.type}",
            f"list values of type {values.type}",
        ) from error
    other: Mask = as_mask(values.is_valid()) & ~as_mask(pc.is_in(values, value_set=value_set))
    return other


def bound_of(bound: float, values: pa.Array) -> pa.Scalar:
    """Compare whole bounds with integers as integers: a float would round large ones."""
    whole = pa.types.is_integer(values.type) and float(bound).is_integer() and abs(bound) < 2**63
    return pa.scalar(int(bound) if whole else float(bound))


def unmatched(source: DataSource, name: str, pattern: str, values: pa.Array) -> Mask:
    """Mark the texts that are not null and that the pattern does not match as a whole.

    Args:
        source: Named in the error.
        name: The column.
        pattern: RE2 regular expression.
        values: The column, of text.

    Returns:
        As many marks, in the same order.

    Raises:
        InvalidDefinition: The pattern is none, or the column holds no text.
    """
    try:
        matched = pc.match_substring_regex(values, rf"\A(?:{pattern})\z")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidDefinition(
            f"source '{source.name}': pattern '{pattern}' of field '{name}' cannot be used: {error}",
            "patterns are RE2 regular expressions, without look-around",
        ) from error
    return np.asarray(as_mask(values.is_valid()) & ~as_mask(matched), dtype=bool)
