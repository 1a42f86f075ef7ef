"""What the platform remembers besides operations and versions: the applied app, monitors' states, the audit trail.

Ports implemented in `storage.sql_state`, over the same database as operations and the registry.
Contract: `testing.platform_state_contract`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gnomon.contracts.apps import App
from gnomon.errors import Conflict


@dataclass(frozen=True)
class Applied:
    """An app as applied: revision 1, 2, 3, … of that app name."""

    app: App
    revision: int
    app_hash: str
    applied: datetime


def check_names_free(app: App, owners: Mapping[tuple[str, str], str]) -> None:
    """Raise unless every name that an app defines is its own.

    Args:
        app: Its definitions' names are wanted.
        owners: By (kind, name), the app that defines it; those of this app itself are left alone.

    Raises:
        Conflict: A name belongs to another app.
    """
    for kind, name in sorted((spec.kind, spec.name) for spec in app.definitions):
        owner = owners.get((kind, name), app.name)
        if owner != app.name:
            raise Conflict(
                f"{kind} '{name}' is already defined by app '{owner}'",
                f"give it another name in app '{app.name}', or move all that uses it into one app; an app is named "
                "after its file, so that a renamed file is another app",
                {"kind": kind, "name": name, "app": owner},
            )


class DefinitionStore(Protocol):
    """The applied apps, one current revision each; names of definitions are unique over all apps."""

    def apply(self, app: App, *, actor: str, expected_revision: int | None = None) -> Applied:
        """Make an app the current revision, in one transaction.

        An app equal to the current one keeps its revision, whatever was expected, so that a repeat after a lost answer
        succeeds; if its file has moved to another folder, the new root is kept.

        Args:
            app: With schemas resolved.
            actor: Who applies it.
            expected_revision: Refuse unless this revision is the current one (0: none); None takes any.

        Returns:
            The revision that is current now, the new one or the one that was kept.

        Raises:
            Conflict: A definition's name belongs to another app, or the current revision is not the expected one
                (0: none).
        """
        ...

    def current(self, name: str) -> Applied | None:
        """Return the current revision of an app, or None."""
        ...

    def revision(self, app_hash: str) -> Applied:
        """Return the newest revision with that hash.

        Args:
            app_hash: `App.content_hash` of an app that was applied, current or not.

        Returns:
            That app as applied; the one applied last where several revisions have the hash.

        Raises:
            NotFound: No app was ever applied with that hash.
        """
        ...

    def revisions(self, name: str) -> list[Applied]:
        """Return every revision of an app, newest first; none where no app of that name was ever applied."""
        ...

    def apps(self) -> list[Applied]:
        """Return the current revision of every app, by name."""
        ...


@dataclass(frozen=True)
class AuditEntry:
    """One thing that was done: who, what, to what, why, when."""

    number: int
    time: datetime
    actor: str
    action: str
    target: str
    details: Mapping[str, Any]


class AuditTrail(Protocol):
    """Append-only; entries are chained by hash so that a removed or changed entry is noticed."""

    def record(self, actor: str, action: str, target: str, details: Mapping[str, Any]) -> AuditEntry:
        """Append an entry; durable on return."""
        ...

    def entries(self, *, target: str | None = None, limit: int = 100) -> list[AuditEntry]:
        """Return entries, newest first."""
        ...

    def verify(self) -> int:
        """Check the whole chain, from the first entry to the newest.

        Returns:
            The number of entries.

        Raises:
            CorruptData: An entry was changed or removed; the message names the first bad number.
        """
        ...


class StateStore(Protocol):
    """Small JSON documents by (kind, name): monitors' states, deployments' observed states, log-in codes."""

    def put(self, kind: str, name: str, document: Mapping[str, Any]) -> None:
        """Replace a document; durable on return."""
        ...

    def get(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Return a document, or None."""
        ...

    def all(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        """Return all documents of a kind by name."""
        ...

    def take(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Remove a document and return it, or None where there is none; of several takers at once one gets it."""
        ...
