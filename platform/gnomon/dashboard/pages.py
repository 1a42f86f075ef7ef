"""The platform's pages, rendered from JSON: the state at a glance, and the API for people.

Pure functions of what the gateway gives them. No script and nothing from another host is loaded, so that the pages work
without a network and a strict content policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_GOOD = frozenset({"ok", "healthy", "succeeded"})
_BUSY = frozenset({"starting", "running", "pending", "not deployed"})


def _tone(state: str) -> str:
    """Return the CSS class of a state: good, busy or bad."""
    return "good" if state in _GOOD else "busy" if state in _BUSY else "bad"


def _moment(us: Any) -> str:
    return "" if us is None else datetime.fromtimestamp(int(us) / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gnomon.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["tone"] = _tone
    environment.filters["moment"] = _moment
    return environment


def status_page(status: Mapping[str, Any]) -> str:
    """Return the status page as HTML; it asks for itself again every 5 seconds.

    Args:
        status: As `gateway.status.platform_status` returns it.

    Returns:
        A whole HTML document.
    """
    states = [part["state"] for part in status["parts"]] + [d["state"] for d in status["deployments"]]
    verdict = (
        "bad"
        if any(_tone(s) == "bad" for s in states)
        else "busy"
        if any(_tone(s) == "busy" for s in states)
        else "good"
    )
    return _environment().get_template("status.html").render(status=status, verdict=verdict)


def login_failed_page(valid_s: int) -> str:
    """Return the page for a log-in link that cannot be used (any more), as HTML; links live for `valid_s` seconds."""
    return _environment().get_template("login_failed.html").render(valid_s=valid_s)


def api_page(openapi: Mapping[str, Any]) -> str:
    """Return the API page as HTML.

    Args:
        openapi: The OpenAPI document of the gateway.

    Returns:
        A whole HTML document with every route, in the order of the OpenAPI document.
    """
    routes = [
        {"method": method.upper(), "path": path, "route": route}
        for path, methods in openapi["paths"].items()
        for method, route in methods.items()
    ]
    return _environment().get_template("api.html").render(openapi=openapi, routes=routes)
