"""Routes that plan and apply app files."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from gnomon.contracts.app_rules import check_monitors
from gnomon.contracts.apps import App, plan
from gnomon.contracts.columns import Dtype
from gnomon.contracts.platform_state import Applied, check_names_free
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.parts import Parts
from gnomon.data.source_schema import read_schema
from gnomon.errors import InvalidInput
from gnomon.gateway.bodies import AppBody, plain


def router(parts: Parts) -> APIRouter:
    """Return the routes over the platform's parts."""
    routes = APIRouter(tags=["definitions"])

    @routes.post("/plan")
    def plan_app(body: AppBody) -> dict[str, Any]:
        """Compare an app with the applied one, after checking it against the data; nothing is changed."""
        app, before = _resolved(body), parts.definitions.current(body.app.get("name", ""))
        applied = [each.app for each in parts.definitions.apps()]
        check_names_free(app, {(spec.kind, spec.name): each.name for each in applied for spec in each.definitions})
        return _planned(app, before)

    @routes.post("/apply")
    def apply_app(body: AppBody) -> dict[str, Any]:
        """Make an app the desired state, in one transaction; an equal app changes nothing."""
        app, before = _resolved(body), parts.definitions.current(body.app.get("name", ""))
        planned = _planned(app, before)
        parts.artifacts.put_bytes(body.code.encode())
        applied = parts.definitions.apply(app, actor="api", expected_revision=before.revision if before else 0)
        if applied.revision != planned["revision"]:
            changed = [c for c in planned["changes"] if c["action"] != "keep"]
            details = {"revision": applied.revision, "changes": changed}
            parts.audit.record("api", "apply", f"app/{app.name}", details)
        return {**planned, "revision": applied.revision}

    return routes


def _resolved(body: AppBody) -> App:
    """Check that the code is the app's, and read the column types of its sources.

    Args:
        body: An app and the text of its file, as a client sent them.

    Returns:
        The app with the column types that its sources declare or their files have.

    Raises:
        InvalidInput: The code's digest is not the one that the app names.
        InvalidDefinition: A definition does not fit the data.
    """
    app = App.from_json(body.app)
    check_monitors(app)
    digest = hashlib.sha256(body.code.encode()).hexdigest()
    if digest != app.code:
        raise InvalidInput(f"the code has digest {digest[:12]}…, the app names {app.code[:12]}…", "send both together")
    schemas: dict[str, dict[str, Dtype]] = {s.name: dict(read_schema(s, app.root)) for s in app.all(DataSource)}
    return app.with_schemas(schemas)


def _planned(app: App, before: Applied | None) -> dict[str, Any]:
    changes = [plain(asdict(change)) for change in plan(before.app if before else None, app)]
    if before is not None and before.app.code != app.code:
        changes.append({"action": "update", "kind": "code", "name": app.name, "fields": {}})
    if before is not None and before.app.schemas != app.schemas:
        changes.append({"action": "update", "kind": "schemas", "name": app.name, "fields": {}})
    return {"app": app.name, "revision": before.revision if before else 0, "changes": changes}
