"""Imports the definitions of a Feast repository: the repository in, the text of an app file and the findings out.

Called by `gnomon import-feast`. Feast need not be installed. The repository's files are run, by our interpreter and in
a process of their own; nothing of them is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.errors import InvalidDefinition
from gnomon.importing.app_text import Statement, app_text, comment, docstring
from gnomon.importing.credentials import without_credentials
from gnomon.importing.definitions import Definitions, find_definitions
from gnomon.importing.entity_mapping import ImportState, map_entities
from gnomon.importing.findings import Findings, LeftOut, Reading
from gnomon.importing.names import Names
from gnomon.importing.on_demand_mapping import map_on_demand
from gnomon.importing.recordings import FeastObject, objects_in, record
from gnomon.importing.repositories import SETTINGS_FILE, Repository, open_repository
from gnomon.importing.service_mapping import map_services
from gnomon.importing.source_mapping import STREAMS, batch_of, finish_sources, map_sources
from gnomon.importing.view_mapping import VIEWS, map_views

_SETTING_HINTS: Mapping[str, str] = {
    "online_store": "`gnomon up` starts one; GNOMON_ONLINE_URL names another server of the Redis protocol",
    "offline_store": "tables are kept in GNOMON_HOME",
    "registry": "the platform keeps its own, in GNOMON_HOME or in the database of GNOMON_STATE_URL",
    "provider": "the platform runs on Ray, wherever that runs",
    "entity_key_serialization_version": "keys are written in one way",
    "auth": "the gateway asks for a token",
    "batch_engine": "the work is done on Ray",
    "flags": "there are none",
}
_OTHER_HINTS: Mapping[str, str] = {
    "LabelView": "define a gn.Label on a source that has the column, with the delay after which it is final",
    "Permission": "the gateway has one token",
    "FeatureStore": "use gn.connect()",
}
_HEAD = (
    "What has no counterpart, or differs, is said where it is. Of all of it:",
    "",
    "- The id of a row is its entity's key and its event time, because Feast has no other.",
    "  Where the data have an id of the event, use that one.",
    "- Times without a zone are read as UTC, as Feast reads them.",
    "- A value is expired when it is as old as max_age; Feast serves it at exactly its ttl.",
)


@dataclass(frozen=True)
class ImportedApp:
    """What became of a repository.

    Attributes:
        project: Name of its project.
        text: Text of the app file.
        findings: What became of what.
    """

    project: str
    text: str
    findings: Findings

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"project": self.project, "app_file": self.text, **self.findings.as_json()}


def import_feast(folder: Path, app_folder: Path, time_limit_s: float) -> ImportedApp:
    """Import the definitions of a Feast repository.

    Args:
        folder: Of the repository.
        app_folder: Where the app file is going to be; its relative paths start from there.
        time_limit_s: How long the repository's files may run.

    Returns:
        The app file. Every definition of the repository is in it or among the findings as left out.

    Raises:
        NotFound: There is no such folder, or it is no repository.
        InvalidInput: The repository cannot be read.
        InvalidDefinition: A file raises or does not end, a name is given twice, or nothing in it has a counterpart.
    """
    repository = open_repository(folder)
    made = record(repository, time_limit_s)
    state = ImportState(repository, app_folder.resolve())
    for obj in made:
        for name in obj.hidden:
            state.findings.leave(obj, "credentials in a URL are not written", part=f"user or password in {name} of ")
    definitions = find_definitions(made, state.findings)
    imports, sections = _sections(definitions, state)
    if not any(statements for _, statements in sections):
        left = "; ".join(str(found) for found in state.findings.left_out[:3])
        raise InvalidDefinition(
            f"nothing in '{repository.root}' has a counterpart" + (f": {left}" if left else ""),
            "a view needs an entity, and a source with files, a lake's table or a database",
            state.findings.as_json(),
        )
    project, about = _project(definitions, state)
    left_out = _settings(repository, state.findings)
    text = app_text(docstring(_head(project, about)), [*imports, "import gnomon as gn"], sections)
    rest = comment([str(found) for found in (*_unsaid(state.findings, text), *left_out)])
    return ImportedApp(project, text + (f"\n# Not imported\n\n{rest}" if rest else ""), state.findings)


def _sections(definitions: Definitions, state: ImportState) -> tuple[set[str], list[tuple[str, list[Statement]]]]:
    names = Names(coming=(view.name for view in definitions.of(*VIEWS)))
    entities = map_entities(definitions.of("Entity"), state)
    sources = map_sources(definitions.tables(), state)
    views, view_statements = map_views(definitions.of(*VIEWS), sources, names, state)
    source_statements = finish_sources(sources, state)
    on_demand = map_on_demand(definitions.of("OnDemandFeatureView"), views, names, state)
    services = map_services(definitions.of("FeatureService"), views, on_demand.features, state)
    for obj in definitions.of(*STREAMS):
        part = sources.get(batch_of(obj) or obj)
        if part is None or not part.keys:
            state.findings.leave(obj, "no source in the app file holds its rows")
        elif obj.kind == "PushSource":
            _took(obj, f"gnomon push {part.name}", ("name", "batch_source"), state)
        else:
            state.findings.leave(obj, f"nothing consumes it: push its events, as by gnomon push {part.name}")
    read = {inner for obj in on_demand.features for inner in objects_in(obj.fields.get("sources"))}
    for obj in definitions.of("RequestSource"):
        if obj in read:
            _took(obj, "request= of request features", ("name", "schema"), state)
        else:
            state.findings.leave(obj, "no request feature in the app file reads it")
    for obj in definitions.others():
        state.findings.leave(obj, _OTHER_HINTS.get(obj.kind, "nothing here is like it"))
    return on_demand.imports, [
        ("Entities", entities),
        ("Sources", source_statements),
        ("Feature views", view_statements),
        ("", on_demand.functions),
        ("On-demand feature views", on_demand.statements),
        ("Feature services", services),
    ]


def _took(obj: FeastObject, becomes: str, settings: tuple[str, ...], state: ImportState) -> None:
    state.findings.took(obj, becomes)
    reading = Reading(obj)
    reading.take(*settings)
    reading.name_rest(state.findings)


def _project(definitions: Definitions, state: ImportState) -> tuple[str, str]:
    """Return the project's name and description; a Project in the files counts before the settings, as in Feast."""
    for obj in definitions.of("Project"):
        reading = Reading(obj)
        name, about = reading.text("name"), reading.text("description")
        reading.name_rest(state.findings)
        state.findings.took(obj, "the app file itself")
        return name, about
    return state.repository.project, ""


def _head(project: str, about: str) -> list[str]:
    first = f"The Feast project '{project}', imported by `gnomon import-feast`."
    lines = [line.strip() for line in about.strip().splitlines()]
    return [first, "", *([*lines, ""] if lines else []), *_HEAD]


def _settings(repository: Repository, findings: Findings) -> list[LeftOut]:
    found = []
    for name, value in repository.settings.items():
        kind = value.get("type") if isinstance(value, dict) else None
        of_type = f" of type {without_credentials(kind)}" if isinstance(kind, str) else ""
        what = f"setting {name}{of_type} in {SETTINGS_FILE}"
        found.append(LeftOut(what, _SETTING_HINTS.get(name, "nothing here has that setting"), SETTINGS_FILE))
    findings.left_out += found
    return found


def _unsaid(findings: Findings, text: str) -> list[LeftOut]:
    """Return what was left out and is in no comment above a definition."""
    said = {" ".join(line.split()) for line in _sentences(text)}
    return [found for found in findings.left_out if found.place != SETTINGS_FILE and str(found) not in said]


def _sentences(text: str) -> list[str]:
    """Return the comments of a text, the folded ones joined."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("#   ") and found:
            found[-1] += " " + line[4:]
        elif line.startswith("# "):
            found.append(line[2:])
    return found
