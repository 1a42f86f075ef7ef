"""A cluster without processes: `WorkerPool` and `EndpointServer` whose workers and endpoints a test moves by hand.

Used by the control plane's tests and its simulator. The fakes pass `testing.worker_pool_contract`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from gnomon.contracts.cluster import EndpointStatus, EndpointTarget
from gnomon.errors import Unavailable

Worker = tuple[str, int]
"""Operation id and lease."""


class FakeWorkerPool:
    """Workers by (operation, lease).

    Attributes:
        processes: Workers whose process runs and that are seen as alive.
        unseen: Workers that run but are taken for dead; `stop` ends them.
        lost: Workers that run but are taken for dead, as behind a broken network: `stop` does not reach them.
        starts: How many processes were started for each worker.
        available: Whether the cluster answers.
    """

    def __init__(self) -> None:
        self.processes: set[Worker] = set()
        self.unseen: set[Worker] = set()
        self.lost: set[Worker] = set()
        self.starts: dict[Worker, int] = {}
        self.available = True

    def start(self, operation_id: str, lease: int) -> None:
        """Start the worker of this lease unless it runs already."""
        self._answer()
        worker = (operation_id, lease)
        if worker not in self.processes:
            self.processes.add(worker)
            self.starts[worker] = self.starts.get(worker, 0) + 1

    def alive(self, operation_id: str, lease: int) -> bool:
        """Tell whether the worker of this lease runs."""
        self._answer()
        return (operation_id, lease) in self.processes

    def stop(self, operation_id: str, lease: int) -> None:
        """End the worker of this lease, if there is one."""
        self._answer()
        self.processes.discard((operation_id, lease))
        self.unseen.discard((operation_id, lease))

    def end(self, worker: Worker) -> None:
        """Let a worker's process end, by itself or killed."""
        for workers in (self.processes, self.unseen, self.lost):
            workers.discard(worker)

    def lose(self, worker: Worker, *, reachable: bool) -> None:
        """Let a worker be taken for dead while it runs on.

        Args:
            worker: One of `processes`.
            reachable: Whether `stop` still ends it.
        """
        self.processes.remove(worker)
        (self.unseen if reachable else self.lost).add(worker)

    def running(self) -> list[Worker]:
        """Return all workers whose process runs, in a fixed order."""
        return sorted(self.processes | self.unseen | self.lost)

    def _answer(self) -> None:
        if not self.available:
            raise Unavailable("the fake cluster is away")


class FakeEndpointServer:
    """Endpoints that start when told to; what was asked for is seen after the next `publish`.

    Attributes:
        deploys: How often each target was asked for.
        available: Whether the serving system answers.
    """

    def __init__(self) -> None:
        self.deploys: dict[EndpointTarget, int] = {}
        self.available = True
        self._endpoints: dict[str, EndpointStatus] = {}
        self._shown: dict[str, EndpointStatus] = {}

    def deploy(self, target: EndpointTarget) -> None:
        """Begin to serve the target; one that starts or serves already is left alone."""
        self._answer()
        self.deploys[target] = self.deploys.get(target, 0) + 1
        known = self._endpoints.get(target.deployment)
        if known is None or known.target != target or known.state == "unhealthy":
            self._endpoints[target.deployment] = EndpointStatus(target, "starting")

    def observe(self) -> Mapping[str, EndpointStatus]:
        """Return the statuses as of the last `publish`."""
        self._answer()
        return dict(self._shown)

    def remove(self, deployment: str) -> None:
        """Stop serving an endpoint; unknown names are ignored."""
        self._answer()
        self._endpoints.pop(deployment, None)

    def become(self, deployment: str, state: Literal["healthy", "unhealthy"], message: str = "") -> None:
        """Let an endpoint be `healthy` or `unhealthy`."""
        self._endpoints[deployment] = replace(
            self._endpoints[deployment], state=state, message=message, replicas=int(state == "healthy")
        )

    def publish(self) -> None:
        """Let `observe` see everything that was done."""
        self._shown = dict(self._endpoints)

    def names(self) -> list[str]:
        """Return the endpoints that exist, in a fixed order."""
        return sorted(self._endpoints)

    def status(self, deployment: str) -> EndpointStatus:
        """Return the true status of an endpoint."""
        return self._endpoints[deployment]

    def _answer(self) -> None:
        if not self.available:
            raise Unavailable("the fake serving system is away")
