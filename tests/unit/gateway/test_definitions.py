"""plan and apply over HTTP: plan refuses what apply would refuse."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from tests.gateway_world import bare_parts, call, payments_app, payments_parts

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.errors import InvalidDefinition


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_a_name_of_another_app_is_refused(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = payments_parts(tmp_path, monkeypatch)
    (tmp_path / "one.csv").write_text("id,at,customer_id,amount,is_fraud\na,2025-06-01T00:00:00Z,7,1.5,false\n")
    apps = [payments_app(tmp_path, name="renamed"), payments_app(tmp_path, description="now described")]
    code = hashlib.sha256().hexdigest()
    bodies = [{"app": replace(app, code=code).as_json(), "code": ""} for app in apps]
    refused, planned = call(parts, tmp_path, *(("POST", f"/api/v1/{verb}", {"json": body}) for body in bodies))
    assert refused.status_code == 409, refused.text
    for part in ("is already defined by app 'shop'", "renamed file is another app"):
        assert part in refused.text
    assert planned.status_code == 200, planned.text
    assert [each.app.name for each in parts.definitions.apps()] == ["shop"]


@pytest.mark.parametrize("verb", ["plan", "apply"])
@pytest.mark.parametrize(
    ("rule", "hint"),
    [(gn.Quality("rocauc", min=0.6), "did you mean 'roc_auc'?"), (gn.Drift("input"), "did you mean 'inputs'?")],
)
def test_a_monitor_that_would_never_watch_is_refused(
    verb: str, rule: gn.Quality | gn.Drift, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = bare_parts(tmp_path, monkeypatch)
    watch = gn.Monitor("watch", deployment="fraud", window="7d", every="1d", rules=[rule])
    app = payments_app(tmp_path)
    app = App.of(app.name, [*app.definitions, watch], code=hashlib.sha256().hexdigest(), root=app.root)
    (refused,) = call(parts, tmp_path, ("POST", f"/api/v1/{verb}", {"json": {"app": app.as_json(), "code": ""}}))
    assert refused.status_code == InvalidDefinition.http_status, refused.text
    assert refused.json()["error"]["hint"] == hint
    assert parts.definitions.apps() == []
