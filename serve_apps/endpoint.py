"""Serve one endpoint by `serve deploy cluster_configs/serve_endpoint.yaml`, beside or instead of the control plane.

The application is the one that the control plane deploys. Its arguments are `deployment`, and optionally `version`;
without one the model's champion serves.
"""

from __future__ import annotations

from typing import Any

from ray import serve

from gnomon.contracts.cluster import EndpointTarget
from gnomon.contracts.deployments import CHAMPION, Deployment
from gnomon.errors import InvalidInput, unknown_name
from gnomon.serving.parts import serving_parts
from gnomon.serving.replica import endpoint_application

FACTORY = "gnomon.composition:serving_parts"


def app(args: dict[str, Any]) -> serve.Application:
    """Build the application.

    Args:
        args: `deployment`; `version`, a number; `factory`, what makes a replica's parts.

    Returns:
        The application, bound to that version.

    Raises:
        InvalidInput: An argument is missing, unknown or of another type, or no version serves yet.
        NotFound: There is no such deployment or version.
    """
    unknown = sorted(args.keys() - {"deployment", "version", "factory"})
    if unknown or not isinstance(args.get("deployment"), str) or not isinstance(args.get("version", 1), int):
        raise InvalidInput(f"these arguments cannot be used: {args}", "give deployment, and a number as version")
    factory = args.get("factory", FACTORY)
    parts = serving_parts(factory)
    applied = {d.name: (d, a) for a in parts.definitions.apps() for d in a.app.all(Deployment)}
    if args["deployment"] not in applied:
        raise unknown_name("deployment", args["deployment"], applied)
    deployment, owner = applied[args["deployment"]]
    if "version" in args:
        version = parts.registry.version(deployment.model, args["version"]).number
    else:
        champion = parts.registry.resolve(deployment.model, CHAMPION)
        if champion is None:
            raise InvalidInput(f"no version of '{deployment.model}' serves yet", "name one: version: 1")
        version = champion.number
    target = EndpointTarget(deployment.name, deployment.model, version, owner.app_hash)
    return endpoint_application(factory, target, deployment)
