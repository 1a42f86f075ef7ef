"""Routes for people and for Prometheus: the status page, the API page, the log-in link and `/metrics`."""

from __future__ import annotations

import hmac

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from gnomon.control_plane.parts import Parts
from gnomon.dashboard.pages import api_page, status_page
from gnomon.errors import Unauthenticated
from gnomon.gateway.access import COOKIE
from gnomon.gateway.metrics import exposition
from gnomon.gateway.status import platform_status


def router(app: FastAPI, parts: Parts, token: str, scrape: tuple[str, ...]) -> APIRouter:
    """Return the routes; `scrape` are the Prometheus endpoints whose metrics are passed on."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def status() -> HTMLResponse:
        return HTMLResponse(status_page(platform_status(parts)))

    @routes.get("/docs")
    def docs() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    @routes.get("/login/{given}")
    def login(given: str) -> Response:
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Unauthenticated(
                "this link's token is not the platform's", "`gnomon status --link` prints the right one"
            )
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=86_400)
        return response

    @routes.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(exposition(parts, scrape), media_type="text/plain; version=0.0.4")

    return routes
