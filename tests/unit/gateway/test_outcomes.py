"""Outcomes through the REST API, over the platform's own parts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

import gnomon as gn
from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.control_plane.parts import Parts
from gnomon.gateway.app import create_app
from gnomon.testing.prediction_log_contract import record

_LONG_AFTER_US = 2**60
_FIELDS = {"id": "string", "at": "timestamp", "customer_id": "int64", "amount": "float64", "is_fraud": "bool"}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The platform's own parts, with deployment `fraud` and its prediction `p`."""
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path))
    monkeypatch.setenv("GNOMON_ONLINE_URL", "redis://127.0.0.1:1/0")  # never asked: outcomes do not need it
    made = composition.parts.__wrapped__()
    customer = gn.Entity("customer", key="customer_id")
    source = gn.DataSource("payments", path="*.csv", id="id", event_time="at", fields=_FIELDS)
    view = gn.FeatureView(
        "spend", entity=customer, source=source, features=[gn.Aggregation("amount", "mean", window="7d")]
    )
    model = gn.Model("fraud_model", label=gn.Label("is_fraud", source=source, delay="7d"), features=[view])
    app = App.of("app", [customer, source, view, model, gn.Deployment("fraud", model=model)], root=str(tmp_path))
    made.definitions.apply(app.with_schemas({"payments": _FIELDS}), actor="me")
    made.predictions.append("fraud", [record("p")], "b1")
    return made


def report(parts: Parts, folder: Path, values: list[float]) -> list[int]:
    """Report values of prediction `p` one after the other; return how many each time were new."""
    transport = httpx.ASGITransport(create_app(parts, "token", logs=folder))

    async def post_all() -> list[int]:
        headers = {"Authorization": "Bearer token"}
        added = []
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            for value in values:
                body = {"outcomes": [{"prediction_id": "p", "value": value}]}
                answer = await client.post("/api/v1/deployments/fraud/outcomes", json=body)
                assert answer.status_code == 200, answer.text
                added.append(answer.json()["added"])
        return added

    return asyncio.run(post_all())


def test_a_value_that_is_corrected_and_then_restored_counts(parts: Parts, tmp_path: Path) -> None:
    assert report(parts, tmp_path, [1.0, 0.0, 1.0]) == [1, 1, 1]
    assert parts.predictions.read("fraud", 0, _LONG_AFTER_US)["outcome"].to_pylist() == [1.0]


def test_a_repeated_report_adds_nothing(parts: Parts, tmp_path: Path) -> None:
    assert report(parts, tmp_path, [1.0, 1.0]) == [1, 0]
