"""What takes the place of missing and expired values, so that a training row equals what would have been served.

Called by `view_rows`. The rules:

- A view of columns alone has one time per row, the newest event's. A value whose age has reached `max_age` is expired,
  as online: null under `null` and `reject` (a training set has nobody to refuse), the declared default under `default`,
  as it is under `serve`. A missing row gives the default under `default` and null otherwise. Derived features are
  computed from the values as they are and expire with them. A null that the newest row holds stays null.
- A view with an aggregation is computed anew for the time asked. Its columns expire by their own row's age first;
  windows and what is derived never expire here, because they are of the time asked itself. Online such a row carries
  the time of its materialization, so that there `max_age` bounds how long ago it was computed. An entity that
  was never seen has no row online either: all of its features are missing, also counts, which means the declared
  default under `default` and null otherwise. A count is 0 where an entity is known and its window is empty. (0 for
  whoever is not found would make a store that has lost its rows look like a world without events.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.features import AnyFeature, FeatureView
from gnomon.errors import InvalidDefinition
from gnomon.features.event_columns import Flags


def hide_rows(
    view: FeatureView, features: Sequence[AnyFeature], values: dict[str, pa.Array], found: Flags, old: Flags
) -> dict[str, pa.Array]:  # fmt: skip
    """Return the values with null or default where the row is missing or expired.

    Args:
        view: Gives the policy.
        features: Which of the values to treat; the others are left out.
        values: By feature name, one per request.
        found: Whether there is a visible row.
        old: Whether the row's age has reached `max_age`.

    Returns:
        Columns of the same length, by feature name.
    """
    hidden = ~found if view.on_expired == "serve" else ~found | old
    if not hidden.any():
        return {f.name: values[f.name] for f in features}
    return {f.name: _replaced(view, f, values[f.name], hidden) for f in features}


def hide_missing(
    view: FeatureView, features: Sequence[AnyFeature], values: dict[str, pa.Array], found: Flags
) -> dict[str, pa.Array]:  # fmt: skip
    """Return the values of a view with windows, with null or default for entities without a row."""
    missing = ~found
    if not missing.any():
        return values
    return {f.name: _replaced(view, f, values[f.name], missing) for f in features}


def _replaced(view: FeatureView, feature: AnyFeature, values: pa.Array, hidden: Flags) -> pa.Array:
    default = feature.default if view.on_expired == "default" else None
    try:
        scalar = pa.scalar(default, values.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidDefinition(
            f"feature_view '{view.name}': the default {default!r} of feature '{feature.name}' is not {values.type}",
            "give a default of the feature's type",
        ) from error
    return pc.if_else(pa.array(np.asarray(hidden)), scalar, values)
