"""StreamConsumer: keeps the online values of every view that is declared fresh up to date. Stepped by `stream_actor`.

It follows the applied apps: a view that becomes fresh is streamed from then on, one whose definition changed begins
anew, one that is fresh no longer is left to `materialize`. Versions that deployed models were trained with are streamed
beside the applied one. What it knows it can read again; only positions are stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from gnomon.contracts.apps import App
from gnomon.contracts.features import FeatureView
from gnomon.contracts.layouts import view_layout
from gnomon.control_plane.parts import Parts
from gnomon.control_plane.view_versions import Served, mark_unread
from gnomon.errors import GnomonError
from gnomon.features.online_versions import version_name
from gnomon.features.view_streams import ViewStream

_LOOK_EVERY_S = 1.0
_PAUSE_AFTER_FAILURE_S = 1.0
_STEPS_A_FRESHNESS = 20
_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S = 1.0, 0.02

OnError = Callable[[str, Exception], None]
"""Told what failed and why; the next step tries again."""


@dataclass(frozen=True)
class _Followed:
    stream: ViewStream
    app: App
    view: str
    identity: tuple[str, str]
    freshness_s: float


class StreamConsumer:
    """Steps one `ViewStream` for each fresh view.

    Args:
        parts: The platform's parts.
        cache_bytes: Bound on the events that one view holds in memory.
        on_error: Told of every failure that a step survived.
    """

    def __init__(self, parts: Parts, cache_bytes: int, on_error: OnError) -> None:
        self._parts = parts
        self._cache_bytes = cache_bytes
        self._on_error = on_error
        self._followed: dict[str, _Followed] = {}
        self._not_before_s: dict[str, float] = {}
        self._looked_s = -_LOOK_EVERY_S

    def step(self) -> float:
        """Do one step of every view.

        Returns:
            Seconds to wait before the next one: a twentieth of the shortest freshness, between 20 ms and a second.
        """
        if time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - the views that are followed go on
                self._on_error("look for fresh views", error)
            self._looked_s = time.monotonic()
        for name, followed in self._followed.items():
            if time.monotonic() >= self._not_before_s.get(name, 0.0):
                self._step(name, followed.stream)
        pauses = [each.freshness_s / _STEPS_A_FRESHNESS for each in self._followed.values()]
        return min(max(min(pauses, default=_LONGEST_PAUSE_S), _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)

    def _step(self, name: str, stream: ViewStream) -> None:
        try:
            stream.step()
        except Exception as error:  # noqa: BLE001 - one view's failure must not keep the others from being served
            self._not_before_s[name] = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            self._on_error(f"stream view '{name}'", error)
            stream.failed(error)

    def _look(self) -> None:
        apps = self._parts.apps()
        served = Served.read(apps, self._parts)
        fresh: dict[str, tuple[App, FeatureView]] = {}
        for app in apps:
            for view in fresh_views(app):
                fresh[view.name] = (app, view)
                fresh |= self._other_versions(app, view, served)
        changed: set[str] = set()
        for name in set(self._followed) - set(fresh):
            changed.add(self._followed.pop(name).view)
        for name, (app, view) in fresh.items():
            identity = (view_layout(app, view.name).version, app.get(FeatureView, view.name).content_hash())
            known = self._followed.get(name)
            if known is None or known.identity != identity:
                changed.add(view.name)
                self._followed[name] = self._follow(name, app, view, identity)
        # What is written no longer must be written anew before it is shown again.
        for view_name in changed & set(fresh):
            mark_unread(view_name, self._parts)

    def _other_versions(self, app: App, view: FeatureView, served: Served) -> dict[str, tuple[App, FeatureView]]:
        """Return the versions of a view that deployed models read beside the applied one; one that cannot be had is
        reported, and keeps nothing else from being followed."""
        applied, found = view_layout(app, view.name).version, {}
        for version, app_hash in served.versions(view.name).items():
            name = version_name(view.name, version)
            if version == applied:
                continue
            known = self._followed.get(name)
            try:
                other = self._parts.definitions.revision(app_hash).app if known is None else known.app
            except GnomonError as error:
                self._on_error(f"look for version {version} of view '{view.name}'", error)
                continue
            found[name] = (other, view)
        return found

    def _follow(self, name: str, app: App, view: FeatureView, identity: tuple[str, str]) -> _Followed:
        assert view.freshness is not None, "only fresh views are followed"
        parts = self._parts
        stream = ViewStream(
            app, view.name, parts.offline, parts.online, parts.states, parts.clock, self._cache_bytes, name
        )  # fmt: skip
        return _Followed(stream, app, view.name, identity, view.freshness.total_seconds())


def fresh_views(app: App) -> list[FeatureView]:
    """Return the views of an app that the stream consumer keeps up to date."""
    return [view for view in app.all(FeatureView) if view.freshness is not None]
