"""Routes that look: status, model versions, online values, logs and the audit trail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query

from gnomon.contracts.features import FeatureView
from gnomon.contracts.models import Model
from gnomon.contracts.online_store import Status
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.parts import Parts
from gnomon.features.online_versions import shown_app
from gnomon.features.read_plan import read_plan
from gnomon.gateway.bodies import KeysBody, audit_json, plain, run_json, version_json
from gnomon.gateway.status import platform_status
from gnomon.telemetry.logs import read_logs


def router(parts: Parts, logs: Path) -> APIRouter:
    """Return the routes over the platform's parts; `logs` is the folder of the log files."""
    routes = APIRouter(tags=["looking"])

    @routes.get("/status")
    def status() -> dict[str, Any]:
        """Show the state of every part."""
        return platform_status(parts)

    @routes.get("/models")
    def models(model: str | None = None) -> dict[str, Any]:
        """List model versions, oldest first."""
        if model is not None:
            parts.app_with(Model, model)
        gates = parts.states.all("gates")
        versions = parts.registry.versions(model)
        return {"versions": [version_json(v, gates.get(f"{v.model}/{v.number}")) for v in versions]}

    @routes.get("/runs")
    def runs(model: str | None = None) -> dict[str, Any]:
        """List tracked trainings, newest first."""
        if model is not None:
            parts.app_with(Model, model)
        return {"runs": [run_json(run) for run in parts.tracker.runs(model)]}

    @routes.get("/runs/{run_id}/series/{metric}")
    def series(run_id: str, metric: str) -> dict[str, Any]:
        """Show a metric of a training by epoch."""
        return {"run_id": run_id, "metric": metric, "series": parts.tracker.series(run_id, metric)}

    @routes.post("/views/{view}/read")
    def read_view(view: str, body: KeysBody) -> dict[str, Any]:
        """Read an entity's online values with status and age; a view that was changed is shown as before until its new
        version is online."""
        app = shown_app(parts.states, parts.definitions, parts.app_with(FeatureView, view).app, view)
        names = [f"{view}.{feature.name}" for feature in app.get(FeatureView, view).features]
        rows = parts.online.read(read_plan(app, names), [body.keys], parts.clock.now_us())
        return {
            "view": view,
            "keys": body.keys,
            "features": {
                name.partition(".")[2]: {
                    "value": _json_value(rows.values[name][0]),
                    "status": Status(int(rows.status[0, i])).name.lower(),
                    "age_s": None if rows.age_us[0, i] < 0 else int(rows.age_us[0, i]) / 1e6,
                }
                for i, name in enumerate(names)
            },
        }

    @routes.get("/sources/{source}/quarantine")
    def quarantine(source: str, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> dict[str, Any]:
        """List rows that broke a rule of their source, the newest first, and their number."""
        from gnomon.data.quarantine import newest_rejects

        parts.app_with(DataSource, source)
        total, rows = newest_rejects(parts.offline, source, limit)
        return {"source": source, "total": total, "rows": [plain(row) for row in rows]}

    @routes.get("/logs")
    def log_lines(component: str | None = None, lines: int = 100) -> dict[str, Any]:
        """Show the newest log lines, oldest first."""
        return {"lines": read_logs(logs, component=component, lines=max(1, min(lines, 10_000)))}

    @routes.get("/audit")
    def audit(limit: int = 50) -> dict[str, Any]:
        """Show who did what and why, newest first."""
        return {"entries": [audit_json(e) for e in parts.audit.entries(limit=max(1, min(limit, 1000)))]}

    return routes


def _json_value(value: Any) -> Any:
    """Return a plain Python value; NaN, which stands for null in number columns, becomes None."""
    plain = value.item() if hasattr(value, "item") else value
    return None if plain != plain else plain
