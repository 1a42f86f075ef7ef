"""The replica of an endpoint: a Ray Serve deployment that serves one version of one model.

`endpoint_application` describes it for `serving.endpoints` and `serve_apps/endpoint.py`; Ray Serve starts it. It builds
its parts by itself, from a factory that is named as text, so that a restarted one needs nothing from who deployed it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve.config import AutoscalingConfig

from gnomon.contracts.cluster import EndpointTarget
from gnomon.contracts.deployments import Deployment
from gnomon.errors import Conflict, OperationFailed
from gnomon.serving.parts import serving_parts
from gnomon.telemetry.logs import configure, logger

if TYPE_CHECKING:
    from gnomon.serving.endpoint_app import EndpointApp
    from gnomon.serving.spooling_sink import SpoolingSink

# What brings in Arrow and NumPy is imported in the replica itself: the control plane, which deploys it, does without.

DEPLOYMENT = "replica"
"""Name of the one Serve deployment of an endpoint's application."""

_READY_FOR_S = 1.0  # a readiness that was found holds this long, so that probes cannot load the online store
_ONGOING_PER_TARGET = 16


class EndpointReplica:
    """Holds the parts of one replica.

    Args:
        factory: Makes its `ServingParts`, as `module:function`.
        target: The fields of an `EndpointTarget`.
    """

    def __init__(self, factory: str, target: Mapping[str, Any]) -> None:
        from gnomon.serving.request_path_loading import load_request_path
        from gnomon.serving.spooling_sink import SpoolingSink

        self._target = EndpointTarget(**target)
        parts = serving_parts(factory)
        configure(f"endpoint-{self._target.deployment}", parts.log_level, parts.log_folder)
        self._parts = parts
        self._sink: SpoolingSink | None = None
        self._ready_until_s = 0.0
        app = parts.definitions.revision(self._target.app_hash).app
        self._deployment = app.get(Deployment, self._target.deployment)
        if self._deployment.log_predictions:
            self._sink = SpoolingSink(
                parts.spool_folder, self._target.deployment, parts.flush_s, parts.predictions
            )  # fmt: skip
        self._path = load_request_path(self._target, parts, self._sink)
        logger().info("serving", **dict(target))

    def __serve_build_asgi_app__(self) -> EndpointApp:
        """Return the application that Ray Serve's HTTP server calls."""
        from gnomon.serving.endpoint_app import EndpointApp
        from gnomon.serving.endpoint_metrics import EndpointMetrics

        sink = self._sink
        dropped = (lambda: sink.dropped) if sink is not None else (lambda: 0)
        metrics = EndpointMetrics(self._target.version, self._path.signature.lookups, dropped)
        timeout_s = self._deployment.request_timeout_s
        return EndpointApp(self._path, self._parts.token, timeout_s, self.check_ready, metrics)

    def reconfigure(self, target: Mapping[str, Any]) -> None:
        """Take the configuration that Ray Serve keeps with the deployment: the target, for `RayEndpoints.observe`.

        Args:
            target: Fields of an `EndpointTarget`.

        Raises:
            Conflict: It is another target than this replica was started for.
        """
        if EndpointTarget(**target) != self._target:
            raise Conflict(f"this replica serves {self._target}, not {dict(target)}", "deploy the endpoint again")

    def check_ready(self) -> None:
        """Return when the replica can answer.

        Raises:
            Unavailable: The online store does not answer.
        """
        if self._path.signature.lookups and time.monotonic() >= self._ready_until_s:
            self._parts.online.ping()
            self._ready_until_s = time.monotonic() + _READY_FOR_S

    def check_health(self) -> None:
        """Return when a restart would not help; called by Ray Serve. A dead online store is not the replica's illness.

        Raises:
            OperationFailed: The prediction log's threads have ended.
        """
        if self._sink is not None and not self._sink.alive:
            raise OperationFailed("the threads of the prediction log have ended", "the replica is restarted")

    def __del__(self) -> None:
        """Bring the last predictions into the log; called by Ray Serve once no request is left."""
        if getattr(self, "_sink", None) is not None and self._sink is not None:
            self._sink.close()


def endpoint_application(factory: str, target: EndpointTarget, deployment: Deployment) -> serve.Application:
    """Describe the Ray Serve application of an endpoint.

    Args:
        factory: Makes a replica's `ServingParts`, as `module:function`.
        target: What to serve.
        deployment: Its spec: replicas, CPUs, deadlines.

    Returns:
        The application, bound and not yet run; its one deployment is named `DEPLOYMENT`.
    """
    fields = dict(vars(target))
    ingress = serve.ingress()(EndpointReplica)
    return serve.deployment(
        ingress, name=DEPLOYMENT, user_config=fields, ray_actor_options={"num_cpus": deployment.cpus_per_replica},
        max_ongoing_requests=max(100, round(_ONGOING_PER_TARGET * deployment.target_ongoing_requests)),
        max_surge_percent=100.0, health_check_period_s=2.0, health_check_timeout_s=10.0,
        graceful_shutdown_timeout_s=max(10.0, deployment.request_timeout_s), graceful_shutdown_wait_loop_s=0.5,
        **_scale(deployment),
    ).bind(factory, fields)  # fmt: skip


def _scale(deployment: Deployment) -> dict[str, Any]:
    if deployment.min_replicas == deployment.max_replicas:
        return {"num_replicas": deployment.min_replicas}
    scaling = AutoscalingConfig(
        min_replicas=deployment.min_replicas, max_replicas=deployment.max_replicas,
        target_ongoing_requests=deployment.target_ongoing_requests, upscale_delay_s=2.0, downscale_delay_s=60.0,
        metrics_interval_s=1.0, look_back_period_s=5.0,
    )  # fmt: skip
    return {"autoscaling_config": scaling}
