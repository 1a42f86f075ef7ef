"""The pages render what the gateway gives them, escape it, and load nothing from elsewhere."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from gnomon.dashboard.pages import api_page, status_page
from gnomon.gateway.bodies import OperationBody


def status(**changes: Any) -> dict[str, Any]:
    parts = [{"name": "control plane", "state": "ok", "message": "last iteration 0.5 s ago"}]
    empty: dict[str, Any] = {"parts": parts, "apps": [], "sources": [], "views": [], "models": [], "deployments": []}
    return {**empty, "monitors": [], "operations": [], **changes}


def test_an_empty_platform() -> None:
    page = status_page(status())
    assert "all well" in page
    assert "gnomon apply APP_FILE" in page


def test_a_platform_at_work() -> None:
    full = status(
        sources=[
            {"name": "payments", "version": 3, "last_ingest": {"rows_added": 7, "duplicates": 1, "quarantined": 2}}
        ],
        models=[{"name": "fraud", "versions": 2, "champion": 1, "metrics": {"roc_auc": [0.88, 0.83, 0.93]}}],
        deployments=[
            {"name": "fraud", "model": "fraud", "state": "healthy", "version": 1, "message": "", "replicas": 1}
        ],
        monitors=[
            {"name": "watch", "deployment": "fraud", "fired": True, "summary": "PSI is 0.4", "last_evaluated_us": 0}
        ],
        operations=[
            {"id": "x", "kind": "train", "target": "fraud", "state": "running", "progress": "epoch 1", "error": None}
        ],
    )
    page = status_page(full)
    for words in ("payments", "7 rows added", "0.880", "healthy", "PSI is 0.4", "1970-01-01 00:00", "epoch 1"):
        assert words in page


def test_trouble_is_said_first() -> None:
    assert "needs attention" in status_page(
        status(parts=[{"name": "online store", "state": "away", "message": "gone"}])
    )


def test_names_are_escaped_and_nothing_is_loaded() -> None:
    operation = {"id": "x", "kind": "ingest", "target": "<script>alert(1)</script>", "state": "failed", "progress": ""}
    page = status_page(status(operations=[{**operation, "error": {"message": "<b>no</b>"}}]))
    assert "<script" not in page
    assert "<b>no</b>" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_every_route_is_on_the_api_page() -> None:
    app = FastAPI(title="x", version="1", description="what it is")

    @app.get("/things/{name}")
    def things(name: str, limit: int | None = None) -> dict[str, str]:
        """List things."""
        return {}

    @app.post("/things")
    def make(body: OperationBody) -> dict[str, str]:
        return {}

    page = api_page(app.openapi())
    for words in ("GET", "/things/{name}", "List things.", "limit", "POST", "OperationBody", "target"):
        assert words in page
