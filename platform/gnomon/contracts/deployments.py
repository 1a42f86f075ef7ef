"""Deployment: where a model answers, with how many replicas. Monitor: what is watched there, and what then happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from gnomon.contracts.durations import Duration
from gnomon.contracts.specs import Part, Reference, Spec

CHAMPION = "champion"
"""The alias of the version that serves."""


class Deployment(Spec, init=False):
    """An endpoint that answers with the model's champion.

    Attributes:
        model: The model; the version is whatever its alias `champion` names.
        min_replicas: Replicas kept at rest.
        max_replicas: Replicas at most.
        target_ongoing_requests: Requests in flight per replica that autoscaling aims at.
        cpus_per_replica: Logical CPUs that each replica reserves.
        request_timeout_s: A request that takes longer is answered 504.
        log_predictions: Whether predictions are logged; monitoring and audits need the log.
    """

    kind: ClassVar[str] = "deployment"
    model: Reference
    min_replicas: Annotated[int, Field(ge=1)] = 1
    max_replicas: Annotated[int, Field(ge=1)] = 1
    target_ongoing_requests: Annotated[float, Field(gt=0)] = 8.0
    cpus_per_replica: Annotated[float, Field(ge=0)] = 0.1
    request_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    log_predictions: bool = True

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is below min_replicas {self.min_replicas}")
        return self


class Drift(Part, init=False):
    """A comparison of the live window with the training reference.

    Attributes:
        of: `score`, `inputs` (each model input; the worst counts) or one input by name.
        method: `psi` (population stability index over the reference's deciles) or `ks` (two-sample Kolmogorov–Smirnov).
        threshold: Fires at or above; PSI itself, or the KS distance D, provided that its p-value (Bonferroni over
            the columns compared) is below 0.01.
    """

    positional: ClassVar[tuple[str, ...]] = ("of",)
    rule: Literal["drift"] = "drift"
    of: str = "inputs"
    method: Literal["psi", "ks"] = "psi"
    threshold: Annotated[float, Field(gt=0)] = 0.25


class Quality(Part, init=False):
    """A bound on a metric of the predictions whose outcomes have come.

    Attributes:
        metric: As in `Gate`: one of the metrics of the model's task.
        min: Fires below. At least one of both bounds is needed.
        max: Fires above.
    """

    positional: ClassVar[tuple[str, ...]] = ("metric",)
    rule: Literal["quality"] = "quality"
    metric: str
    min: float | None = None
    max: float | None = None


class Monitor(Spec, init=False):
    """What is watched on a deployment, how often, and what follows.

    Attributes:
        deployment: What is watched.
        window: Length of the live window, in event time of the predictions.
        every: How often it is evaluated.
        min_rows: Fewer predictions (or outcomes, for quality) than this say nothing.
        rules: The monitor fires when any rule does.
        on_fire: `retrain` trains on fresh data, checks the gates and promotes if they hold; `alert` only records.
        cooldown: After firing, at least this long until it may fire again.
    """

    kind: ClassVar[str] = "monitor"
    deployment: Reference
    window: Duration
    every: Duration
    min_rows: Annotated[int, Field(ge=1)] = 200
    rules: Annotated[tuple[Annotated[Drift | Quality, Field(discriminator="rule")], ...], Field(min_length=1)]
    on_fire: Literal["retrain", "alert"] = "retrain"
    cooldown: Duration = timedelta(days=1)

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not self.window or not self.every:
            raise ValueError("window and every need a length above zero, such as '7d' and '1d'")
        return self
