"""Routes for people and for Prometheus: the status page, the API page, the log-in link and `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from gnomon.contracts.clocks import SystemClock
from gnomon.control_plane.parts import Parts
from gnomon.dashboard.pages import api_page, login_failed_page, status_page
from gnomon.gateway.access import COOKIE
from gnomon.gateway.login_codes import VALID_S, LoginCodes
from gnomon.gateway.metrics import exposition
from gnomon.gateway.status import platform_status

_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def router(
    app: FastAPI, parts: Parts, token: str, scrape: tuple[str, ...], queued_rows: Callable[[], Mapping[str, int]]
) -> APIRouter:  # fmt: skip
    """Return the routes.

    Args:
        app: The application, for its description.
        parts: The platform's parts.
        token: The access token, which a log-in link stands for.
        scrape: Prometheus endpoints whose metrics are passed on.
        queued_rows: Gives the pushed rows that wait for their commit, by source.

    Returns:
        The routes.
    """
    routes = APIRouter(include_in_schema=False)
    codes = LoginCodes(parts.states, SystemClock())  # never the hand clock of a demo: a code lives by people's time

    @routes.get("/")
    def status() -> HTMLResponse:
        return HTMLResponse(status_page(platform_status(parts)))

    @routes.get("/docs")
    def docs() -> HTMLResponse:
        return HTMLResponse(api_page(app.openapi()))

    @routes.post("/api/v1/login-codes", include_in_schema=True, tags=["looking"])
    def login_code() -> dict[str, Any]:
        """Make a code that lets a browser in once, at `/login/CODE`."""
        return {"code": codes.issue(), "valid_s": VALID_S}

    @routes.get("/login/{code}")
    def login(code: str) -> Response:
        if not codes.redeem(code):
            return HTMLResponse(login_failed_page(VALID_S), 401, {**_PRIVATE, "WWW-Authenticate": "Bearer"})
        response = RedirectResponse("/", status_code=303, headers=_PRIVATE)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=86_400)
        return response

    @routes.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(exposition(parts, scrape, queued_rows()), media_type="text/plain; version=0.0.4")

    return routes
