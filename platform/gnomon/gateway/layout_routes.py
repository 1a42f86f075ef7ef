"""Routes about the layouts of tables by entity: what they take, and their removal."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from gnomon.contracts.clocks import from_us
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.parts import Parts


def router(parts: Parts) -> APIRouter:
    """Return the routes over the platform's parts."""
    routes = APIRouter(tags=["layouts"])

    @routes.get("/layouts")
    def layouts() -> dict[str, Any]:
        """List the layouts of all tables by entity: caches that large training sets read."""
        from gnomon.features.layout_figures import layout_figures

        found = layout_figures(parts.offline, parts.offline.tables())
        return {"layouts": [
            {"source": f.source, "keys": list(f.keys), "segments": f.segments, "rows": f.rows,
             "size_bytes": f.size_bytes, "last_read": from_us(f.last_read_us).isoformat()} for f in found
        ]}  # fmt: skip

    @routes.delete("/sources/{source}/layouts")
    def remove(source: str) -> dict[str, Any]:
        """Remove the layouts of a source's table; the next large training set makes the one that it needs again."""
        from gnomon.features.layout_figures import remove_layouts

        if source not in parts.offline.tables():
            parts.app_with(DataSource, source)
        removed_bytes = remove_layouts(parts.offline, source)
        parts.audit.record("api", "remove_layouts", f"source/{source}", {"size_bytes": removed_bytes})
        return {"source": source, "removed_bytes": removed_bytes}

    return routes
