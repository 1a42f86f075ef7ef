"""The two things that the control plane asks of the cluster: start a worker for an operation, and serve a version.

Implemented by `runtime.operation_workers` and `serving.endpoints`; faked in `testing.fake_cluster` for the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol


class WorkerPool(Protocol):
    """Runs one worker per (operation, lease). All calls are idempotent and return quickly.

    Contract: `testing.worker_pool_contract`. Each call raises `Unavailable` where the cluster does not answer.
    """

    def start(self, operation_id: str, lease: int) -> None:
        """Start the worker of this lease unless it runs already."""
        ...

    def alive(self, operation_id: str, lease: int) -> bool:
        """Tell whether the worker of this lease is starting or running; False after it ended or died."""
        ...

    def stop(self, operation_id: str, lease: int) -> None:
        """End the worker of this lease, if there is one.

        It may be alive for a while after: one that shares its process ends at its work's next report of progress.
        """
        ...


@dataclass(frozen=True)
class EndpointTarget:
    """What should serve.

    Attributes:
        deployment: Name of the endpoint.
        model: Its model.
        version: Number of the version.
        app_hash: Hash of the applied app whose deployment spec configures it.
    """

    deployment: str
    model: str
    version: int
    app_hash: str


@dataclass(frozen=True)
class EndpointStatus:
    """What does serve.

    Attributes:
        target: What was last asked for, as the cluster knows it.
        state: `starting` (or updating), `healthy`, `unhealthy`.
        message: Why, where it is not healthy.
        replicas: Running replicas.
    """

    target: EndpointTarget
    state: Literal["starting", "healthy", "unhealthy"]
    message: str = ""
    replicas: int = 0


class EndpointServer(Protocol):
    """Serves versions. All calls are idempotent and return quickly; progress is seen by `observe`."""

    def deploy(self, target: EndpointTarget) -> None:
        """Begin to serve the target; where the endpoint exists, the old version serves until the new is healthy."""
        ...

    def observe(self) -> Mapping[str, EndpointStatus]:
        """Return the status of every endpoint by deployment name.

        Returns:
            One status for each endpoint that was deployed and not removed, healthy or not.

        Raises:
            Unavailable: The serving system does not answer.
        """
        ...

    def remove(self, deployment: str) -> None:
        """Stop serving an endpoint; unknown names are ignored."""
        ...
