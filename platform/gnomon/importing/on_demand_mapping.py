"""On-demand feature views of Feast as request features of Gnomon: their functions go into the app file as they are.

Called by `importer` after the views. One on-demand view becomes one request feature for each field of its schema; all
of them call the view's function, through `on_demand_calls`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon.contracts.columns import Dtype
from gnomon.importing.app_text import Call, Raw, Statement, rendered
from gnomon.importing.credentials import secret_in_code
from gnomon.importing.dtypes import dtype_of, why_none
from gnomon.importing.entity_mapping import ImportState
from gnomon.importing.findings import Reading
from gnomon.importing.names import Names
from gnomon.importing.recordings import FeastObject, Function, Projection
from gnomon.importing.view_mapping import ViewPart

_CALLS = {"pandas": "call_pandas", "python": "call_python"}
_REFUSED = {
    "write_to_online_store": "request features are computed when they are asked for, and never stored",
    "aggregations": "a request feature has no window: aggregate in a feature view",
    "explode": "a request feature has one value for each row",
    "feature_transformation": "only functions are imported, not transformations of another kind",
}


@dataclass
class OnDemandParts:
    """What the on-demand views became.

    Attributes:
        features: Variables of the request features by their names in Feast, by view.
        imports: Import statements that the functions need.
        functions: Texts of functions and constants, each after those that it uses.
        statements: The request features.
    """

    features: dict[FeastObject, dict[str, str]] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    functions: list[Statement] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)


@dataclass(frozen=True)
class _Input:
    known_as: str
    reference: str
    dtype: Dtype


class _NoFeature(Exception):
    """An on-demand view has no counterpart; the message says why."""


def map_on_demand(
    objects: Iterable[FeastObject], views: Mapping[FeastObject, ViewPart], names: Names, state: ImportState
) -> OnDemandParts:
    """Map on-demand views.

    Args:
        objects: All of the repository.
        views: What the feature views became.
        names: Names that views and request features share.
        state: Gets the findings.

    Returns:
        The request features, and what stands before them.
    """
    parts, shelf = OnDemandParts(), _Shelf(state)
    for obj in objects:
        try:
            _map(obj, views, names, shelf, parts, state)
        except _NoFeature as reason:
            state.findings.leave(obj, str(reason))
    parts.imports, parts.functions = shelf.imports, shelf.statements
    return parts


class _Shelf:
    """The functions of all on-demand views side by side: in one file, one name is one thing."""

    def __init__(self, state: ImportState) -> None:
        self._state = state
        self._texts: dict[str, str] = {}
        self.imports: set[str] = set()
        self.statements: list[Statement] = []

    def add(self, function: Function) -> None:
        found = {**function.imports, **function.texts}
        for name, text in found.items():
            if name not in self._texts and not self._state.variables.is_free(name):
                raise _NoFeature(f"its function needs the name '{name}', which is another thing in the app file")
            if self._texts.get(name, text) != text:
                raise _NoFeature(f"its function needs '{name}', which another function needs as something else")
        for name in [name for name in found if name not in self._texts]:
            self._state.variables.take(name)
            if name in function.texts:
                notes = [] if self.statements else ["Functions of the on-demand feature views, as they were."]
                body = f"# fmt: off\n{found[name]}\n# fmt: on"
                self.statements.append(Statement("", Raw(body), notes, spaced=True))
        self._texts.update(found)
        self.imports.update(function.imports.values())


def _map(
    obj: FeastObject, views: Mapping[FeastObject, ViewPart], names: Names, shelf: _Shelf, parts: OnDemandParts,
    state: ImportState,
) -> None:  # fmt: skip
    reading = Reading(obj)
    for setting, reason in _REFUSED.items():
        if reading.take(setting):
            raise _NoFeature(f"{setting}: {reason}")
    function, mode = reading.take("udf"), reading.text("mode") or "pandas"
    if not isinstance(function, Function):
        raise _NoFeature("it has no function")
    if function.reason:
        raise _NoFeature(function.reason)
    if secret := secret_in_code(function.texts.values()):
        raise _NoFeature(f"its function has {secret} written in it: read that from the environment")
    if mode not in _CALLS:
        raise _NoFeature(f"functions of mode '{mode}' are not called here: rewrite it in mode 'pandas' or 'python'")
    call = "call_single" if reading.take("singleton") else _CALLS[mode]
    inputs = _inputs(reading, views, function)
    kept = [item for item in reading.take("schema", "features") or [] if _has_type(obj, item, state)]
    if not kept:
        raise _NoFeature("none of its features has one")
    shelf.add(function)
    for setting in ("name", "entities", "udf_string"):
        reading.take(setting)
    spoken = state.spoken(reading)
    notes = reading.name_rest(state.findings)
    reads = state.variables.take(f"{function.name.upper()}_READS")
    parts.statements.append(Statement(reads, {i.known_as: i.dtype for i in inputs}))
    made: dict[str, str] = {}
    becomes: list[str] = []
    for item in kept:
        name = names.take_for(item.name, obj.name)
        if name != item.name:
            part = f"feature '{item.name}' of "
            notes.append(state.findings.differ(obj, f"it is named '{name}'", part=part))
        compute = state.variables.take(f"compute_{name}")
        value = Call(call, (Raw(function.name), Raw(reads), item.name, Raw("columns")))
        text = f"def {compute}(*columns):\n    return {rendered(value, len('    return '), depth=1)}"
        parts.statements.append(Statement("", Raw(text), spaced=True))
        variable = state.variables.take(name, f"{name}_feature")
        own = Reading(item)
        own.take("name", "dtype")
        said = {setting: value for setting, value in state.spoken(own).items() if value}
        fields = _fields(inputs, compute, item, {**spoken, **said})
        notes += own.name_rest(state.findings)
        parts.statements.append(Statement(variable, Call("gn.RequestFeature", (name,), fields), notes))
        made[item.name], notes = variable, []
        becomes.append(f"'{name}'")
    parts.features[obj] = made
    shelf.imports.add(f"from gnomon.importing.on_demand_calls import {call}")
    state.findings.took(obj, "RequestFeature " + ", ".join(becomes))


def _fields(inputs: list[_Input], compute: str, item: FeastObject, spoken: Mapping[str, Any]) -> dict[str, Any]:
    request = {i.reference: i.dtype for i in inputs if "." not in i.reference}
    return {
        "request": request or None,
        "inputs": [i.reference for i in inputs],
        "function": Raw(compute),
        "dtype": dtype_of(item.fields.get("dtype")),
        **spoken,
    }


def _has_type(obj: FeastObject, item: FeastObject, state: ImportState) -> bool:
    given = item.fields.get("dtype")
    if dtype_of(given) is None:
        state.findings.leave(obj, why_none(given), part=f"feature '{item.name}' of ")
        return False
    return True


def _inputs(reading: Reading, views: Mapping[FeastObject, ViewPart], function: Function) -> list[_Input]:
    """Return what the function reads: of views `view.feature`, of requests the field's name."""
    given = reading.take("sources", "inputs") or []
    short: dict[str, list[_Input]] = {}
    for source in given.values() if isinstance(given, dict) else given:
        for name, offered in _offered(source, views, function):
            short.setdefault(name, []).append(offered)
    for item in reading.take("input_schema") or []:
        short.setdefault(item.name, []).append(_request_input(item))
    found = {i.known_as: i for name, several in short.items() for i in _told_apart(name, several, function)}
    unknown = [name for name in function.reads if name not in found]
    if unknown:
        raise _NoFeature(f"its function reads '{unknown[0]}', which is no feature or request field that it gets here")
    wanted = function.reads if function.reads_only_constants else tuple(found)
    return [offered for name, offered in found.items() if name in wanted]


def _offered(source: Any, views: Mapping[FeastObject, ViewPart], function: Function) -> list[tuple[str, _Input]]:
    view = source.of if isinstance(source, Projection) else source
    if not isinstance(view, FeastObject):
        raise _NoFeature("a source of it is no view and no request source")
    if view.kind == "RequestSource":
        return [(item.name, _request_input(item)) for item in view.fields.get("schema") or []]
    if view not in views:
        raise _NoFeature(f"its source '{view.name}' has none")
    changes = source.changes if isinstance(source, Projection) else {}
    if changes.get("join_key_map"):
        raise _NoFeature(f"it joins '{view.name}' by another key")
    part, alias = views[view], changes.get("name_alias") or view.name
    wanted = changes.get("features") or [*part.features, *part.lost]
    found = []
    for name in wanted:
        here, dtype = part.features.get(name, ("", None))
        if dtype is None:
            if name in function.reads or not function.reads_only_constants:
                raise _NoFeature(f"feature '{name}' of view '{view.name}' is not there, or its type is not declared")
            continue
        full = f"{alias}__{name}"
        known_as = full if full in function.reads and name not in function.reads else name
        found.append((name, _Input(known_as, f"{part.name}.{here}", dtype)))
    return found


def _told_apart(name: str, several: list[_Input], function: Function) -> list[_Input]:
    """Return inputs of one short name; of several only those that the function names in full."""
    if len(several) == 1:
        return several
    named = [i for i in several if i.known_as != name]
    if name in function.reads or not (function.reads_only_constants or len(named) == len(several)):
        raise _NoFeature(f"two of its sources have a feature '{name}'")
    return named


def _request_input(item: FeastObject) -> _Input:
    dtype = dtype_of(item.fields.get("dtype"))
    if dtype is None:
        raise _NoFeature(f"of its request field '{item.name}' {why_none(item.fields.get('dtype'))}")
    if "." in item.name:
        raise _NoFeature(f"its request field '{item.name}' has a dot in its name")
    return _Input(item.name, item.name, dtype)
