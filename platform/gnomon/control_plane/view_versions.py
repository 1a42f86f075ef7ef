"""Keeps the versions of a view that somebody reads in the online store, and removes the others.

A version is in service while it is the applied app's, or that of a model version that a deployment serves: every model
version reads the view as it was defined when it was trained. Called by `feature_work`, `release_work` and `streaming`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.deployments import CHAMPION, Deployment
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.registry import Lineage, ModelVersion
from gnomon.control_plane.endpoint_states import ENDPOINT
from gnomon.control_plane.parts import Parts
from gnomon.features.materialization import Materialized, materialize
from gnomon.features.online_versions import (
    DROPPING,
    ONLINE,
    SHOWN,
    check_not_dropping,
    is_online,
    mark_unused,
    version_name,
    went_online,
)

UNUSED_FOR_S = 3600
"""A version that nobody reads any more stays this long: for requests that are under way, and for a change of mind."""

_RELEASES = ("deploy", "retrain")
_MOST_ACTIVE = 100_000
_DROP_TIMEOUT_S = 60.0
_LOOK_S = 0.5


@dataclass(frozen=True)
class Served:
    """What the deployments of all applied apps serve, or may serve still; as it was at one moment.

    Attributes:
        champions: Lineages of the versions that endpoints are to serve.
        earlier: Lineages of earlier ones, of endpoints that are not yet healthy at theirs: some of them serves.
        online: Names of the versions of views that have rows online, kept up to date or not.
    """

    champions: tuple[Lineage, ...]
    earlier: tuple[Lineage, ...]
    online: frozenset[str]

    @classmethod
    def read(cls, apps: Iterable[App], parts: Parts) -> Served:
        """Read it, once for any number of views."""
        champions, earlier = [], []
        for deployment in (deployment for app in apps for deployment in app.all(Deployment)):
            champion = parts.registry.resolve(deployment.model, CHAMPION)
            if champion is None:
                continue
            champions.append(champion.lineage)
            seen = parts.states.get(ENDPOINT, deployment.name) or {}
            if (seen.get("version"), seen.get("state")) != (champion.number, "healthy"):
                moves = parts.registry.alias_history(deployment.model)
                before = {move.after for move in moves if move.alias == CHAMPION} - {champion.number}
                earlier += [parts.registry.version(deployment.model, number).lineage for number in before]
        return cls(tuple(champions), tuple(earlier), frozenset(parts.states.all(ONLINE)))

    def versions(self, view: str) -> dict[str, str]:
        """Return, by version of a view, the hash of an app that defines it.

        An earlier one counts only while it has rows: what still serves had them, and what was removed is not wanted.
        """
        found: dict[str, str] = {}
        for lineage, certain in [*((each, True) for each in self.champions), *((each, False) for each in self.earlier)]:
            version = lineage.feature_versions.get(view)
            if version is not None and (certain or version_name(view, version) in self.online):
                found.setdefault(version, lineage.app_hash)
        return found


def versions_in_service(view: str, parts: Parts) -> dict[str, App]:
    """Return the versions of a view that somebody reads.

    Args:
        view: The view.
        parts: The platform's parts.

    Returns:
        An app that defines it by version, the applied one first.

    Raises:
        NotFound: No applied app defines the view.
    """
    app = parts.app_with(FeatureView, view).app
    applied = view_layout(app, view).version
    served = Served.read(parts.apps(), parts).versions(view)
    return {applied: app} | {
        version: parts.definitions.revision(app_hash).app for version, app_hash in served.items() if version != applied
    }


def bring_online(app: App, view: str, parts: Parts, as_of_us: int | None = None) -> Materialized:
    """Write all rows of an app's version of a view, then say that it is online.

    Args:
        app: Defines the version; applied now or before.
        view: The view.
        parts: The platform's parts.
        as_of_us: The moment that the values are of; now when left out.

    Returns:
        What was written.

    Raises:
        NotFound: The view's source has no rows yet.
        Conflict: The version's rows are being removed.
        Unavailable: The online store does not answer; repeating is safe.
    """
    check_not_dropping(parts.states, view, view_layout(app, view).version)
    moment_us = parts.clock.now_us() if as_of_us is None else as_of_us
    done = materialize(app, view, parts.offline, parts.online, moment_us)
    went_online(parts.states, app, view, done.as_of_us)
    return done


def bring_features_online(version: ModelVersion, parts: Parts, report: Callable[[str], None]) -> None:
    """See to it that what a model version reads is online, before anything makes it serve.

    Its views are those of the app that it was trained with. No removal begins while the operation that calls this is
    pending or running; one that began before it is waited for.

    Args:
        version: The model version.
        parts: The platform's parts.
        report: Takes a line of progress.

    Raises:
        Conflict: A removal of what it reads has not ended within a minute.
        Unavailable: The online store does not answer; repeating is safe.
    """
    trained = parts.definitions.revision(version.lineage.app_hash).app
    for view, layout_version in version.lineage.feature_versions.items():
        deadline_s = time.monotonic() + _DROP_TIMEOUT_S
        while parts.states.get(DROPPING, version_name(view, layout_version)) and time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)
        check_not_dropping(parts.states, view, layout_version)
        if not is_online(parts.states, view, layout_version):
            report(f"bringing view '{view}' online as version {version.number} was trained with it")
            bring_online(trained, view, parts)


def finish_removals(view: str, parts: Parts) -> None:
    """Finish removals of a view's versions whose worker died; only for the one operation that may remove them.

    One that was announced and not begun is called off: its version may be in service by now, with all of its rows.
    """
    for name, document in parts.states.all(DROPPING).items():
        if document["view"] == view and document["begun"]:
            _remove(name, document, parts)
        elif document["view"] == view:
            parts.states.take(DROPPING, name)


def mark_unread(view: str, parts: Parts) -> None:
    """Mark the versions of a view that are not in service: they are written anew before they are shown again."""
    in_service = versions_in_service(view, parts)
    for document in parts.states.all(ONLINE).values():
        if document["view"] == view and document["version"] not in in_service:
            mark_unused(parts.states, view, document["version"])


def retire_versions(view: str, parts: Parts, now_us: int | None = None) -> list[str]:
    """Remove versions of a view from the online store that nobody has read for `UNUSED_FOR_S`.

    Only for the operation `materialize`, of which one runs at a time for a view.

    Args:
        view: The view.
        parts: The platform's parts.
        now_us: The machine's time, in place of its clock's.

    Returns:
        The versions that are gone.
    """
    now_us = SystemClock().now_us() if now_us is None else now_us
    mark_unread(view, parts)
    gone = []
    for name, document in parts.states.all(ONLINE).items():
        if document["view"] != view or document["unused_us"] is None:
            continue
        if now_us - document["unused_us"] >= UNUSED_FOR_S * 1_000_000 and _may_remove(name, document, parts):
            _remove(name, document, parts)
            gone.append(document["version"])
    return gone


def _kept(view: str, parts: Parts) -> set[str]:
    shown = parts.states.get(SHOWN, view)
    return {*versions_in_service(view, parts), *([] if shown is None else [shown["version"]])}


def _may_remove(name: str, document: Mapping[str, Any], parts: Parts) -> bool:
    """Announce a removal, then look again: a release or a stream that begins from here on finds the announcement."""
    parts.states.put(DROPPING, name, {**document, "begun": False})
    active = parts.operations.list(states=("pending", "running"), limit=_MOST_ACTIVE)
    if document["version"] in _kept(document["view"], parts) or any(o.kind in _RELEASES for o in active):
        parts.states.take(DROPPING, name)
        return False
    parts.states.put(DROPPING, name, {**document, "begun": True})
    return True


def _remove(name: str, document: Mapping[str, Any], parts: Parts) -> None:
    app = parts.definitions.revision(document["app_hash"]).app
    # As the document names it, not as this release would: the rows are in the field of that name.
    parts.online.drop_version(replace(view_layout(app, document["view"]), version=document["version"]))
    parts.states.take(ONLINE, name)
    parts.states.take(DROPPING, name)
