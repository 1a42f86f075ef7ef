"""What a feature view needs: keys, source columns, features in the order in which they can be computed.

Called by `view_rows` to compute, and by `view_events` to read no more than that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gnomon.contracts.apps import App
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import Aggregation, AnyFeature, Column, Derived, FeatureView
from gnomon.errors import unknown_name
from gnomon.features.window_edges import WindowEdges


def view_keys(app: App, view: FeatureView) -> tuple[str, ...]:
    """Return the key columns that name an entity of the view, in order."""
    return tuple(dict.fromkeys(key for entity in view.entity for key in app.get(Entity, entity).key))


def has_windows(view: FeatureView) -> bool:
    """Tell whether the view has an aggregation, so that its values are of the time at which they are computed."""
    return any(isinstance(f, Aggregation) for f in view.features)


def longest_window_us(view: FeatureView) -> int | None:
    """Return how far back the view's values depend on event times; None where an event of any age may count."""
    windows = [WindowEdges.of(f).reach_us for f in view.features if isinstance(f, Aggregation)]
    if not windows or any(isinstance(f, Column) for f in view.features):
        return None
    return max(windows)


def needed_features(view: FeatureView, names: Sequence[str] | None) -> list[AnyFeature]:
    """Return the named features (all by default) and those that they are derived from, derived ones last.

    Args:
        view: The view.
        names: Features in any order; None means all.

    Returns:
        Stored features in the view's order, then derived ones in the view's order.

    Raises:
        NotFound: The view has no feature of that name.
    """
    by_name = {f.name: f for f in view.features}
    wanted = set(by_name if names is None else names)
    for name in sorted(wanted):
        if name not in by_name:
            raise unknown_name(f"feature in view '{view.name}'", name, by_name)
        feature = by_name[name]
        wanted |= feature.expression.columns() if isinstance(feature, Derived) else set()
    chosen = [f for f in view.features if f.name in wanted]
    return sorted(chosen, key=lambda f: isinstance(f, Derived))


def source_columns(features: Iterable[AnyFeature]) -> tuple[str, ...]:
    """Return the source columns that the features read, sorted and without repeats."""
    read: set[str] = set()
    for feature in features:
        if isinstance(feature, Column):
            read.add(feature.column)
        elif isinstance(feature, Aggregation):
            read |= feature.where.columns() if feature.where is not None else set()
            if not isinstance(feature.column, str):
                read |= feature.column.columns()
            elif feature.column != "*":
                read.add(feature.column)
    return tuple(sorted(read))
