"""The gateway over the platform's own parts in this process, with the app of card payments that its tests share."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

import gnomon as gn
from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.control_plane.parts import Parts
from gnomon.gateway.app import create_app

TOKEN = "the-token-of-the-platform"
FIELDS = {"id": "string", "at": "timestamp", "customer_id": "int64", "amount": "float64", "is_fraud": "bool"}


def bare_parts(home: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """Return the platform's own parts over a home folder; the online server that they name is never asked."""
    monkeypatch.setenv("GNOMON_HOME", str(home))
    monkeypatch.setenv("GNOMON_ONLINE_URL", "redis://127.0.0.1:1/0")
    made: Parts = composition.parts.__wrapped__()
    return made


def payments_app(root: Path, name: str = "shop", **source: Any) -> App:
    """Return an app with source `payments`, view `spend`, model `fraud_model` and deployment `fraud`."""
    customer = gn.Entity("customer", key="customer_id")
    payments = gn.DataSource("payments", path="*.csv", id="id", event_time="at", fields=FIELDS, **source)
    view = gn.FeatureView(
        "spend", entity=customer, source=payments, features=[gn.Aggregation("amount", "mean", window="7d")],
        freshness="1s",
    )  # fmt: skip
    model = gn.Model("fraud_model", label=gn.Label("is_fraud", source=payments, delay="7d"), features=[view])
    specs = [customer, payments, view, model, gn.Deployment("fraud", model=model)]
    return App.of(name, specs, root=str(root)).with_schemas({"payments": FIELDS})


def payments_parts(home: Path, monkeypatch: pytest.MonkeyPatch, **source: Any) -> Parts:
    """Return the platform's own parts with the app of `payments_app` applied."""
    made = bare_parts(home, monkeypatch)
    made.definitions.apply(payments_app(home, **source), actor="me")
    return made


def call(parts: Parts, folder: Path, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """Send (method, path, options) one after the other to one gateway, as someone with the token."""
    transport = httpx.ASGITransport(create_app(parts, TOKEN, logs=folder))

    async def send() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            return [await client.request(method, url, **options) for method, url, options in requests]

    return asyncio.run(send())


@contextmanager
def listening(parts: Parts, folder: Path) -> Iterator[int]:
    """Run the gateway in a thread of this process; yield its port."""
    server = uvicorn.Server(
        uvicorn.Config(create_app(parts, TOKEN, logs=folder), log_config=None, log_level="error", ws="none")
    )
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield int(sock.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
