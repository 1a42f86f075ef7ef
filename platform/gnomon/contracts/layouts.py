"""ViewLayout: what one feature view stores online, compiled from its definition and its source's types.

Made by `view_layout`; read by the online store, by materialization and by the read plan inside replicas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnomon.contracts.columns import Dtype
from gnomon.contracts.durations import duration_us
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import Aggregation, Column, Constant, Derived, ExpiredPolicy, FeatureView
from gnomon.contracts.specs import content_hash

if TYPE_CHECKING:
    from gnomon.contracts.apps import App

_COUNTS = ("count", "count_distinct", "approx_count_distinct")
_LISTS = ("last_k", "top_k", "approx_top_k")
_MEASURES = ("mean", "std", "var", "quantile", "approx_quantile", "time_since_last")


@dataclass(frozen=True)
class StoredColumn:
    """One feature as stored.

    Attributes:
        name: The feature's name in its view.
        dtype: Its type.
        default: Served instead of an expired or missing value under the policy `default`.
    """

    name: str
    dtype: Dtype
    default: Constant = None


@dataclass(frozen=True)
class ViewLayout:
    """What one view stores per entity.

    Attributes:
        view: Name of the view.
        keys: Key columns with their types, in the order in which they name an entity.
        columns: Features in declaration order; the codec packs them in this order.
        max_age_us: Age from which a value is expired; None means never.
        on_expired: What a read answers for an expired value.
        version: 8 hex digits; differs when anything that changes the stored bytes or their meaning differs.
    """

    view: str
    keys: tuple[tuple[str, Dtype], ...]
    columns: tuple[StoredColumn, ...]
    max_age_us: int | None
    on_expired: ExpiredPolicy
    version: str


def feature_dtype(feature: object, schema: dict[str, Dtype]) -> Dtype:
    """Return the type of a feature.

    Counts are int64, lists are string (JSON); means, deviations, quantiles, ages and all of an expression are float64;
    the rest is as its column.
    """
    if isinstance(feature, Column):
        return schema[feature.column]
    if isinstance(feature, Derived):
        return feature.dtype
    if not isinstance(feature, Aggregation):
        raise TypeError(f"{feature!r} is not a feature")
    if feature.function in _COUNTS:
        return "int64"
    if feature.function in _LISTS:
        return "string"
    if feature.function in _MEASURES or not isinstance(feature.column, str):
        return "float64"
    dtype = schema[feature.column]
    return "int64" if feature.function == "sum" and dtype == "bool" else dtype


def view_layout(app: App, view_name: str) -> ViewLayout:
    """Compile a view of an app whose schemas are resolved.

    Args:
        app: With schemas resolved.
        view_name: The view.

    Returns:
        The layout; equal, version included, for views that store the same bytes in the same meaning.

    Raises:
        NotFound: The app has no such view.
    """
    view = app.get(FeatureView, view_name)
    schema = dict(app.schemas[view.source])
    keys = tuple((key, schema[key]) for entity in view.entity for key in app.get(Entity, entity).key)
    columns = tuple(StoredColumn(f.name, feature_dtype(f, schema), f.default) for f in view.features)
    definition = view.as_json()
    for unstored in ("description", "owner", "tags", "max_age", "on_expired"):
        del definition[unstored]
        for feature in definition["features"]:
            feature.pop(unstored, None)
    definition.pop("freshness", None)  # when values are written, not what they are
    stored = {"view": definition, "keys": keys, "dtypes": [c.dtype for c in columns]}
    return ViewLayout(
        view=view.name,
        keys=keys,
        columns=columns,
        max_age_us=None if view.max_age is None else duration_us(view.max_age),
        on_expired=view.on_expired,
        version=content_hash(stored)[:8],
    )
