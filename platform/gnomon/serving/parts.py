"""ServingParts: what a replica is given, picked by the composition root and named to it as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.contracts.artifact_store import ArtifactStore
from gnomon.contracts.clocks import Clock
from gnomon.contracts.online_store import OnlineStore
from gnomon.contracts.platform_state import DefinitionStore
from gnomon.contracts.predictions import PredictionLog
from gnomon.contracts.registry import ModelRegistry
from gnomon.runtime.entry_points import entry_point

Resolve = Callable[[str], Callable[..., Any]]
"""Imports the function that `module:function` names."""


@dataclass(frozen=True)
class ServingParts:
    """The ports that a replica needs, and the settings that it reads.

    Attributes:
        clock: Gives predictions their time, and features their age.
        online: Where features are looked up.
        artifacts: Holds models and app files.
        definitions: The applied apps.
        registry: The model versions.
        predictions: Where predictions are logged, off the request path.
        resolver: Gives the importer of an app's functions by the digest of its code.
        spool_folder: Folder on this machine that keeps records until they are in the log.
        token: Access token that requests carry.
        flush_s: A prediction is in the log at the latest this long after it was answered.
        log_folder: Folder of the platform's log files; None logs to standard error.
        log_level: Least level that is logged.
    """

    clock: Clock
    online: OnlineStore
    artifacts: ArtifactStore
    definitions: DefinitionStore
    registry: ModelRegistry
    predictions: PredictionLog
    resolver: Callable[[str], Resolve]
    spool_folder: Path
    token: str
    flush_s: float = 1.0
    log_folder: Path | None = None
    log_level: str = "info"


def serving_parts(factory: str) -> ServingParts:
    """Call the factory that `module:function` names.

    Args:
        factory: `module:function` of a function without arguments, importable in the replica.

    Returns:
        What it returned.

    Raises:
        NotFound: There is no such function.
        TypeError: It returned something else.
    """
    parts = entry_point(factory)()
    if not isinstance(parts, ServingParts):
        raise TypeError(f"'{factory}' returned {type(parts).__name__}, expected ServingParts")
    return parts
