"""Entities of Feast as entities of Gnomon. Called by `importer`; views look their entities up in `ImportState`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gnomon.contracts.columns import Dtype
from gnomon.importing.app_text import Call, Statement
from gnomon.importing.credentials import is_secret_name
from gnomon.importing.dtypes import dtype_of, is_unknown, why_none
from gnomon.importing.findings import Findings, Reading
from gnomon.importing.names import Names, variable_names
from gnomon.importing.recordings import FeastObject
from gnomon.importing.repositories import Repository

KEY_DTYPES: tuple[Dtype, ...] = ("int64", "string")


@dataclass(frozen=True)
class EntityPart:
    """An entity that is in the app file: its variable and name, its keys, and their type where Feast states it."""

    variable: str
    name: str
    keys: tuple[str, ...]
    dtype: Dtype | None


@dataclass
class ImportState:
    """What the mapping modules share.

    Attributes:
        repository: What is imported.
        folder: Folder of the app file, from which its relative paths start.
        findings: What became of what.
        variables: Names of the app file's variables.
        entities: The entities in the app file, by the object of Feast.
    """

    repository: Repository
    folder: Path
    findings: Findings = field(default_factory=Findings)
    variables: Names = field(default_factory=variable_names)
    entities: dict[FeastObject, EntityPart] = field(default_factory=dict)

    def entity(self, value: object) -> EntityPart | None:
        """Return the part of an entity that a view gives as an object or, as old versions of Feast do, by name."""
        if isinstance(value, str):
            return next((part for obj, part in self.entities.items() if obj.name == value), None)
        return self.entities.get(value) if isinstance(value, FeastObject) else None

    def spoken(self, reading: Reading) -> dict[str, object]:
        """Take the fields that every definition has here too: description, owner and tags."""
        given = reading.take("tags", "labels")
        tags = given if isinstance(given, dict) else {}
        secret = [key for key in tags if is_secret_name(key)]
        for key in secret:
            self.findings.leave(
                reading.obj, "by its name it is a secret, and those are not written", part=f"tag '{key}' of "
            )
        return {
            "description": reading.take("description"),
            "owner": reading.take("owner"),
            "tags": {key: str(word) for key, word in tags.items() if key not in secret} or None,
        }

    def renamed(self, obj: FeastObject, name: str) -> list[str]:
        """Return the comment on a name that had to change; none where it is the same."""
        return [] if name == obj.name else [self.findings.differ(obj, f"it is named '{name}'")]


def map_entities(objects: Iterable[FeastObject], state: ImportState) -> list[Statement]:
    """Map entities.

    Args:
        objects: All entities of the repository.
        state: Gets the parts.

    Returns:
        A statement for each that has a counterpart.
    """
    known = list(objects)
    names = Names(coming=(obj.name for obj in known))
    statements = []
    for obj in known:
        reading = Reading(obj)
        reading.take("name")
        twin = state.entity(obj.name)
        if twin is not None:  # the same entity, written in another file too
            state.entities[obj] = twin
            state.findings.took(obj, f"Entity '{twin.name}'")
            continue
        value_type = reading.take("value_type")
        dtype = dtype_of(value_type)
        if not is_unknown(value_type) and dtype not in KEY_DTYPES:
            reason = why_none(value_type) if dtype is None else f"a key is Int64 or String, not {dtype}"
            state.findings.leave(obj, reason)
            continue
        given = reading.take("join_keys", "join_key") or [obj.name]
        keys = tuple(str(key) for key in (given if isinstance(given, list) else [given]))
        name = names.take_for(obj.name)
        variable = state.variables.take(name, f"{name}_entity")
        state.entities[obj] = EntityPart(variable, name, keys, dtype)
        fields = {"key": keys[0] if len(keys) == 1 else list(keys), **state.spoken(reading)}
        notes = [*state.renamed(obj, name), *reading.name_rest(state.findings)]
        statements.append(Statement(variable, Call("gn.Entity", (name,), fields), notes))
        state.findings.took(obj, f"Entity '{name}'")
    return statements
