"""The transforms of a source that see text: applied to cells as they are written, whole columns at once.

Called by `column_reading` for every part, and by `source_schema` for the rows that types are guessed from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import Dtype
from gnomon.contracts.sources import DataSource
from gnomon.contracts.transforms import Lower, MapValues, NullIf, Replace, Transform, Trim, Upper, computed_columns
from gnomon.data.casting import Mask, Reading, as_mask, read_cells
from gnomon.errors import InvalidDefinition

_NOTHING = pa.scalar(None, pa.string())


def columns_in_files(source: DataSource, schema: Mapping[str, Dtype]) -> dict[str, Dtype]:
    """Return the types of those columns that are read from files, which are all but the computed ones."""
    computed = computed_columns(source.transforms)
    return {name: dtype for name, dtype in schema.items() if name not in computed}


def as_written(source: DataSource, schema: Mapping[str, Dtype]) -> dict[str, Dtype]:
    """Return the types that readers of files are to look for.

    Args:
        source: Its transforms count.
        schema: Types of its columns.

    Returns:
        The same without computed columns, and with text where a step sees a cell as it is written: else JSON's numbers
        would reach it in one form or another, depending on the rows beside them.
    """
    texts = {name for _, step in text_steps(source) for name in step.columns()}
    return {
        name: "string" if name in texts and dtype != "timestamp" else dtype
        for name, dtype in columns_in_files(source, schema).items()
    }  # fmt: skip


def text_steps(source: DataSource, column: str | None = None) -> Iterator[tuple[int, Transform]]:
    """Yield the steps that see text, each with its position among all; only those of a column where one is named."""
    for position, step in enumerate(source.transforms):
        if step.is_of_text() and (column is None or column in step.columns()):
            yield position, step


def check_patterns(source: DataSource) -> None:
    """Raise InvalidDefinition where a step cannot be applied to any text."""
    for _, step in text_steps(source):
        _applied(source, step, pa.array([""]))


def cleansed(source: DataSource, column: str, texts: pa.Array, changed: list[int]) -> pa.Array:
    """Apply a column's steps on text, in order.

    Args:
        source: Has the steps.
        column: Whose they are.
        texts: Its cells; null stays null.
        changed: By position of the step; how many cells each step changes is added.

    Returns:
        As many texts, in the same order.

    Raises:
        InvalidDefinition: A pattern cannot be used.
    """
    for position, step in text_steps(source, column):
        after = _applied(source, step, texts)
        changed[position] += int(differing(texts, after).sum())
        texts = after
    return texts


def differing(before: pa.Array, after: pa.Array) -> Mask:
    """Mark the texts that are not the same before and after, where there was one."""
    return np.asarray(as_mask(before.is_valid()) & as_mask(pc.fill_null(pc.not_equal(before, after), True)), dtype=bool)


def read_cleansed(source: DataSource, column: str, cells: pa.Array, dtype: Dtype, changed: list[int]) -> Reading:
    """Read cells that a file holds as numbers or booleans: those that a step changes from its text, others as they are.

    Args:
        source: Has the steps.
        column: Whose cells they are.
        cells: From `casting.flat`; neither text nor times.
        dtype: What they are read as; neither `string` nor `timestamp`.
        changed: As of `cleansed`.

    Returns:
        As `casting.read_cells`.
    """
    texts = read_cells(cells, "string").values
    after = cleansed(source, column, texts, changed)
    differs = differing(texts, after)
    typed = read_cells(cells, dtype)
    if not differs.any():
        return typed
    mended = read_cells(after, dtype)
    values = pc.if_else(pa.array(differs), mended.values, typed.values)
    return Reading(values, np.where(differs, mended.unreadable, typed.unreadable), typed.zoneless)


def _applied(source: DataSource, step: Transform, texts: pa.Array) -> pa.Array:
    if isinstance(step, Trim):
        return pc.utf8_trim_whitespace(texts)
    if isinstance(step, Lower):
        return pc.utf8_lower(texts)
    if isinstance(step, Upper):
        return pc.utf8_upper(texts)
    if isinstance(step, NullIf):
        return pc.if_else(pc.is_in(texts, value_set=pa.array(step.values, pa.string())), _NOTHING, texts)
    if isinstance(step, MapValues):
        found = pc.index_in(texts, value_set=pa.array(step.values.keys(), pa.string()))
        return pc.coalesce(pa.array(step.values.values(), pa.string()).take(found), texts)
    assert isinstance(step, Replace), step
    try:
        return pc.replace_substring_regex(texts, step.pattern, step.by)
    except pa.ArrowInvalid as error:
        raise InvalidDefinition(
            f"source '{source.name}': transform {step.label()}: '{step.pattern}' by '{step.by}': {error}",
            "patterns are RE2 regular expressions, without look-around; \\1 stands for a group that the pattern has",
        ) from error
