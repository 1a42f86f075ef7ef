"""Which versions of a view are complete in the online store, and which of them a read by the view's name shows.

Rows of different versions lie side by side. One is *online* when a document says so, written after all of its rows:
that write is the switch, so that whoever is killed before it has switched nothing. Written by `view_streams` and by
`control_plane.view_versions`; read by the gateway.
"""

from __future__ import annotations

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.layouts import view_layout
from gnomon.contracts.platform_state import DefinitionStore, StateStore
from gnomon.errors import Conflict

ONLINE = "online_version"
"""Kind of the documents of versions with rows online, by `version_name`: `view`, `version`, `app_hash` of an app that
defines it, `as_of_us`, and `unused_us`: since when (the machine's time) it is not kept up to date, null while it is."""

SHOWN = "shown_version"
"""Kind of the documents, by view, of the version that was last switched to: `version` and `app_hash`."""

DROPPING = "dropping_version"
"""Kind of the documents, by `version_name`, of versions whose rows are being removed."""


def version_name(view: str, version: str) -> str:
    """Return the name of a version's documents."""
    return f"{view}@{version}"


def is_online(states: StateStore, view: str, version: str) -> bool:
    """Tell whether all rows of a version are in the online store, and are kept up to date."""
    document = states.get(ONLINE, version_name(view, version))
    return document is not None and document["unused_us"] is None


def went_online(states: StateStore, app: App, view: str, as_of_us: int) -> None:
    """Say that all rows of an app's version of a view have been written; from here on reads of the applied app see it.

    Args:
        states: Keeps the documents.
        app: Defines the version.
        view: The view.
        as_of_us: The moment that the values are of.
    """
    version = view_layout(app, view).version
    document = {"view": view, "version": version, "app_hash": app.content_hash(), "as_of_us": as_of_us}
    states.put(ONLINE, version_name(view, version), {**document, "unused_us": None})


def note_shown(states: StateStore, app: App, view: str) -> None:
    """Remember a version as the one that is shown until the one after it is online. Repeating it changes nothing.

    Not for who comes late: after the next version was shown, a read would go back to this one while the version after
    that is being written.

    Args:
        states: Keeps the documents.
        app: The applied app; its version of the view is online.
        view: The view.
    """
    shown = {"version": view_layout(app, view).version, "app_hash": app.content_hash()}
    if states.get(SHOWN, view) != shown:
        states.put(SHOWN, view, shown)


def mark_unused(states: StateStore, view: str, version: str) -> None:
    """Say that a version is kept up to date no longer, from now on; one that was marked before keeps its time."""
    document = states.get(ONLINE, version_name(view, version))
    if document is not None and document["unused_us"] is None:
        marked = {**document, "unused_us": SystemClock().now_us()}
        states.put(ONLINE, version_name(view, version), marked)


def shown_app(states: StateStore, definitions: DefinitionStore, app: App, view: str) -> App:
    """Return the app by which a view is read: the applied one when its version is online, until then the one before.

    Args:
        states: Keeps the documents.
        definitions: The applied apps, earlier revisions too.
        app: The applied app that defines the view.
        view: The view.

    Returns:
        The applied app where nothing was online before it, or where it changes nothing that is stored.

    Raises:
        NotFound: The app has no such view.
    """
    version, shown = view_layout(app, view).version, states.get(SHOWN, view)
    if shown is None or shown["version"] == version or is_online(states, view, version):
        return app
    return definitions.revision(shown["app_hash"]).app


def check_not_dropping(states: StateStore, view: str, version: str) -> None:
    """Raise while the rows of a version are being removed: what is written now might be removed as well.

    Args:
        states: Keeps the documents.
        view: The view.
        version: The version that is about to be written.

    Raises:
        Conflict: They are; a removal takes seconds, and one whose worker died is finished by the next `materialize`.
    """
    if states.get(DROPPING, version_name(view, version)) is not None:
        raise Conflict(
            f"version {version} of view '{view}' is being removed from the online store",
            f"try again in some seconds; `gnomon materialize {view}` finishes a removal that was interrupted",
        )
