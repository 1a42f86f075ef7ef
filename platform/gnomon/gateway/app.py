"""The REST API of the platform, as one FastAPI application over `Parts`.

Every way in leads here: the command line, the Python client, jobs and other programs. Predictions do not: they go to
their endpoint's own replicas under `/endpoints/`. `gateway.serve_app` puts it on Ray Serve; tests call it directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gnomon.contracts.deployments import Deployment
from gnomon.control_plane.parts import Parts
from gnomon.errors import Conflict, GnomonError, InvalidInput, NotFound, OperationFailed, did_you_mean
from gnomon.gateway import (
    definition_routes,
    export_routes,
    layout_routes,
    operation_routes,
    page_routes,
    push_routes,
    reading_routes,
    search_routes,
)
from gnomon.gateway.access import TokenGate
from gnomon.telemetry.logs import logger

_DESCRIPTION = """Definitions in, decisions out.

Send `Authorization: Bearer TOKEN` with every request; `gnomon env` prints the token. Errors are
`{"error": {"code", "message", "hint", "retryable", "details"}}` with the HTTP status of their kind."""


def create_app(
    parts: Parts, token: str, *, logs: Path, scrape: tuple[str, ...] = (), push_wait_s: float = 0.02
) -> FastAPI:  # fmt: skip
    """Build the application.

    Args:
        parts: The ports that the routes use.
        token: Access token that every route but `/health` asks for.
        logs: Folder of the platform's log files.
        scrape: Addresses of Prometheus endpoints whose metrics `/metrics` passes on.
        push_wait_s: A push waits this long for others to share its commit.

    Returns:
        The application, complete; whoever serves it needs only to mount it at `/`.
    """
    app = FastAPI(title="Gnomon", version="1", description=_DESCRIPTION, docs_url=None, redoc_url=None)
    app.include_router(definition_routes.router(parts), prefix="/api/v1")
    app.include_router(operation_routes.router(parts), prefix="/api/v1")
    app.include_router(export_routes.router(parts), prefix="/api/v1")
    app.include_router(reading_routes.router(parts, logs), prefix="/api/v1")
    app.include_router(search_routes.router(parts), prefix="/api/v1")
    app.include_router(layout_routes.router(parts), prefix="/api/v1")
    pushes = push_routes.Pushes(parts, push_wait_s)
    app.include_router(push_routes.router(pushes), prefix="/api/v1")
    app.include_router(page_routes.router(app, parts, token, scrape, pushes.queued_rows))
    _answer_errors(app)

    @app.get("/health", tags=["looking"])
    def health() -> dict[str, str]:
        """Answer when the gateway runs; asks for no token and tells nothing else."""
        return {"status": "ok"}

    @app.api_route("/endpoints/{deployment}/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
    def no_endpoint(deployment: str, rest: str) -> None:
        """Explain why nothing answers there; a deployed endpoint's own route is longer and is found first."""
        raise _missing_endpoint(parts, deployment)

    app.add_middleware(TokenGate, token=token)
    return app


def _missing_endpoint(parts: Parts, deployment: str) -> GnomonError:
    known = {spec.name: spec for app in parts.apps() for spec in app.all(Deployment)}
    if deployment not in known:
        hint = did_you_mean(deployment, known) if known else "apply an app file first: `gnomon apply APP_FILE`"
        return NotFound(f"there is no deployment named '{deployment}'", hint)
    model = known[deployment].model
    if parts.registry.resolve(model, "champion") is not None:
        return Conflict(f"deployment '{deployment}' is starting", "repeat in a few seconds; `gnomon status` shows it")
    if parts.registry.versions(model):
        return Conflict(f"no version of '{model}' is deployed yet", f"deploy one: `gnomon deploy {deployment}`")
    return Conflict(f"model '{model}' has never been trained", f"train it first: `gnomon train {model}`")


def _answer_errors(app: FastAPI) -> None:
    """Write every error in the one form."""

    @app.exception_handler(GnomonError)
    def ours(_: Request, error: GnomonError) -> JSONResponse:
        return _response(error.http_status, error.as_json())

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
        problem = InvalidInput(f"{where}: {first['msg']}", "the page at /docs shows what each route takes")
        return _response(problem.http_status, problem.as_json())

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        body = GnomonError(f"{request.method} {request.url.path}: {error.detail}", "see /docs").as_json()
        body["code"] = "not_found" if error.status_code == 404 else "invalid_input"
        return _response(error.status_code, body, error.headers)

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        # The edge of a request: the cause goes to the log; the caller learns that it is our fault, not theirs.
        logger().error("request failed", path=request.url.path, exc_info=error)
        problem = OperationFailed(f"internal error: {type(error).__name__}", "`gnomon logs` shows the cause")
        return _response(500, problem.as_json())


def _response(status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    extra = {"Retry-After": "1"} if status in (429, 503) else {}
    return JSONResponse({"error": dict(error)}, status, {**(headers or {}), **extra})
