"""Derived features as subjects of `feature_properties`, and what values a view's features can have.

Called by `gnomon test-features`. A derived feature is computed for all entities at once by a training set and a
materialization, and for a few by the stream consumer; what is served has been packed and unpacked besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME, Dtype
from gnomon.contracts.features import Aggregation, AnyFeature, Column, Derived, FeatureView
from gnomon.contracts.layouts import StoredColumn, ViewLayout, feature_dtype
from gnomon.contracts.sources import DataSource
from gnomon.features.codec import decode, encode
from gnomon.features.drawn_values import Domain
from gnomon.features.expression_kernels import ARROW_TYPES, without_nan
from gnomon.features.smallest_rows import Row
from gnomon.features.view_rows import derive

_NEVER_NEGATIVE = ("count", "count_distinct", "approx_count_distinct", "std", "var", "time_since_last")
_OF_THE_COLUMN = ("min", "max", "first", "last", "mean", "quantile", "approx_quantile")


class DerivedSubject:
    """A derived feature.

    Args:
        app: With the types of the columns that the view reads.
        view: Its view.
        feature: Itself.

    Attributes:
        name: `view.feature`.
        kind: `derived`.
        domains: Of the features that it reads, by their names.
    """

    kind = "derived"

    def __init__(self, app: App, view: FeatureView, feature: Derived) -> None:
        self.name = f"{view.name}.{feature.name}"
        read = feature.expression.columns()
        self.domains: Mapping[str, Domain] = {
            f.name: feature_domain(app, view, f) for f in view.features if f.name in read
        }
        self._feature = feature
        self._layout = bare_layout(view.name, [(feature.name, feature.dtype)])

    def together(self, rows: Sequence[Row]) -> list[Any]:
        """Compute the rows as one batch."""
        return plain_values(self._computed(rows))

    def alone(self, row: Row) -> Any:
        """Compute one row, pack it as the online store does, and unpack it."""
        name = self._feature.name
        (value,) = decode(self._layout, [packed_row(self._layout, {name: self._computed([row])})], [name])[
            name
        ].tolist()
        return None if value != value else value

    def changed_input(self, rows: Sequence[Row]) -> str | None:
        """Return None: an expression changes nothing."""
        return None

    def _computed(self, rows: Sequence[Row]) -> pa.Array:
        return derive(self._feature, arrow_columns(self.domains, rows), len(rows))


def feature_domain(app: App, view: FeatureView, feature: AnyFeature) -> Domain:
    """Return the values that a feature of a view can have, by its kind and the rules of its column.

    Args:
        app: With the types of the columns that the feature reads.
        view: Its view.
        feature: Any feature of it.

    Returns:
        Null is always among them: an entity may be unknown.
    """
    dtype = feature_dtype(feature, dict(app.schemas[view.source]))
    also = () if feature.default is None or view.on_expired != "default" else (feature.default,)
    if isinstance(feature, Column):
        return _column_domain(app, view, feature.column, dtype, also)
    if not isinstance(feature, Aggregation):
        return Domain(dtype, also=also)
    if feature.function in ("last_k", "top_k", "approx_top_k"):
        named = isinstance(feature.column, str)
        of = app.schemas[view.source][str(feature.column)] if named else "float64"
        return Domain("string", list_of=_column_domain(app, view, str(feature.column), of, ()), also=also)
    if feature.function in _NEVER_NEGATIVE:
        return Domain(dtype, least=0, also=also)
    if feature.function in _OF_THE_COLUMN and isinstance(feature.column, str):
        return _column_domain(app, view, feature.column, dtype, also)
    return Domain(dtype, also=also)


def arrow_columns(domains: Mapping[str, Domain], rows: Sequence[Row]) -> dict[str, pa.Array]:
    """Return drawn rows as a training set would hold them: null for NaN."""
    return {name: _arrow([row[name] for row in rows], domain.dtype) for name, domain in domains.items()}


def plain_values(column: pa.Array) -> list[Any]:
    """Return a column as Python values: null for NaN, times in microseconds."""
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.int64())
    values: list[Any] = without_nan(column).to_pylist()
    return values


def bare_layout(view: str, columns: Sequence[tuple[str, Dtype]]) -> ViewLayout:
    """Return a layout of some columns, to pack them as the online store does."""
    stored = tuple(StoredColumn(name, dtype) for name, dtype in columns)
    return ViewLayout(view, (("row", "int64"),), stored, None, "null", "00000000")


def _column_domain(app: App, view: FeatureView, column: str, dtype: Dtype, also: tuple[Any, ...]) -> Domain:
    """Return what the source's rules leave of a type; rows that break them are in quarantine."""
    rules = app.get(DataSource, view.source).fields.get(column)
    if rules is None:
        return Domain(dtype, also=also)
    choices = rules.one_of if rules.dtype == dtype else ()
    return Domain(dtype, rules.min, rules.max, tuple(choices), also=also)


def _arrow(values: Sequence[Any], dtype: Dtype) -> pa.Array:
    if dtype == "timestamp":
        return pa.array(values, pa.int64()).cast(ARROW_TYPES[dtype])
    return without_nan(pa.array(values, ARROW_TYPES[dtype]))


def packed_row(layout: ViewLayout, columns: Mapping[str, pa.Array]) -> bytes:
    """Pack one row as the online store holds it.

    Args:
        layout: Of `bare_layout`.
        columns: Arrays of one value, by the names of the layout's columns.

    Returns:
        The packed row, of the time 0.
    """
    moment = pa.array([0], pa.int64()).cast(ARROW_TYPES["timestamp"])
    return encode(layout, pa.table({EVENT_TIME: moment, KNOWN_TIME: moment, **columns}))[0]
