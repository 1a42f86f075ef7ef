"""RayEndpoints: the `EndpointServer` on Ray Serve; one application per deployment, called by the control loop.

What was asked for last is kept by Ray Serve with the application itself, so that any process sees it, also after the
one that asked has died.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException

from gnomon.contracts.cluster import EndpointStatus, EndpointTarget
from gnomon.contracts.deployments import Deployment
from gnomon.contracts.platform_state import DefinitionStore
from gnomon.errors import Unavailable
from gnomon.serving.replica import DEPLOYMENT, endpoint_application

_PREFIX = "endpoint-"
_TIMEOUT_S = 10.0
_MESSAGE_CHARACTERS = 500
_UNHEALTHY = frozenset({"UNHEALTHY", "DEPLOY_FAILED"})
_GOING = frozenset({"DELETING", "NOT_STARTED"})


class RayEndpoints:
    """Serves versions as Ray Serve applications of the cluster that this process is connected to.

    Args:
        factory: Makes a replica's `ServingParts`, as `module:function`.
        definitions: Where deployment specs are looked up.
    """

    def __init__(self, factory: str, definitions: DefinitionStore) -> None:
        self._factory = factory
        self._definitions = definitions

    def deploy(self, target: EndpointTarget) -> None:
        """Begin to serve the target; see `EndpointServer.deploy`. What serves or starts already is left alone.

        Args:
            target: What to serve; its app's deployment spec says with how many replicas and CPUs.

        Raises:
            Unavailable: Ray Serve does not answer.
            NotFound: No app with that hash was applied, or it has no such deployment.
        """
        seen = self.observe().get(target.deployment)
        if seen is not None and seen.target == target:
            return
        app = self._definitions.revision(target.app_hash).app
        application = endpoint_application(self._factory, target, app.get(Deployment, target.deployment))
        run = serve.RunTarget(
            application, name=application_name(target.deployment), route_prefix=route_prefix(target.deployment)
        )  # fmt: skip
        try:
            # What this hands to Ray Serve's controller is stored there before it returns.
            serve.run_many(
                [run], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
            )  # fmt: skip
        except (RayError, RayServeException, ConnectionError, TimeoutError) as error:
            raise _unavailable(error) from error
        self._await_target(target)

    def _await_target(self, target: EndpointTarget) -> None:
        """Wait until Ray Serve's next reconciliation has taken the target over, so that it is what is observed."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline_s:
            seen = self.observe().get(target.deployment)
            if seen is not None and seen.target == target:
                return
            time.sleep(0.05)

    def observe(self) -> Mapping[str, EndpointStatus]:
        """Return the status of every endpoint by deployment name; those being removed are left out.

        Returns:
            The last target that Ray Serve took for each, and how far it is.

        Raises:
            Unavailable: Ray Serve does not run or does not answer.
        """
        applications = _applications()
        found: dict[str, EndpointStatus] = {}
        for name, application in applications.items():
            status = _status(application) if name.startswith(_PREFIX) else None
            if status is not None:
                found[status.target.deployment] = status
        return found

    def remove(self, deployment: str) -> None:
        """Stop serving an endpoint; unknown names are ignored.

        Args:
            deployment: Name of the endpoint.

        Raises:
            Unavailable: Ray Serve does not run or does not answer.
        """
        name = application_name(deployment)
        if name not in _applications():
            return
        try:
            ray.get(_client()._controller.delete_apps.remote([name]), timeout=_TIMEOUT_S)
        except (RayError, RayServeException, ConnectionError, TimeoutError) as error:
            raise _unavailable(error) from error


def application_name(deployment: str) -> str:
    """Return the name of a deployment's Ray Serve application."""
    return f"{_PREFIX}{deployment}"


def route_prefix(deployment: str) -> str:
    """Return the path below which a deployment answers."""
    return f"/endpoints/{deployment}"


def _client() -> Any:
    # Ray Serve's public status leaves out `user_config`, in which the target is kept.
    return _get_global_client(raise_if_no_controller_running=True)


def _applications() -> dict[str, dict[str, Any]]:
    try:
        details = ray.get(_client()._controller.get_serve_instance_details.remote(), timeout=_TIMEOUT_S)
    except (RayError, RayServeException, ConnectionError, TimeoutError) as error:
        raise _unavailable(error) from error
    applications: dict[str, dict[str, Any]] = details["applications"]
    return applications


def _status(application: Mapping[str, Any]) -> EndpointStatus | None:
    state = str(getattr(application["status"], "value", application["status"]))
    replica = application["deployments"].get(DEPLOYMENT)
    if state in _GOING or replica is None:
        return None
    target = EndpointTarget(**replica["deployment_config"]["user_config"])
    running = sum(str(getattr(r["state"], "value", r["state"])) == "RUNNING" for r in replica["replicas"])
    return EndpointStatus(target, _state(state), _message(application, replica), running)


def _state(state: str) -> Literal["starting", "healthy", "unhealthy"]:
    if state == "RUNNING":
        return "healthy"
    return "unhealthy" if state in _UNHEALTHY else "starting"


def _message(application: Mapping[str, Any], replica: Mapping[str, Any]) -> str:
    """Return the end of what Ray Serve says: the cause is the last line of its traceback."""
    text = str(replica.get("message") or application.get("message") or "").strip()
    return text if len(text) <= _MESSAGE_CHARACTERS else "…" + text[-_MESSAGE_CHARACTERS:]


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"Ray Serve does not answer: {error}", "is the platform up? see `gnomon status`")
