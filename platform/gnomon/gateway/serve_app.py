"""The gateway as a Ray Serve application at the root of the platform's port; endpoints have longer routes beside it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from ray import serve

from gnomon import composition
from gnomon.gateway.app import create_app
from gnomon.settings import access_token

APP_NAME = "gateway"


def build_gateway() -> FastAPI:
    """Build the gateway's application in its replica, from the settings of the replica's environment."""
    settings = composition.begin("gateway")
    return create_app(
        composition.parts(),
        access_token(settings),
        logs=composition.log_folder(settings),
        scrape=settings.scrape,
        push_wait_s=settings.push_wait_s,
    )


class Gateway:
    """Holds the application; all of its work is in the routes."""


_deployment: Any = serve.deployment(
    serve.ingress(build_gateway)(Gateway),
    num_replicas=1,
    ray_actor_options={"num_cpus": 0},
    max_ongoing_requests=64,
    health_check_period_s=5,
    max_surge_percent=100,
)
application: Any = _deployment.bind()
