"""What the control plane can decide to do. Made by `reconcile`, done by `execution`; each may be done twice.

An action is a decision with all the values it needs; it holds no behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.contracts.cluster import EndpointTarget


@dataclass(frozen=True)
class StartAttempt:
    """Give an operation its next lease, then start the worker of that lease.

    Attributes:
        operation_id: The operation.
        expected_lease: Its lease as it was seen; nothing happens if it moved on meanwhile. Above 0, the worker of that
            lease is dead as far as is known, and is stopped first.
        monitor: For an evaluation, the monitor that must remember it before it runs.
    """

    operation_id: str
    expected_lease: int
    monitor: str | None = None


@dataclass(frozen=True)
class StartWorker:
    """Start the worker of a lease that was given but whose start was not confirmed."""

    operation_id: str
    lease: int


@dataclass(frozen=True)
class StopWorker:
    """End the worker of an operation that was cancelled."""

    operation_id: str
    lease: int


@dataclass(frozen=True)
class FailOperation:
    """End an operation whose workers died too often; the message names kind, target and attempts."""

    operation_id: str
    lease: int
    message: str


@dataclass(frozen=True)
class Deploy:
    """Serve a version."""

    target: EndpointTarget


@dataclass(frozen=True)
class RemoveEndpoint:
    """Stop serving an endpoint that no app defines any more."""

    deployment: str


@dataclass(frozen=True)
class ScheduleMonitor:
    """Remember when a monitor is due next."""

    monitor: str
    next_due_us: int


@dataclass(frozen=True)
class SubmitEvaluation:
    """Ask for the evaluation that is due; its id follows from monitor and due time, so that asking twice is once."""

    monitor: str
    operation_id: str
    due_us: int
    next_due_us: int


@dataclass(frozen=True)
class SettleEvaluation:
    """Take in an evaluation that ended, and ask for what follows from it.

    Attributes:
        monitor: The monitor.
        operation_id: The evaluation.
        ended_us: When it ended.
        succeeded: It said something.
        fired: It fired, and the cooldown of the firing before was over.
        retrain: The model to train again, if that follows.
    """

    monitor: str
    operation_id: str
    ended_us: int
    succeeded: bool
    fired: bool
    retrain: str | None


Action = (
    StartAttempt | StartWorker | StopWorker | FailOperation | Deploy | RemoveEndpoint | ScheduleMonitor
    | SubmitEvaluation | SettleEvaluation
)  # fmt: skip
