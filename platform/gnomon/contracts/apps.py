"""App: all definitions of one file, checked against each other; and the plan from one app to the next.

Made by `App.of` from the objects of a module, sent and stored as JSON, read back by `App.from_json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gnomon.contracts.columns import Dtype
from gnomon.contracts.deployments import Deployment, Monitor
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import FeatureView, RequestFeature
from gnomon.contracts.labels import Label
from gnomon.contracts.models import Model
from gnomon.contracts.sources import DataSource
from gnomon.contracts.specs import Spec, content_hash
from gnomon.errors import InvalidDefinition, unknown_name

KINDS: tuple[type[Spec], ...] = (Entity, DataSource, FeatureView, RequestFeature, Label, Model, Deployment, Monitor)
"""In the order in which definitions may refer to one another."""

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class App:
    """The definitions of one app file, consistent with each other.

    Attributes:
        name: The app's name; the app file's stem.
        definitions: Every spec, ordered by kind and name; kind and name together are unique.
        schemas: Column types by source, as declared or as read from the files; empty until `resolved`.
        code: SHA-256 of the app file's text, under which the artifact store keeps it.
        root: Folder that relative source paths start from.
    """

    name: str
    definitions: tuple[Spec, ...]
    schemas: Mapping[str, Mapping[str, Dtype]] = field(default_factory=dict)
    code: str = ""
    root: str = ""

    @classmethod
    def of(cls, name: str, specs: Iterable[Spec], *, code: str = "", root: str = "") -> App:
        """Collect specs and all that they refer to.

        Args:
            name: The app's name; for an app file its stem.
            specs: In any order, and each as often as it comes; what they refer to by object is found without being
                listed.
            code: SHA-256 of the app file's text, 64 hex digits; empty for definitions that come from no file.
            root: Folder that relative source paths start from.

        Returns:
            The app, its references checked, its schemas not resolved yet.

        Raises:
            InvalidDefinition: Definitions of one kind and name differ, a reference leads nowhere, or none is given.
        """
        found: dict[tuple[str, str], Spec] = {}
        pending = list(specs)
        while pending:
            spec = pending.pop()
            known = found.setdefault((spec.kind, spec.name), spec)
            if known != spec:
                raise InvalidDefinition(
                    f"two different {spec.kind} definitions are named '{spec.name}'", "give one of them another name"
                )
            pending.extend(spec.references())
        order = {kind.kind: i for i, kind in enumerate(KINDS)}
        definitions = tuple(sorted(found.values(), key=lambda s: (order[s.kind], s.name)))
        if not definitions:
            raise InvalidDefinition(f"app '{name}' defines nothing", "define at least an Entity and a DataSource")
        app = cls(name, definitions, code=code, root=root)
        from gnomon.contracts.app_rules import check_references

        check_references(app)
        return app

    def with_schemas(self, schemas: Mapping[str, Mapping[str, Dtype]]) -> App:
        """Return the app with the column types of its sources, after checking every column that it names.

        Args:
            schemas: Column types by source and column name; replaces those that the app has.

        Returns:
            A new app; this one stays as it is.

        Raises:
            InvalidDefinition: A definition names a column that its source lacks, or one of an unfit type.
        """
        from gnomon.contracts.app_rules import check_columns

        app = App(self.name, self.definitions, {k: dict(v) for k, v in schemas.items()}, self.code, self.root)
        check_columns(app)
        return app

    def all(self, kind: type[S]) -> tuple[S, ...]:
        """Return all definitions of a kind, by name."""
        return tuple(spec for spec in self.definitions if isinstance(spec, kind))

    def get(self, kind: type[S], name: str) -> S:
        """Return one definition.

        Args:
            kind: Class of the definition, such as `Entity`.
            name: Its name, unique in its kind.

        Returns:
            The definition itself, not a copy.

        Raises:
            NotFound: There is none of that kind and name; the hint names the nearest.
        """
        for spec in self.all(kind):
            if spec.name == name:
                return spec
        raise unknown_name(kind.kind.replace("_", " "), name, (s.name for s in self.all(kind)))

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form, whole."""
        by_kind: dict[str, dict[str, Any]] = {}
        for spec in self.definitions:
            by_kind.setdefault(spec.kind, {})[spec.name] = spec.as_json()
        schemas = {source: dict(columns) for source, columns in self.schemas.items()}
        return {"name": self.name, "definitions": by_kind, "schemas": schemas, "code": self.code, "root": self.root}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> App:
        """Read what `as_json` wrote.

        Args:
            body: With `name` and `definitions`; `code`, `root` and `schemas` may be absent.

        Returns:
            An app equal to the one that was written; its columns are checked where the body has schemas.

        Raises:
            InvalidDefinition: The body is not the JSON of an app.
        """
        kinds = {kind.kind: kind for kind in KINDS}
        try:
            specs = [kinds[k](**spec) for k, group in body["definitions"].items() for spec in group.values()]
            app = cls.of(body["name"], specs, code=body.get("code", ""), root=body.get("root", ""))
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidDefinition(
                f"this is not the JSON of an app: {error!r}", "send what App.as_json wrote"
            ) from error
        return app.with_schemas(body["schemas"]) if body.get("schemas") else app

    def content_hash(self) -> str:
        """Return the SHA-256 over all definitions, schemas and code; equal apps have equal hashes anywhere."""
        return content_hash({**self.as_json(), "root": ""})


@dataclass(frozen=True)
class Change:
    """One line of a plan.

    Attributes:
        action: `create`, `update`, `delete` or `keep`.
        kind: Kind of the definition, such as `feature_view`.
        name: Its name.
        fields: For an update, the fields that differ, each as (before, after) JSON.
    """

    action: str
    kind: str
    name: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def plan(before: App | None, after: App) -> tuple[Change, ...]:
    """Compare the applied app with a new one; deletes come last and in reverse order of reference."""
    old = {(s.kind, s.name): s for s in before.definitions} if before else {}
    new = {(s.kind, s.name): s for s in after.definitions}
    changes = []
    for (kind, name), spec in new.items():
        known = old.get((kind, name))
        if known is None:
            changes.append(Change("create", kind, name))
        elif known == spec:
            changes.append(Change("keep", kind, name))
        else:
            a, b = known.as_json(), spec.as_json()
            differing = (f for f in {**a, **b} if a.get(f) != b.get(f))  # either may lack a field that it does not use
            changes.append(Change("update", kind, name, {f: (a.get(f), b.get(f)) for f in differing}))
    gone = [key for key in old if key not in new]
    return (*changes, *(Change("delete", kind, name) for kind, name in reversed(gone)))
