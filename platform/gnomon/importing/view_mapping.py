"""Feature views of Feast as feature views of Gnomon. Called by `importer` between the two halves of the sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from gnomon.contracts.columns import Dtype
from gnomon.contracts.durations import format_duration
from gnomon.importing.app_text import Call, Raw, Statement
from gnomon.importing.entity_mapping import KEY_DTYPES, EntityPart, ImportState
from gnomon.importing.feature_mapping import map_features
from gnomon.importing.findings import Reading, kind_of
from gnomon.importing.names import Names
from gnomon.importing.recordings import FeastObject
from gnomon.importing.source_mapping import STREAMS, SourcePart, batch_of, why_untold

VIEWS = ("FeatureView", "BatchFeatureView", "StreamFeatureView")
_FRESHNESS = "1s"
_OF_TRANSFORMATIONS = ("mode", "sink_source", "udf_string")


@dataclass(frozen=True)
class ViewPart:
    """A view that is in the app file: its variable, its name, its features by their names in Feast, with their types.

    `lost` are those of its features that have no counterpart.
    """

    variable: str
    name: str
    features: Mapping[str, tuple[str, Dtype | None]]
    lost: frozenset[str] = field(default_factory=frozenset)


class _NoView(Exception):
    """A view has no counterpart; the message says why."""


def map_views(
    objects: Iterable[FeastObject], sources: Mapping[FeastObject, SourcePart], names: Names, state: ImportState
) -> tuple[dict[FeastObject, ViewPart], list[Statement]]:
    """Map views, and tell their sources which columns they need.

    Args:
        objects: All views of the repository.
        sources: What the sources became.
        names: Names that views and request features share.
        state: Gets the findings.

    Returns:
        A part and a statement for each that has a counterpart.
    """
    parts: dict[FeastObject, ViewPart] = {}
    statements = []
    for obj in objects:
        try:
            parts[obj], statement = _map_view(obj, sources, names, state)
        except _NoView as reason:
            state.findings.leave(obj, str(reason))
            continue
        statements.append(statement)
        state.findings.took(obj, f"FeatureView '{parts[obj].name}'")
    return parts, statements


def _map_view(
    obj: FeastObject, sources: Mapping[FeastObject, SourcePart], names: Names, state: ImportState
) -> tuple[ViewPart, Statement]:
    reading = Reading(obj)
    reading.take("name")
    if reading.take("udf", "feature_transformation"):
        raise _NoView("there are no transformations between source and view: do it where the source is written")
    given = reading.take("source", "batch_source", "stream_source", "input")
    source = _source(given, sources)
    entities = _entities(reading, source, state)
    keys = [key for entity in entities for key in entity.keys]
    features = map_features(obj, reading, source, keys, state)
    if not features.calls:
        if not any(obj.fields.get(name) for name in ("schema", "features", "aggregations")):
            raise _NoView(f"it has no schema, and {why_untold(source.obj, source.place, state)}")
        raise _NoView("none of its features has one")
    _declare_keys(source, entities, features.keys)
    for column, dtype in features.columns.items():
        source.declare(column, dtype)
    source.all_typed = source.all_typed and features.all_typed
    source.keys += [key for key in keys if key not in source.keys]
    if source.column(str(obj.fields.get("timestamp_field", ""))) == source.event_time:
        reading.take("timestamp_field")  # it says what the source says
    name = names.take_for(obj.name)
    variable = state.variables.take(name, f"{name}_view")
    fields = {
        "entity": Raw(entities[0].variable) if len(entities) == 1 else [Raw(e.variable) for e in entities],
        "source": Raw(source.variable),
        "features": features.calls,
        "max_age": _max_age(reading),
        "freshness": _FRESHNESS if _is_fresh(given, obj) else None,
        **state.spoken(reading),
    }
    for setting in _OF_TRANSFORMATIONS:
        reading.take(setting)  # and there is no transformation
    notes = [*state.renamed(obj, name), *features.notes, *reading.name_rest(state.findings)]
    part = ViewPart(variable, name, features.names, frozenset(features.lost))
    return part, Statement(variable, Call("gn.FeatureView", (name,), fields), notes)


def _source(given: Any, sources: Mapping[FeastObject, SourcePart]) -> SourcePart:
    if isinstance(given, list) or (isinstance(given, FeastObject) and given.kind in VIEWS):
        raise _NoView("a view has one source and cannot read other views: read the source of those")
    if not isinstance(given, FeastObject):
        raise _NoView("it has no source")
    batch = batch_of(given)
    if batch is None:
        raise _NoView(f"its {kind_of(given)} '{given.name}' has no batch_source with the history of its rows")
    if batch not in sources:
        raise _NoView(f"its source '{batch.name}' has none")
    return sources[batch]


def _entities(reading: Reading, source: SourcePart, state: ImportState) -> list[EntityPart]:
    found = []
    for value in reading.take("entities") or []:
        shown = value.name if isinstance(value, FeastObject) else value
        entity = state.entity(value)
        if entity is None:
            raise _NoView(f"its entity '{shown}' has none")
        for key in entity.keys:
            if source.column(key) != key:
                raise _NoView(
                    f"the key '{key}' of entity '{shown}' is column '{source.column(key)}' of source "
                    f"'{source.obj.name}': a key has the same name in every source"
                )
        if entity not in found:
            found.append(entity)
    if not found:
        raise _NoView("it has no entity, and a view here is of one: add a column with one value, and an entity of it")
    return found


def _declare_keys(source: SourcePart, entities: list[EntityPart], declared: Mapping[str, Dtype]) -> None:
    for entity in entities:
        for key in entity.keys:
            dtype, known = declared.get(key) or entity.dtype, source.types.get(key)
            for each in (dtype, known):
                if each not in (None, *KEY_DTYPES):
                    raise _NoView(f"its key '{key}' is declared as {each}, and a key is Int64 or String")
            if dtype is not None and known not in (None, dtype):
                raise _NoView(f"its key '{key}' is {dtype}, and {known} in another view of the source")
            if dtype is not None:  # else it is read from the data, for a key is required anyway
                source.declare(key, dtype)


def _max_age(reading: Reading) -> str | None:
    ttl = reading.take("ttl", "max_age")
    if not isinstance(ttl, timedelta) or ttl == timedelta(0):
        return None
    if ttl < timedelta(0):
        raise _NoView(f"its ttl of {ttl} is below zero")
    return format_duration(ttl)


def _is_fresh(given: Any, obj: FeastObject) -> bool:
    if obj.fields.get("online") is False:
        return False
    return obj.kind == "StreamFeatureView" or (isinstance(given, FeastObject) and given.kind in STREAMS)
