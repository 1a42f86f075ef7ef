"""Pushes over HTTP, through the real gateway, over the platform's own parts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import gnomon as gn
from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.control_plane.parts import Parts
from gnomon.gateway.app import create_app
from gnomon.gateway.push_routes import MOST_BYTES

_FIELDS = {"id": "string", "at": "timestamp", "customer_id": "int64", "amount": "float64"}
_URL = "/api/v1/sources/payments/events"
_LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The platform's own parts, with a source and a fresh view of it."""
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path))
    monkeypatch.setenv("GNOMON_ONLINE_URL", "redis://127.0.0.1:1/0")  # never asked: pushes do not need it
    made = composition.parts.__wrapped__()
    customer = gn.Entity("customer", key="customer_id")
    source = gn.DataSource("payments", path="*.csv", id="id", event_time="at", fields=_FIELDS)
    view = gn.FeatureView(
        "spend", entity=customer, source=source, features=[gn.Aggregation("amount", "mean", window="7d")],
        freshness="1s",
    )  # fmt: skip
    app = App.of("app", [customer, source, view], root=str(tmp_path))
    made.definitions.apply(app.with_schemas({"payments": _FIELDS}), actor="me")
    return made


def call(parts: Parts, folder: Path, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """Send requests one after the other."""
    transport = httpx.ASGITransport(create_app(parts, "token", logs=folder))

    async def send() -> list[httpx.Response]:
        headers = {"Authorization": "Bearer token"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            return [await client.request(method, url, **options) for method, url, options in requests]

    return asyncio.run(send())


def row(event_id: str, amount: Any) -> dict[str, Any]:
    return {"id": event_id, "at": "2025-06-01T00:00:00Z", "customer_id": 7, "amount": amount}


def test_rows_as_lines_and_as_json(parts: Parts, tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(r) for r in [row("a", 1.5), row("b", "much")])
    first, again, second = call(
        parts, tmp_path,
        ("POST", _URL, {"content": lines, "headers": _LINES, "params": {"batch_id": "b1"}}),
        ("POST", _URL, {"content": lines, "headers": _LINES, "params": {"batch_id": "b1"}}),
        ("POST", _URL, {"json": {"rows": [row("a", 1.5), row("c", 2)]}}),
    )  # fmt: skip
    assert first.status_code == 200, first.text
    assert {k: first.json()[k] for k in ("accepted", "duplicates", "quarantined", "repeated")} == {
        "accepted": 1, "duplicates": 0, "quarantined": 1, "repeated": False,
    }  # fmt: skip
    assert first.json()["rejects"][0]["rule"] == "type:amount"
    assert again.json() == {**first.json(), "repeated": True}
    assert (second.json()["accepted"], second.json()["duplicates"]) == (1, 1)
    assert parts.offline.read("payments").num_rows == 2


@pytest.mark.parametrize(
    ("url", "options", "status", "says"),
    [
        ("/api/v1/sources/payment/events", {"json": {"rows": [{}]}}, 404, "payments"),
        (_URL, {"json": {"rows": {}}}, 400, "rows is no array"),
        (_URL, {"json": [1]}, 400, "rows"),
        (_URL, {"content": b"{"}, 400, "JSON lines"),
        (_URL, {"json": {"rows": []}}, 400, "no rows"),
        (_URL, {"content": b"\n" * (MOST_BYTES + 1), "headers": _LINES}, 400, "several pushes"),
        (_URL + "?batch_id=../x", {"json": {"rows": [{}]}}, 400, "batch_id"),
    ],
)
def test_what_cannot_be_taken_is_refused(
    parts: Parts, tmp_path: Path, url: str, options: dict[str, Any], status: int, says: str
) -> None:
    (answer,) = call(parts, tmp_path, ("POST", url, options))
    assert (answer.status_code, says in answer.text) == (status, True), answer.text


def test_status_and_metrics_show_streams_and_queues(parts: Parts, tmp_path: Path) -> None:
    parts.states.put("stream", "spend", {
        "layout": "x", "source": "payments", "version": 3, "as_of_us": 1, "whole_us": 1, "watermark_us": 5_000_000,
        "lag_s": 0.25, "entities": 1, "cached_rows": 2, "cached_bytes": 64, "wall_us": 1, "error": "",
    })  # fmt: skip
    push, status, metrics = call(
        parts, tmp_path, ("POST", _URL, {"json": {"rows": [row("a", 1)]}}), ("GET", "/api/v1/status", {}),
        ("GET", "/metrics", {}),
    )  # fmt: skip
    assert push.status_code == 200
    stream = status.json()["views"][0]["stream"]
    assert (stream["state"], stream["lag_s"], stream["watermark_s"]) == ("away", 0.25, 5.0)
    for line in ('gnomon_stream_lag_seconds{view="spend"} 0.25', 'gnomon_push_queue_rows{source="payments"} 0.0'):
        assert line in metrics.text
