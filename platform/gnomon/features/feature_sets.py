"""Builds feature sets: the features of many entities as of one moment, for predictions in batch.

Called by the operation `export_features`. The values are those that a materialization at that moment would serve then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.columns import KNOWN_TIME, Dtype
from gnomon.contracts.features import FeatureView
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.errors import InvalidInput, did_you_mean
from gnomon.features.event_columns import times_us
from gnomon.features.expression_kernels import ARROW_TYPES
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.view_events import source_version
from gnomon.features.view_plans import view_keys
from gnomon.features.view_rows import REQUEST_TIME

Keys = Sequence[Mapping[str, Any]]
_FORMS: Final = {"int64": "an int64", "string": "a string without halves of surrogate pairs"}


@dataclass(frozen=True)
class FeatureSet:
    """Features as of a moment.

    Attributes:
        keys: Key columns, one row per entity: in the order given, else sorted.
        values: One column per lookup, in the order of the keys; null where nothing is known or all is expired, or the
            default.
        source_versions: Version of each source's table that was read.
    """

    keys: pa.Table
    values: pa.Table
    source_versions: Mapping[str, int]


def build_feature_set(
    app: App, lookups: Sequence[str], offline: OfflineStore, as_of_us: int, *, keys: Keys | None = None,
    keys_from: str | None = None, local_rows: int = 200_000,
) -> FeatureSet:  # fmt: skip
    """Look features up for many entities, as known at one moment.

    Without keys these are all entities that have been seen by then: of each view that has all of the key columns. Where
    no view has, as with one of customers and one of shops, keys or a source to take the combinations from are needed.

    Args:
        app: An app whose schemas are resolved.
        lookups: Features as `view.feature`, at least one.
        offline: Holds the sources' tables.
        as_of_us: The moment, microseconds since the epoch; nothing that became known later is seen.
        keys: These entities, each with every key column of every view; duplicates are kept.
        keys_from: All combinations of keys in the rows of this source that were known by then.
        local_rows: Up to this many rows are joined in this process, see `point_in_time_join`.

    Returns:
        The entities with their features.

    Raises:
        NotFound: A view, feature or source is not defined, or a source has no rows yet.
        InvalidInput: A key is missing or of another type, or keys are needed.
    """
    views = [app.get(FeatureView, name) for name in dict.fromkeys(lookup.partition(".")[0] for lookup in lookups)]
    dtypes = _key_dtypes(app, views)
    given = None if keys is None else _given(keys, dtypes)
    sources = [] if keys_from is None else [app.get(DataSource, keys_from).name]
    versions = {name: source_version(offline, name) for name in sorted({*sources, *(view.source for view in views)})}
    if given is not None:
        entities = given
    else:
        chosen = sources or [v.source for v in views if set(view_keys(app, v)) == set(dtypes)]
        entities = _seen(app, list(dict.fromkeys(chosen)), dtypes, offline, versions, as_of_us)
    moment = pa.array(np.full(entities.num_rows, as_of_us, np.int64))
    requests = entities.append_column(REQUEST_TIME, moment)
    values = point_in_time_join(app, offline, requests, lookups, local_rows=local_rows, versions=versions)
    return FeatureSet(entities, values.combine_chunks(), versions)


def _key_dtypes(app: App, views: Sequence[FeatureView]) -> dict[str, Dtype]:
    return {key: app.schemas[view.source][key] for view in views for key in view_keys(app, view)}


def _seen(
    app: App, sources: Sequence[str], dtypes: Mapping[str, Dtype], offline: OfflineStore, versions: Mapping[str, int],
    as_of_us: int,
) -> pa.Table:  # fmt: skip
    """Return the entities that the sources had shown by a moment, sorted."""
    if not sources:
        raise InvalidInput(
            f"no view has all of the key columns {list(dtypes)}, so that their combinations are not known",
            "give keys, or name a source whose rows have all of them with keys_from",
        )
    found = []
    for source in sources:
        _check_has_keys(source, app.schemas[source], dtypes)
        rows = offline.read(
            source, columns=[*dtypes, KNOWN_TIME], until_us=as_of_us, version=versions[source]
        ).combine_chunks()
        usable = times_us(rows, KNOWN_TIME) <= as_of_us
        named = {key: rows.column(key).cast(ARROW_TYPES[dtype]) for key, dtype in dtypes.items()}
        for column in named.values():
            usable &= np.asarray(pc.is_valid(column))
        found.append(_distinct(pa.table(named).filter(pa.array(usable)), dtypes))
    return _distinct(pa.concat_tables(found), dtypes).sort_by([(key, "ascending") for key in dtypes]).combine_chunks()


def _check_has_keys(source: str, schema: Mapping[str, Dtype], dtypes: Mapping[str, Dtype]) -> None:
    for key, dtype in dtypes.items():
        if key not in schema:
            raise InvalidInput(f"source '{source}' has no key column '{key}'", did_you_mean(key, schema))
        if schema[key] != dtype:
            raise InvalidInput(
                f"key column '{key}' of source '{source}' is {schema[key]}, and that of the features is {dtype}",
                "name a source whose keys have that type, or declare it in the `fields=` of this one",
            )


def _distinct(rows: pa.Table, dtypes: Mapping[str, Dtype]) -> pa.Table:
    return rows.group_by(list(dtypes), use_threads=False).aggregate([])


def _given(keys: Keys, dtypes: Mapping[str, Dtype]) -> pa.Table:
    takes: dict[str, type] = {"int64": int, "string": str}
    for number, row in enumerate(keys):
        if not isinstance(row, Mapping) or set(row) != set(dtypes):
            raise InvalidInput(
                f"key {number} is {_shown(row)}", f"give every entity as its key columns: {list(dtypes)}"
            )
        for name, dtype in dtypes.items():
            value = row[name]
            if not isinstance(value, takes[dtype]) or value is True or value is False or not _fits(value):
                raise InvalidInput(f"key {number}: '{name}' is {_shown(value)}", f"it has to be {_FORMS[dtype]}")
    return pa.table({name: pa.array([row[name] for row in keys], ARROW_TYPES[t]) for name, t in dtypes.items()})


def _fits(value: Any) -> bool:
    if not isinstance(value, str):
        return bool(-(1 << 63) <= value < 1 << 63)
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    return repr(value)[:200]
