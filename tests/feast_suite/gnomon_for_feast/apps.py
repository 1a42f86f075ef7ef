"""A Feast feature view as a Gnomon app of one view. Called by the online and the offline store of the plugin.

Names of Feast are free text and names of Gnomon are not: features are numbered, and views have a digest where their
name does not fit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from gnomon.contracts.apps import App
from gnomon.contracts.columns import Dtype
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import Column, FeatureView
from gnomon.contracts.sources import DataSource
from gnomon.contracts.specs import NAME_PATTERN

_TIME = "_time_of_feast"
_TICK = timedelta(microseconds=1)


def name_of(text: str) -> str:
    """Return a name of Gnomon for a name of Feast; different ones for different names."""
    if re.match(NAME_PATTERN, text) and not text.startswith("x_"):
        return text
    return f"x_{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def app_of(
    view: str, source: str, keys: Mapping[str, Dtype], columns: Sequence[tuple[str, Dtype]], ttl: timedelta | None
) -> App:  # fmt: skip
    """Return an app whose one view has the features `f0`, `f1`, … of the given columns.

    Feast still has a value whose age is exactly its ttl, where ours is expired at `max_age`: so that is a microsecond
    longer. A ttl of zero is none.

    Args:
        view: Name of the view, as `name_of` gives it.
        source: Name of its source, and of the table with its rows.
        keys: Key columns with their types, int64 or string.
        columns: Columns of the source with their types.
        ttl: Of the Feast view.
    """
    entity = Entity("entity", key=list(keys))
    rows = DataSource(source, path="rows.parquet", id=list(keys), event_time=_TIME)
    features = [Column(column, name=f"f{number}") for number, (column, _) in enumerate(columns)]
    made = FeatureView(
        view, entity=entity, source=rows, features=features, max_age=ttl + _TICK if ttl else None
    )  # fmt: skip
    schema: dict[str, Dtype] = {_TIME: "timestamp", **keys, **dict(columns)}
    return App.of("feast", [made]).with_schemas({source: schema})


def lookups_of(view: str, columns: Sequence[tuple[str, Dtype]]) -> list[str]:
    """Return what to look up for all columns, in their order."""
    return [f"{view}.f{number}" for number in range(len(columns))]
