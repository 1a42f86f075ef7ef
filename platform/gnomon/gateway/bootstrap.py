"""Puts the platform on a running Ray cluster, and ends: the control plane's actor, Serve's ingress, the gateway.

Run by the supervisor as `python -m gnomon.gateway.bootstrap`; all that it starts is detached and outlives it. Running
it again on the same cluster changes nothing that is well.
"""

from __future__ import annotations

import sys
import time

import httpx
import ray
from ray import serve
from ray.serve.config import HTTPOptions

from gnomon import composition
from gnomon.control_plane.actor import start_control_plane
from gnomon.errors import Conflict, GnomonError, Unavailable
from gnomon.gateway.serve_app import APP_NAME, application
from gnomon.runtime.ray_actors import NAMESPACE
from gnomon.settings import Settings
from gnomon.telemetry.logs import logger

_HEALTHY_TIMEOUT_S = 120.0
_CONNECT_ATTEMPTS = 3


def bootstrap(settings: Settings) -> None:
    """Start everything that runs on Ray, and return when the gateway answers.

    Args:
        settings: Those of the platform's home; host and port say where requests enter.

    Raises:
        Conflict: The gateway's port is taken.
        Unavailable: Ray, its proxy, the control plane or the gateway did not answer in time.
    """
    _connect()
    control_plane = start_control_plane(composition.CONTROL_LOOP, settings.poll_s)
    try:
        serve.start(http_options=HTTPOptions(host=settings.host, port=settings.port), proxy_location="HeadOnly")
    except ray.exceptions.RayActorError as error:
        raise Unavailable(
            f"Ray Serve's proxy did not start: {error}", "is the machine overloaded? try again"
        ) from error
    except ray.exceptions.RayTaskError as error:
        raise Conflict(
            f"requests cannot enter at {settings.host}:{settings.port}: {error.cause or error}",
            "choose another port: GNOMON_PORT=0 takes a free one",
        ) from error
    serve.run(application, name=APP_NAME, route_prefix="/", blocking=False)
    try:
        ray.get(control_plane.ping.remote(), timeout=_HEALTHY_TIMEOUT_S)
    except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
        raise Unavailable(f"the control plane does not start: {error}", "its log is control-plane.jsonl") from error
    _wait_for_gateway(f"http://{settings.host}:{settings.port}/health")


def _connect() -> None:
    """Connect to the cluster; a head that has only just started is given some more time.

    Raises:
        Unavailable: The cluster does not answer.
    """
    for attempt in range(1, _CONNECT_ATTEMPTS + 1):
        try:
            ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, TimeoutError) as error:
            if attempt == _CONNECT_ATTEMPTS:
                raise Unavailable(
                    f"Ray's head does not answer: {error}", "is the machine overloaded? try again"
                ) from error
            ray.shutdown()
        else:
            return


def _wait_for_gateway(address: str) -> None:
    deadline = time.monotonic() + _HEALTHY_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            # A proxy of the environment is for other hosts than this one.
            if httpx.get(address, timeout=2.0, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass  # not yet
        time.sleep(0.1)
    raise Unavailable(f"the gateway does not answer at {address} after {_HEALTHY_TIMEOUT_S:.0f} s")


def main() -> None:
    """Run from the supervisor; the last line of output says why it failed."""
    settings = composition.begin("bootstrap")
    try:
        composition.parts()  # a state database that cannot be opened is told here, not by an actor that will not start
        bootstrap(settings)
    except GnomonError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - see below
        # The edge of the process: Ray raises many kinds, and the supervisor shows the last line of what we write.
        logger().error("the platform did not start on Ray", exc_info=error)
        sys.stdout.write(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
