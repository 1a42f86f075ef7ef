"""Feature services of Feast as lists of features that a model may be given. Called by `importer` last.

Gnomon has no feature service: which features are used is part of a model, and so is whose it is. A service becomes a
variable for `gn.Model(features=…)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gnomon.importing.app_text import Raw, Statement, quoted
from gnomon.importing.entity_mapping import ImportState
from gnomon.importing.findings import Reading
from gnomon.importing.names import gnomon_name
from gnomon.importing.recordings import FeastObject, Projection
from gnomon.importing.view_mapping import ViewPart


def map_services(
    objects: Iterable[FeastObject], views: Mapping[FeastObject, ViewPart],
    on_demand: Mapping[FeastObject, Mapping[str, str]], state: ImportState,
) -> list[Statement]:  # fmt: skip
    """Map services.

    Args:
        objects: All of the repository.
        views: What the feature views became.
        on_demand: Variables of the request features by their names in Feast, by on-demand view.
        state: Gets the findings.

    Returns:
        A list of features for each that has at least one of them here.
    """
    statements = []
    for obj in objects:
        reading = Reading(obj)
        reading.take("name")
        description = reading.text("description")
        notes: list[str] = []
        entries: list[Raw] = []
        for value in reading.take("features") or []:
            entries += _entries(obj, value, views, on_demand, notes, state)
        if not entries:
            state.findings.leave(obj, "none of its features has one")
            continue
        variable = state.variables.take(gnomon_name(obj.name), f"{gnomon_name(obj.name)}_features")
        notes = [
            f"Feast feature service '{obj.name}'{': ' + description if description else ''}. "
            f"Use it as gn.Model(…, features={variable}).",
            *notes,
            *reading.name_rest(state.findings),
        ]
        statements.append(Statement(variable, list(dict.fromkeys(entries)), notes))
        state.findings.took(obj, f"features={variable} of a Model")
    return statements


def _entries(
    service: FeastObject, value: Any, views: Mapping[FeastObject, ViewPart],
    on_demand: Mapping[FeastObject, Mapping[str, str]], notes: list[str], state: ImportState,
) -> list[Raw]:  # fmt: skip
    if isinstance(value, str):
        return _by_name(service, value, views, on_demand, notes, state)
    view = value.of if isinstance(value, Projection) else value
    changes = value.changes if isinstance(value, Projection) else {}
    name = (view.name or view.kind) if isinstance(view, FeastObject) else str(value)
    part = f"view '{name}' of "
    if changes.get("join_key_map"):
        reason = "a model joins a view by the view's own keys: define another view, of another entity"
        notes.append(state.findings.leave(service, reason, part=part))
        return []
    if changes.get("name_alias"):
        note = f"its features are not called by '{changes['name_alias']}'"
        notes.append(state.findings.differ(service, note, part=part))
    wanted = changes.get("features")
    if view in views:
        return _of_view(service, views[view], name, wanted, notes, state)
    if view in on_demand:
        names = on_demand[view]
        return [
            Raw(names[feature])
            for feature in (wanted or names)
            if feature in names or _lost(service, feature, name, notes, state)
        ]
    notes.append(state.findings.leave(service, "the view itself has none", part=part))
    return []


def _of_view(
    service: FeastObject, part: ViewPart, name: str, wanted: list[str] | None, notes: list[str], state: ImportState
) -> list[Raw]:  # fmt: skip
    if wanted is None:
        return [Raw(part.variable)]
    return [
        Raw(f"{part.variable}[{quoted(part.features[feature][0])}]")
        for feature in wanted
        if feature in part.features or _lost(service, feature, name, notes, state)
    ]


def _lost(service: FeastObject, feature: str, view: str, notes: list[str], state: ImportState) -> bool:
    part = f"feature '{feature}' of view '{view}' in "
    notes.append(state.findings.leave(service, "the feature itself has none", part=part))
    return False


def _by_name(
    service: FeastObject, text: str, views: Mapping[FeastObject, ViewPart],
    on_demand: Mapping[FeastObject, Mapping[str, str]], notes: list[str], state: ImportState,
) -> list[Raw]:  # fmt: skip
    """Return what a text such as `view`, `view:feature` or `view@v2:feature` stands for."""
    full, _, feature = text.partition(":")
    name, _, version = full.partition("@")
    if version not in ("", "latest"):
        reason = "there is one version of a view in an app file"
        notes.append(state.findings.leave(service, reason, part=f"version '{version}' of view '{name}' of "))
    view = next((obj for obj in (*views, *on_demand) if obj.name == name), None)
    if view is None:
        notes.append(state.findings.leave(service, "the view itself has none", part=f"view '{name}' of "))
        return []
    value = Projection(view, {"features": [feature]}) if feature else view
    return _entries(service, value, views, on_demand, notes, state)
