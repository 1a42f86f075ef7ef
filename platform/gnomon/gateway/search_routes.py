"""The route that searches definitions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from gnomon.contracts.definition_search import search_definitions
from gnomon.control_plane.parts import Parts


def router(parts: Parts) -> APIRouter:
    """Return the route over the platform's parts."""
    routes = APIRouter(tags=["looking"])

    @routes.get("/search")
    def search(q: str, limit: int = 50) -> dict[str, Any]:
        """Find definitions and features by words in names, tags, owners and descriptions; the best first."""
        found = search_definitions(parts.apps(), q, max(1, min(limit, 500)))
        return {"found": [{**asdict(each), "tags": list(each.tags), "used_by": list(each.used_by)} for each in found]}

    return routes
