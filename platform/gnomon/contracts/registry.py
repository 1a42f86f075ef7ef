"""ModelVersion and the registry port: what was trained, from what, and which version serves.

Implemented by `registry.sql_registry`. Contract: `testing.registry_contract`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gnomon.contracts.signatures import Signature


@dataclass(frozen=True)
class Metric:
    """A metric on held-out rows with its 95 % confidence interval (bootstrap over rows)."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Lineage:
    """Where a version came from, enough to train it again.

    Attributes:
        run_id: The tracked training run.
        app_hash: `App.content_hash` of the definitions.
        code: Digest of the app file.
        training_set: Digest of the training set.
        source_versions: Version of each offline table that was read.
        feature_versions: Layout version of each view.
        trained_until: No label row after this moment was used.
    """

    run_id: str
    app_hash: str
    code: str
    training_set: str
    source_versions: Mapping[str, int]
    feature_versions: Mapping[str, str]
    trained_until: datetime


@dataclass(frozen=True)
class ModelVersion:
    """One trained version; immutable.

    Attributes:
        model: Name of the model.
        number: 1, 2, 3, … in order of registration.
        artifact: Digest of the folder with weights, preprocessing and configuration.
        signature: What it reads and answers.
        metrics: On the held-out, later rows.
        lineage: Where it came from.
        created: When it was registered.
        aliases: Aliases that name it now.
    """

    model: str
    number: int
    artifact: str
    signature: Signature
    metrics: tuple[Metric, ...]
    lineage: Lineage
    created: datetime
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class AliasMove:
    """One entry of an alias's history: who moved it, from where to where, and why."""

    model: str
    alias: str
    before: int | None
    after: int
    reason: str
    actor: str
    moved: datetime


class ModelRegistry(Protocol):
    """Versions and aliases. Each call is one transaction; what returned survives a power cut."""

    def register(
        self, model: str, artifact: str, signature: Signature, metrics: Sequence[Metric], lineage: Lineage
    ) -> ModelVersion:  # fmt: skip
        """Add the next version. A run registers one version: repeating it with the same `run_id` returns that one.

        Args:
            model: Name of the model.
            artifact: Digest of the model's folder in the artifact store.
            signature: What the version takes and answers.
            metrics: Of the evaluation, in the order in which they are to be shown.
            lineage: What it was made from; its `run_id` makes repeating harmless.

        Returns:
            The version, durable, with the next number from 1 on of that model.

        Raises:
            CorruptData: The artifact is not stored whole.
            Conflict: The run has registered a version of another model.
        """
        ...

    def version(self, model: str, number: int) -> ModelVersion:
        """Return a version.

        Args:
            model: Name of the model.
            number: From 1.

        Returns:
            The version with the aliases that name it now.

        Raises:
            NotFound: There is no such model or number.
        """
        ...

    def versions(self, model: str | None = None) -> list[ModelVersion]:
        """Return versions, oldest first; of all models when none is named."""
        ...

    def resolve(self, model: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias names, or None."""
        ...

    def move_alias(
        self, model: str, alias: str, number: int, *, reason: str, actor: str, expected: int | str | None = "any"
    ) -> AliasMove:  # fmt: skip
        """Point an alias at a version, and record it, in one transaction.

        To where it already points is no move, whatever was expected: the move that brought it there is returned, so
        that a repeat after a lost answer succeeds.

        Args:
            model: Name of the model.
            alias: Such as `champion`.
            number: The version.
            reason: Why, in words, with the numbers that decided.
            actor: Who.
            expected: Refuse unless the alias names this version now (None: nothing); "any" does not ask.

        Returns:
            The entry of the alias's history that brought it there.

        Raises:
            NotFound: There is no such version.
            Conflict: The alias names another version than expected.
        """
        ...

    def alias_history(self, model: str) -> list[AliasMove]:
        """Return all moves of the model's aliases, oldest first."""
        ...


@dataclass(frozen=True)
class Run:
    """A tracked training run.

    Attributes:
        run_id: Its identity.
        model: What was trained.
        state: `running`, `finished` or `failed`.
        parameters: Trainer settings, JSON.
        metrics: Final metrics.
        error: Why it failed.
    """

    run_id: str
    model: str
    state: str
    started: datetime
    finished: datetime | None
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    error: str = ""


class RunTracker(Protocol):
    """Parameters and metric series of training runs. Contract: `testing.tracking_contract`."""

    def start(self, run_id: str, model: str, parameters: Mapping[str, Any]) -> Run:
        """Begin a run; starting one that exists sets it back to running and keeps its series.

        Args:
            run_id: The run; that of the operation which trains.
            model: What is trained.
            parameters: Trainer settings, JSON.

        Returns:
            The run, running.

        Raises:
            Conflict: The run trains another model.
        """
        ...

    def log(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics of a step; a metric logged again for a step replaces the earlier value. NaN is kept.

        Args:
            run_id: A run that was started.
            step: Such as the epoch, from 1.
            metrics: Values by name.

        Raises:
            NotFound: There is no such run.
        """
        ...

    def finish(self, run_id: str, metrics: Mapping[str, float], error: str = "") -> Run:
        """End a run: failed when there is an error, finished otherwise."""
        ...

    def series(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return (step, value) by step.

        Args:
            run_id: A run that was started.
            metric: Name of one of its metrics.

        Returns:
            Steps ascending, each once; empty where the run never logged that metric.

        Raises:
            NotFound: There is no such run.
        """
        ...

    def runs(self, model: str | None = None) -> list[Run]:
        """Return runs, newest first."""
        ...
