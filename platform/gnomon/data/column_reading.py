"""Reads the columns of a part as a source's types, with its transforms applied.

Called by `validation`. Steps on text come between the cells of the file and their reading, the others after it; so the
rules, the content digest and the table see transformed rows, and quarantine keeps the row as it was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import Dtype
from gnomon.contracts.sources import DataSource
from gnomon.contracts.transforms import computed_columns
from gnomon.data.casting import Reading, flat, read_cells, undecodable
from gnomon.data.raw_rows import RawRows
from gnomon.data.text_steps import cleansed, read_cleansed, text_steps
from gnomon.data.time_casting import read_times
from gnomon.data.value_steps import apply_value_steps
from gnomon.errors import InvalidInput


@dataclass(frozen=True)
class ColumnsRead:
    """The columns of a part.

    Attributes:
        readings: By name, in the order of the schema; as they are after all transforms.
        texts: Cells after the transforms of text, of the columns that have some.
        revalued: The columns whose values were changed, or made, after they were read.
        changed: How many values each transform changed, in the order of declaration.
    """

    readings: Mapping[str, Reading]
    texts: Mapping[str, pa.Array]
    revalued: frozenset[str]
    changed: tuple[int, ...]

    def quoted(self, raw: RawRows, column: str, positions: npt.NDArray[np.int64]) -> list[Any]:
        """Return cells as a reason is to quote them: as the rules saw them, else as they stand in the file.

        Args:
            raw: What was read.
            column: Name of a column.
            positions: Of the rows.

        Returns:
            As many cells; None where the part has no such column.
        """
        written = self.texts.get(column, raw.columns.get(column))
        cells = pa.nulls(len(positions)) if written is None else flat(written.take(positions))
        if column in self.revalued:
            values = self.readings[column].values.take(positions)
            cells = pc.coalesce(read_cells(values, "string").values, read_cells(cells, "string").values)
        return list(cells.to_pylist())


def read_columns(raw: RawRows, source: DataSource, schema: Mapping[str, Dtype]) -> ColumnsRead:
    """Read all columns.

    Args:
        raw: What a reader found in the part.
        source: Its times, and its transforms.
        schema: Types of all columns, computed ones included.

    Returns:
        The columns, with what cannot be read marked.

    Raises:
        InvalidInput: A column holds lists or objects.
        InvalidDefinition: A transform cannot be applied.
    """
    readings: dict[str, Reading] = {}
    texts: dict[str, pa.Array] = {}
    changed = [0] * len(source.transforms)
    computed = computed_columns(source.transforms)
    for name, dtype in schema.items():
        if name not in computed:
            readings[name] = _read(raw, name, dtype, source, texts, changed)
    apply_value_steps(source, readings, raw.rows, changed)
    revalued = frozenset(name for step in source.transforms if not step.is_of_text() for name in step.columns())
    return ColumnsRead({name: readings[name] for name in schema}, texts, revalued, tuple(changed))


def _read(
    raw: RawRows, name: str, dtype: Dtype, source: DataSource, texts: dict[str, pa.Array], changed: list[int]
) -> Reading:  # fmt: skip
    if name not in raw.columns:
        return read_cells(pa.nulls(raw.rows), dtype)
    column = raw.columns[name]
    cells = flat(column)
    if pa.types.is_nested(cells.type):
        raise InvalidInput(
            f"source '{source.name}': column '{name}' holds {cells.type}, not {dtype}", "leave it out of fields"
        )
    lost = undecodable(column, cells)
    if any(text_steps(source, name)):
        if dtype == "string":
            cells = read_cells(cells, "string").values
        if cells.type == pa.string():
            texts[name] = cells = cleansed(source, name, cells, changed)
        elif dtype != "timestamp":
            reading = read_cleansed(source, name, cells, dtype, changed)
            return Reading(reading.values, reading.unreadable | lost, reading.zoneless)
    is_event = name in (source.event_time, source.known_time)
    reading = read_times(cells, source, is_event=is_event) if dtype == "timestamp" else read_cells(cells, dtype)
    return Reading(reading.values, reading.unreadable | lost, reading.zoneless)
