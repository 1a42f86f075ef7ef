"""Parts: every port that the platform's work needs, picked once by `composition` and handed down.

Used by the work of operations, by the control loop's factory and by the gateway; tests build one of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon.contracts.apps import App
from gnomon.contracts.artifact_store import ArtifactStore
from gnomon.contracts.clocks import Clock
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.online_store import OnlineStore
from gnomon.contracts.operations import OperationStore
from gnomon.contracts.platform_state import Applied, AuditTrail, DefinitionStore, StateStore
from gnomon.contracts.predictions import PredictionLog
from gnomon.contracts.predictors import Trainer
from gnomon.contracts.registry import ModelRegistry, RunTracker
from gnomon.contracts.specs import Spec
from gnomon.errors import unknown_name

Resolve = Callable[[str], Callable[..., Any]]
"""Imports the function that `module:function` names."""


@dataclass(frozen=True)
class Parts:
    """The ports, and the two settings that the work of operations reads.

    Attributes:
        resolver: Gives the importer of an app's functions by the digest of its code.
        trainer: Gives the trainer of models; called only where one is trained.
        work_folder: Folder for checkpoints and other files of running operations.
        local_rows: Inputs up to this many rows are handled in one process.
    """

    clock: Clock
    offline: OfflineStore
    online: OnlineStore
    artifacts: ArtifactStore
    definitions: DefinitionStore
    operations: OperationStore
    states: StateStore
    registry: ModelRegistry
    tracker: RunTracker
    audit: AuditTrail
    predictions: PredictionLog
    trainer: Callable[[], Trainer]
    resolver: Callable[[str], Resolve]
    work_folder: Path
    local_rows: int

    def app_with(self, kind: type[Spec], name: str) -> Applied:
        """Return the applied app that defines something.

        Args:
            kind: Class of the definition, such as `Model`.
            name: Its name, unique over all apps.

        Returns:
            The current revision of that app.

        Raises:
            NotFound: No applied app defines it; the hint names the nearest name, or that nothing is applied yet.
        """
        known: list[str] = []
        for applied in self.definitions.apps():
            names = [spec.name for spec in applied.app.all(kind)]
            if name in names:
                return applied
            known += names
        error = unknown_name(kind.kind.replace("_", " "), name, known)
        if not known:
            error.hint = "apply an app file first: `gnomon apply APP_FILE`"
        raise error

    def apps(self) -> list[App]:
        """Return the applied apps."""
        return [applied.app for applied in self.definitions.apps()]
