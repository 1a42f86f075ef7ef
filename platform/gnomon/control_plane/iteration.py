"""ControlLoop: the control plane as a plain object: observe, decide, persist, act. Stepped by `actor` and by tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gnomon.contracts.clocks import Clock, SystemClock
from gnomon.control_plane.actions import Action
from gnomon.control_plane.desired import Desired, read_desired
from gnomon.control_plane.endpoint_states import ENDPOINT, endpoint_documents
from gnomon.control_plane.execution import ControlPorts, Executor
from gnomon.control_plane.observation import Memory, Observed, observe
from gnomon.control_plane.reconcile import reconcile

HEARTBEAT_S = 2
"""Least time between two heartbeats; each is a write to the disk."""

CONTROL_PLANE, HEARTBEAT = "control_plane", "heartbeat"
"""Kind and name of the document that tells when the loop was last seen."""

OnError = Callable[[str, Exception], None]
"""Told what failed and why; the next step tries again."""


class ControlLoop:
    """Brings what is to what should be, one step at a time.

    Args:
        ports: What it reads and acts on.
        clock: The platform's time, for everything that is due.
        on_error: Told of every failure that a step survived.
        machine_clock: The machine's time, for pauses between attempts; it goes on while a hand clock stands still.
    """

    def __init__(
        self, ports: ControlPorts, clock: Clock, on_error: OnError, machine_clock: Clock | None = None
    ) -> None:  # fmt: skip
        self._ports = ports
        self._clock = clock
        self._on_error = on_error
        self._machine_clock = machine_clock or SystemClock()
        self._memory = Memory()
        self._executor = Executor(ports, self._memory)
        self._recorded: dict[str, Mapping[str, Any]] | None = None
        self._heartbeat_us = 0

    def step(self) -> list[Action]:
        """Do one iteration; return what was decided, done or failed. One thread at a time."""
        machine_us = self._machine_clock.now_us()
        actions: list[Action] = []
        seen: tuple[Desired, Observed] | None = None
        with self._surviving("look at the platform"):
            seen = self._look(machine_us)
            actions = reconcile(*seen, self._clock.now_us())
        for action in actions:
            with self._surviving(f"do {action}"):
                self._executor.execute(action, machine_us)
        if seen is not None and self._ports.streams is not None:
            with self._surviving("keep the stream consumer"):
                self._ports.streams.keep(wanted=seen[0].streams)
        if seen is not None and self._ports.topics is not None:
            with self._surviving("keep the topic consumer"):
                self._ports.topics.keep(wanted=seen[0].topics)
        if seen is not None:
            with self._surviving("record the endpoints"):
                self._record_endpoints(*seen)
        with self._surviving("record the heartbeat"):
            self._beat(machine_us)
        return actions

    def _look(self, machine_us: int) -> tuple[Desired, Observed]:
        ports = self._ports
        desired = read_desired(ports.definitions, ports.registry, ports.operations)
        observed = observe(
            desired, self._memory, ports.operations, ports.states, ports.workers, ports.endpoints, machine_us
        )
        return desired, observed

    def _record_endpoints(self, desired: Desired, observed: Observed) -> None:
        """Tell what serves, last in a step: whoever waits for it must find what follows from it, such as a monitor's
        first due time, stored already; a crash in between would let that follow from a later moment."""
        if observed.endpoints is None:
            return
        if self._recorded is None:
            self._recorded = dict(self._ports.states.all(ENDPOINT))
        for name, document in endpoint_documents(desired, observed.endpoints, self._recorded).items():
            if self._recorded.get(name) != document:
                self._ports.states.put(ENDPOINT, name, document)
                self._recorded[name] = document

    def _beat(self, machine_us: int) -> None:
        if machine_us - self._heartbeat_us >= HEARTBEAT_S * 1_000_000:
            document = {"wall_us": machine_us, "pid": os.getpid()}
            self._ports.states.put(CONTROL_PLANE, HEARTBEAT, document)
            self._heartbeat_us = machine_us

    @contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one failed part must not keep the others from being done
            self._on_error(what, error)
