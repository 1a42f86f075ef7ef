"""The transforms of a source that see values: applied to columns as read, in the order of their declaration.

Called by `column_reading` for every part, and by `source_schema` to find out the types of computed columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import Dtype
from gnomon.contracts.sources import DataSource
from gnomon.contracts.transform_rules import check_steps
from gnomon.contracts.transforms import Clip, Compute, Fill, NullIf, Transform
from gnomon.data.casting import ARROW_TYPES, Mask, Reading, as_mask
from gnomon.errors import GnomonError, InvalidDefinition
from gnomon.features.expressions import evaluate


def apply_value_steps(source: DataSource, readings: dict[str, Reading], rows: int, changed: list[int]) -> None:
    """Change the values of columns, and add those that are computed.

    What could not be read stays marked as such, and is not filled.

    Args:
        source: Has the steps.
        readings: Columns by name; the new values are put here.
        rows: How many they have.
        changed: By position of the step; how many values each step changes, or computes, is added.

    Raises:
        InvalidDefinition: An expression cannot be computed of these columns.
    """
    for position, step in enumerate(source.transforms):
        if isinstance(step, Compute):
            values = _computed(source, step, {name: reading.values for name, reading in readings.items()}, rows)
            nothing = np.zeros(rows, dtype=bool)
            readings[step.column] = Reading(values, nothing, nothing)
            changed[position] += len(values) - values.null_count
        elif not step.is_of_text():
            for name in step.columns():
                values, mask = _applied(step, readings[name])
                readings[name] = replace(readings[name], values=values)
                changed[position] += int(mask.sum())


def with_computed(source: DataSource, schema: Mapping[str, Dtype]) -> dict[str, Dtype]:
    """Add the types of computed columns, and check all transforms against the types of their columns.

    Args:
        source: Has the steps.
        schema: Types of the columns that are read.

    Returns:
        The same with the computed columns after the others.

    Raises:
        InvalidDefinition: A step does not fit its columns, or a computed column is declared as another type.
    """
    types = dict(schema)
    for step in source.transforms:
        if isinstance(step, Compute):
            types[step.column] = _type_of(_computed(source, step, _empty(types), 0).type)
    try:
        check_steps(source.transforms, source.event_columns(), types)
    except ValueError as error:
        raise InvalidDefinition(f"source '{source.name}': {error}") from error
    return types


def _computed(source: DataSource, step: Compute, columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
    try:
        values = evaluate(step.expression, columns, rows)
    except GnomonError as error:
        raise InvalidDefinition(
            f"source '{source.name}': transform {step.label()}: {error.message}", error.hint
        ) from error
    declared = source.fields[step.column].dtype if step.column in source.fields else _type_of(values.type)
    if values.type != ARROW_TYPES[declared] and (declared, values.type) != ("float64", pa.int64()):
        raise InvalidDefinition(
            f"source '{source.name}': transform {step.label()} gives {_type_of(values.type)}, "
            f"the column is declared as {declared}",
            "declare it as what it gives, or leave it out of fields",
        )
    return pc.cast(values, ARROW_TYPES[declared], safe=False)


def _applied(step: Transform, reading: Reading) -> tuple[pa.Array, Mask]:
    """Return the new values and a mark where they are new."""
    values = reading.values
    if isinstance(step, Fill):
        mask = as_mask(values.is_null()) & ~reading.unreadable
        return pc.if_else(pa.array(mask), _constant(step.value, values), values), mask
    if isinstance(step, NullIf):
        mask = as_mask(
            pc.is_in(values, value_set=pa.array([_constant(v, values).as_py() for v in step.values], values.type))
        )
        return pc.if_else(pa.array(mask), pa.scalar(None, values.type), values), mask
    assert isinstance(step, Clip), step
    changed: Mask = np.zeros(len(values), dtype=bool)
    for bound, beyond in ((step.min, pc.less), (step.max, pc.greater)):
        if bound is not None:
            mask = as_mask(beyond(values, _constant(bound, values)))
            values, changed = pc.if_else(pa.array(mask), _constant(bound, values), values), changed | mask
    return values, changed


def _constant(value: Any, values: pa.Array) -> pa.Scalar:
    return pa.scalar(float(value) if pa.types.is_floating(values.type) else value, values.type)


def _empty(types: Mapping[str, Dtype]) -> dict[str, pa.Array]:
    return {name: pa.array([], ARROW_TYPES[dtype]) for name, dtype in types.items()}


def _type_of(arrow_type: pa.DataType) -> Dtype:
    return next(dtype for dtype, known in ARROW_TYPES.items() if known == arrow_type)
