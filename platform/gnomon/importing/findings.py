"""What became of each thing of a repository: imported, imported with a difference, or without a counterpart.

Filled by the mapping modules; shown by the command, and written into the app file as comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from gnomon.importing.credentials import is_secret_name
from gnomon.importing.recordings import FeastObject, Function, Named, Projection

_KINDS: Mapping[str, str] = {
    "FeatureService": "feature service", "LabelView": "label view", "OnDemandFeatureView": "on-demand feature view",
    "BatchFeatureView": "batch feature view", "StreamFeatureView": "stream feature view",
    "FeatureView": "feature view", "Entity": "entity", "Project": "project", "Permission": "permission",
}  # fmt: skip
_HINTS: Mapping[str, str] = {
    "online": "a view is online once it is materialized; leave that out",
    "org": "put it into the tags",
    "enable_validation": "declare rules on the source: fields= and contract=",
    "logging_config": "every prediction is logged",
    "s3_endpoint_override": "mount the bucket, and give the folder as path",
    "connection_ref": "the variable named by url_env holds the URL with its password",
    "date_partition_column": "use watermark= and partition_by=",
    "version": "a view's version is the hash of its definition",
    "enabled": "take the definition out of the file",
    "tags": "give them to the model",
    "owner": "give it to the model",
}
_UNSAID: Mapping[str, Any] = {"online": True, "version": "latest", "enabled": True}
"""Feast's own defaults; a setting that says the same as leaving it out needs no word."""


@dataclass(frozen=True)
class Imported:
    """A definition that is in the app file."""

    kind: str
    name: str
    place: str
    becomes: str


@dataclass(frozen=True)
class LeftOut:
    """A definition, a feature or a setting that has no counterpart."""

    what: str
    reason: str
    place: str

    def __str__(self) -> str:
        return f"Feast {self.what} has no counterpart: {self.reason}."


@dataclass(frozen=True)
class Difference:
    """Something that is imported and yet not the same as in Feast."""

    what: str
    difference: str
    place: str

    def __str__(self) -> str:
        return f"Feast {self.what} differs here: {self.difference}."


@dataclass
class Findings:
    """Everything that was found, in order."""

    imported: list[Imported] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def took(self, obj: FeastObject, becomes: str) -> None:
        """Note that an object is in the app file, as what."""
        self.imported.append(Imported(kind_of(obj), obj.name, obj.place, becomes))

    def leave(self, obj: FeastObject, reason: str, *, part: str = "") -> str:
        """Note that an object, or a part of it such as `feature 'x' of `, has no counterpart; return the comment."""
        found = LeftOut(part + described(obj), reason, obj.place)
        self.left_out.append(found)
        return str(found)

    def differ(self, obj: FeastObject, difference: str, *, part: str = "") -> str:
        """Note that something is imported with a difference; return the comment."""
        found = Difference(part + described(obj), difference, obj.place)
        self.differences.append(found)
        return str(found)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


class Reading:
    """Takes the values of an object one by one, so that those that nobody took can be named.

    Args:
        obj: The object.
    """

    def __init__(self, obj: FeastObject) -> None:
        self.obj = obj
        self._taken: set[str] = set()

    def take(self, *names: str) -> Any:
        """Return the first value that is given under one of the names, or None."""
        self._taken.update(names)
        return next((v for name in names if (v := self.obj.fields.get(name)) not in (None, "", [], {})), None)

    def text(self, *names: str) -> str:
        """Return the first value that is given, as text; empty where none is."""
        value = self.take(*names)
        return value if isinstance(value, str) else ""

    def name_rest(self, findings: Findings) -> list[str]:
        """Name every setting that was not taken and says something; return the comments.

        The value is shown as well, unless it may hold a secret.
        """
        notes = []
        for name, value in self.obj.fields.items():
            said = value not in (None, "", [], {}, timedelta(0)) and value != _UNSAID.get(name, False)
            if name in self._taken or not said:
                continue
            hint = _HINTS.get(name, "nothing here has that setting")
            is_open = not (name.isdigit() or is_secret_name(name) or _has_mapping(value))
            notes.append(findings.leave(self.obj, hint, part=f"setting {name}{f'={shown(value)}' * is_open} of "))
        return notes


def kind_of(obj: FeastObject) -> str:
    """Return an object's kind in words."""
    return _KINDS.get(obj.kind, obj.kind)


def described(obj: FeastObject) -> str:
    """Return an object's kind and name."""
    return f"{kind_of(obj)} '{obj.name}'" if obj.name else kind_of(obj)


def shown(value: Any) -> str:
    """Return a value in a few words."""
    if isinstance(value, FeastObject):
        return value.kind if not value.name else f"{value.kind}({value.name!r})"
    if isinstance(value, Projection):
        return shown(value.of)
    if isinstance(value, Named | Function):
        return value.name
    if isinstance(value, list):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    return str(value)


def _has_mapping(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_has_mapping, value)))
