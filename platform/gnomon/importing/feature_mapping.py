"""The features of a view: fields as columns, aggregations as aggregations. Called by `view_mapping`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from gnomon.contracts.columns import Dtype
from gnomon.contracts.durations import format_duration
from gnomon.importing.app_text import Call
from gnomon.importing.dtypes import dtype_of, is_unknown, why_none
from gnomon.importing.entity_mapping import KEY_DTYPES, ImportState
from gnomon.importing.file_columns import columns_of_file, is_dtype
from gnomon.importing.findings import Reading
from gnomon.importing.names import Names
from gnomon.importing.recordings import FeastObject
from gnomon.importing.source_mapping import SourcePart

_FUNCTIONS = {
    "sum": "sum", "max": "max", "min": "min", "count": "count", "mean": "mean", "avg": "mean", "std": "std",
    "stddev": "std", "var": "var", "count_distinct": "count_distinct", "nunique": "count_distinct", "first": "first",
    "last": "last",
}  # fmt: skip
_WHOLE = ("count", "count_distinct")
_FRACTIONS = ("mean", "std", "var")


@dataclass
class Features:
    """The features of a view on their way into the app file.

    Attributes:
        calls: Their definitions.
        names: Name here and type by the name in Feast; the type is None where the data tell it.
        columns: Types that the source's columns are declared as.
        keys: Types that the view declares its key columns as.
        lost: Names in Feast of features that have no counterpart.
        notes: Comments.
        all_typed: Whether every column that is read has a declared type.
    """

    calls: list[Call] = field(default_factory=list)
    names: dict[str, tuple[str, Dtype | None]] = field(default_factory=dict)
    columns: dict[str, Dtype] = field(default_factory=dict)
    keys: dict[str, Dtype] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    all_typed: bool = True


def map_features(
    view: FeastObject, reading: Reading, source: SourcePart, keys: list[str], state: ImportState
) -> Features:
    """Map the features of a view.

    Args:
        view: The view.
        reading: Of the view; schema and aggregations are taken from it.
        source: Its source; only looked at.
        keys: Key columns of its entities.
        state: Gets the findings.

    Returns:
        The features; none where no field of the schema has a counterpart.
    """
    fields = [item for item in reading.take("schema", "features") or [] if isinstance(item, FeastObject)]
    aggregations = [item for item in reading.take("aggregations") or [] if isinstance(item, FeastObject)]
    mapping = _FeatureMapping(view, source, keys, state, Names(coming=(item.name for item in fields)))
    for item in aggregations:
        mapping.add_aggregation(item, fields)
    for item in fields:
        if item.name not in mapping.found.names and item.name not in mapping.found.lost:
            mapping.add_field(item, aggregated=bool(aggregations))
    if not fields and not aggregations:
        mapping.add_columns_of_files()
    return mapping.found


class _FeatureMapping:
    """Adds one feature after the other to what was found."""

    def __init__(
        self, view: FeastObject, source: SourcePart, keys: list[str], state: ImportState, names: Names
    ) -> None:
        self.found = Features()
        self._view, self._source, self._keys, self._state = view, source, keys, state
        self._names = names

    def add_field(self, item: FeastObject, *, aggregated: bool) -> None:
        """Add a field of the schema: a key's type, a column, or what has no counterpart."""
        reading = Reading(item)
        reading.take("name")
        given = reading.take("dtype")
        dtype = dtype_of(given)
        column = self._source.column(item.name)
        if item.name in self._keys:
            if dtype is not None:
                self.found.keys[item.name] = dtype
        elif dtype is None and not is_unknown(given):
            self._lose(item.name, why_none(given))
        elif aggregated:
            self._lose(item.name, "no aggregation of the view makes it")
        elif column in self._source.keys and dtype not in (None, *KEY_DTYPES):
            self._lose(item.name, f"its column is {dtype}, and a key in another view of the source")
        elif dtype is not None and self._source.clashes(column, dtype):
            other = self._source.types[column]
            self._lose(item.name, f"its column is {dtype}, and {other} in another view of the source")
        else:
            self._add_column(item.name, column, dtype, self._state.spoken(reading))
            for setting in [name for name in item.fields if name.startswith("vector_")]:
                if reading.take(setting):
                    note = self._state.findings.leave(
                        self._view, "there is no search by vectors", part=f"{setting} of feature '{item.name}' of "
                    )
                    self.found.notes.append(note)
            self.found.notes += reading.name_rest(self._state.findings)

    def add_columns_of_files(self) -> None:
        """Add all columns that the files have, as Feast does for a view without a schema."""
        called = {column: name for name, column in self._source.columns.items()}
        for column, dtype in columns_of_file(self._source.place, self._state.folder).items():
            name = called.get(column, column)
            if name in self._keys or column in (self._source.event_time, self._source.known_time):
                continue
            if is_dtype(dtype) or dtype == "null":
                self._add_column(name, column, dtype if is_dtype(dtype) else None, {})
            else:
                self._lose(name, f"there is no type {dtype}")

    def add_aggregation(self, item: FeastObject, fields: list[FeastObject]) -> None:
        """Add an aggregation under the name that Feast gives it."""
        reading = Reading(item)
        column, function = reading.text("column"), reading.text("function")
        window, slide = reading.take("time_window"), reading.take("slide_interval")
        name = reading.text("name") or _aggregation_name(column, function, window, {field.name for field in fields})
        if function not in _FUNCTIONS:
            self._lose(name, f"there is no statistic '{function}'")
        elif not isinstance(window, timedelta) or window <= timedelta(0):
            self._lose(name, "it has no time_window, and an aggregation here has one")
        else:
            here = self._named(name)
            if slide not in (None, window):
                self._differ(name, f"its window slides with every event, not by {format_duration(slide)}")
            statistic = _FUNCTIONS[function]
            values = (self._source.column(column) if column else "*", statistic)
            spoken = next((self._state.spoken(Reading(field)) for field in fields if field.name == name), {})
            given = {"window": format_duration(window), "name": here, **spoken}
            self.found.calls.append(Call("gn.Aggregation", values, given))
            dtype: Dtype | None = "int64" if statistic in _WHOLE else "float64" if statistic in _FRACTIONS else None
            self.found.names[name] = (here, dtype)
            self.found.all_typed = False

    def _add_column(self, name: str, column: str, dtype: Dtype | None, spoken: Mapping[str, Any]) -> None:
        here = self._named(name)
        self.found.calls.append(Call("gn.Column", (column,), {"name": here if here != column else None, **spoken}))
        self.found.names[name] = (here, dtype)
        if dtype is None:
            self.found.all_typed = False
        else:
            self.found.columns[column] = dtype

    def _named(self, name: str) -> str:
        here = self._names.take_for(name)
        if here != name:
            self._differ(name, f"it is named '{here}'")
        return here

    def _lose(self, name: str, reason: str) -> None:
        self.found.lost.add(name)
        self.found.notes.append(self._state.findings.leave(self._view, reason, part=f"feature '{name}' of "))

    def _differ(self, name: str, note: str) -> None:
        self.found.notes.append(self._state.findings.differ(self._view, note, part=f"feature '{name}' of "))


def _aggregation_name(column: str, function: str, window: Any, declared: set[str]) -> str:
    """Return the name that Feast gives an aggregation: with the window's seconds only where the schema has it so."""
    plain = f"{function}_{column}"
    long = f"{plain}_{int(window.total_seconds())}s" if isinstance(window, timedelta) else plain
    return long if long in declared and plain not in declared else plain
