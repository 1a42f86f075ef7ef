"""Desired: what the applied apps, the aliases and the stored operations ask for. Read by `iteration` in every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from gnomon.contracts.cluster import EndpointTarget
from gnomon.contracts.deployments import CHAMPION, Deployment, Monitor
from gnomon.contracts.durations import duration_us
from gnomon.contracts.features import FeatureView
from gnomon.contracts.operations import Operation, OperationStore
from gnomon.contracts.platform_state import Applied
from gnomon.contracts.registry import ModelVersion
from gnomon.contracts.sources import DataSource

MOST_ACTIVE = 100_000
"""Operations read at once. The store lists the newest first; a smaller bound would let the oldest wait for ever."""


@dataclass(frozen=True)
class WatchedMonitor:
    """What the schedule needs to know of a monitor.

    Attributes:
        name: The monitor.
        deployment: What it watches.
        model: Model of that deployment, trained again when the monitor fires.
        every_us: Pause between two evaluations.
        cooldown_us: Least time between two firings.
        on_fire: What follows.
    """

    name: str
    deployment: str
    model: str
    every_us: int
    cooldown_us: int
    on_fire: Literal["retrain", "alert"]


@dataclass(frozen=True)
class Desired:
    """What should be.

    Attributes:
        endpoints: Target of every deployment by name; None while no version of its model is the champion.
        monitors: Every monitor by name.
        operations: Operations that have not ended, oldest first.
        streams: Whether a view is declared fresh, so that the stream consumer should run.
        topics: Whether the rows of a source come from a topic, so that the topic consumer should run.
    """

    endpoints: Mapping[str, EndpointTarget | None]
    monitors: Mapping[str, WatchedMonitor]
    operations: tuple[Operation, ...]
    streams: bool = False
    topics: bool = False


class AppliedApps(Protocol):
    """The part of `DefinitionStore` that the control plane reads."""

    def apps(self) -> list[Applied]:
        """Return the current revision of every app."""
        ...


class Aliases(Protocol):
    """The part of `ModelRegistry` that the control plane reads."""

    def resolve(self, model: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias names, or None."""
        ...


def read_desired(definitions: AppliedApps, registry: Aliases, operations: OperationStore) -> Desired:
    """Read what should be.

    Args:
        definitions: The applied apps.
        registry: Names the champions.
        operations: The stored operations.

    Returns:
        What should be, as it stands in one moment for each store.
    """
    endpoints: dict[str, EndpointTarget | None] = {}
    monitors: dict[str, WatchedMonitor] = {}
    streams = topics = False
    for applied in definitions.apps():
        streams = streams or any(view.freshness is not None for view in applied.app.all(FeatureView))
        topics = topics or any(source.kafka is not None for source in applied.app.all(DataSource))
        deployments = {deployment.name: deployment for deployment in applied.app.all(Deployment)}
        endpoints |= {d.name: _target(d, registry, applied.app_hash) for d in deployments.values()}
        monitors |= {m.name: _watched(m, deployments[m.deployment]) for m in applied.app.all(Monitor)}
    active = operations.list(states=("pending", "running"), limit=MOST_ACTIVE)
    return Desired(endpoints, monitors, tuple(reversed(active)), streams, topics)


def _target(deployment: Deployment, registry: Aliases, app_hash: str) -> EndpointTarget | None:
    champion = registry.resolve(deployment.model, CHAMPION)
    if champion is None:
        return None
    return EndpointTarget(deployment.name, deployment.model, champion.number, app_hash)


def _watched(monitor: Monitor, deployment: Deployment) -> WatchedMonitor:
    return WatchedMonitor(
        monitor.name,
        monitor.deployment,
        deployment.model,
        duration_us(monitor.every),
        duration_us(monitor.cooldown),
        monitor.on_fire,
    )
