"""Executor: does what `reconcile` decided: persists first, then acts. Called by `iteration`, one action at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gnomon.contracts.cluster import EndpointServer, WorkerPool
from gnomon.contracts.operations import OperationStore
from gnomon.contracts.platform_state import StateStore
from gnomon.control_plane.actions import (
    Action,
    Deploy,
    FailOperation,
    RemoveEndpoint,
    ScheduleMonitor,
    SettleEvaluation,
    StartAttempt,
    StartWorker,
    StopWorker,
    SubmitEvaluation,
)
from gnomon.control_plane.desired import Aliases, AppliedApps
from gnomon.control_plane.monitor_states import SCHEDULE, MonitorState, retrain_id
from gnomon.control_plane.observation import Deployed, Memory
from gnomon.errors import Conflict, OperationFailed

ACTOR = "control-plane"
"""Who asks for the operations that follow from others."""


class StreamKeeper(Protocol):
    """Runs the stream consumer, or the topic consumer; implemented by `stream_actor`."""

    def keep(self, *, wanted: bool) -> None:
        """Start the consumer, or end it; nothing happens where it is so already."""
        ...


@dataclass(frozen=True)
class ControlPorts:
    """Everything that the control plane reads from and acts on.

    Without `streams`, no view is kept fresh; without `topics`, no topic is read.
    """

    definitions: AppliedApps
    registry: Aliases
    operations: OperationStore
    states: StateStore
    workers: WorkerPool
    endpoints: EndpointServer
    streams: StreamKeeper | None = None
    topics: StreamKeeper | None = None


class Executor:
    """Does actions. Each may be repeated after a crash at any point in it.

    Args:
        ports: What is acted on.
        memory: Is told of leases, starts and deployments.
    """

    def __init__(self, ports: ControlPorts, memory: Memory) -> None:
        self._ports = ports
        self._memory = memory

    def execute(self, action: Action, machine_us: int) -> None:
        """Do one action; what a port raises comes through.

        Args:
            action: What was decided.
            machine_us: The machine's time, remembered for the pause until the next attempt.
        """
        match action:
            case StartAttempt():
                self._start_attempt(action, machine_us)
            case StartWorker(operation_id, lease):
                self._start(operation_id, lease)
            case StopWorker(operation_id, lease):
                self._ports.workers.stop(operation_id, lease)
            case FailOperation(operation_id, lease, message):
                error = OperationFailed(message, "see the logs of its workers: `gnomon logs`").as_json()
                self._ports.operations.finish(operation_id, lease, error=error)
            case Deploy():
                self._deploy(action, machine_us)
            case RemoveEndpoint(deployment):
                self._ports.endpoints.remove(deployment)
            case ScheduleMonitor(monitor, next_due_us):
                self._change(monitor, lambda state: state.schedule(next_due_us))
            case SubmitEvaluation():
                self._submit_evaluation(action)
            case SettleEvaluation():
                self._settle(action)

    def _start_attempt(self, action: StartAttempt, machine_us: int) -> None:
        if action.monitor is not None:
            self._change(action.monitor, lambda state: state.watch(action.operation_id))
        if action.expected_lease:
            self._ports.workers.stop(action.operation_id, action.expected_lease)
        identity, lease = action.operation_id, action.expected_lease + 1
        self._memory.unstarted[identity] = lease  # first: a lease whose answer is lost is no dead worker
        if self._ports.operations.lease(identity, action.expected_lease) is None:
            del self._memory.unstarted[identity]
            return
        self._memory.leased_us[identity] = machine_us
        self._memory.workers[identity] = lease
        self._start(identity, lease)

    def _start(self, operation_id: str, lease: int) -> None:
        self._ports.workers.start(operation_id, lease)
        self._memory.unstarted.pop(operation_id, None)

    def _deploy(self, action: Deploy, machine_us: int) -> None:
        name = action.target.deployment
        before = self._memory.deployed.get(name)
        times = before.times + 1 if before is not None and before.target == action.target else 1
        self._memory.deployed[name] = Deployed(action.target, times, machine_us)
        self._ports.endpoints.deploy(action.target)

    def _submit_evaluation(self, action: SubmitEvaluation) -> None:
        due = {"due_us": action.due_us}
        self._ports.operations.submit("monitor", action.monitor, due, actor=ACTOR, operation_id=action.operation_id)
        self._change(action.monitor, lambda state: state.schedule(action.next_due_us).watch(action.operation_id))

    def _settle(self, action: SettleEvaluation) -> None:
        retrain = None
        if action.retrain is not None:
            retrain = retrain_id(action.operation_id)
            self._submit_retrain(retrain, action.retrain, action)
        self._change(
            action.monitor,
            lambda state: state.settle(
                action.operation_id, action.ended_us, succeeded=action.succeeded, fired=action.fired, retrain=retrain
            ),
        )

    def _submit_retrain(self, identity: str, model: str, action: SettleEvaluation) -> None:
        why = {"monitor": action.monitor, "evaluation": action.operation_id}
        try:
            self._ports.operations.submit("retrain", model, why, actor=ACTOR, operation_id=identity)
        except Conflict:
            return  # asked for before a crash, while the deployment had another model: one retraining is enough

    def _change(self, monitor: str, change: Callable[[MonitorState], MonitorState]) -> None:
        document = self._ports.states.get(SCHEDULE, monitor)
        before = MonitorState.from_json(document)
        after = change(before)
        if after != before:
            self._ports.states.put(SCHEDULE, monitor, after.as_json())
