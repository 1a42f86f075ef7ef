"""Pushes over HTTP, through the real gateway, over the platform's own parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.gateway_world import TOKEN, call, listening, payments_app, payments_parts
from typer.testing import CliRunner

import gnomon as gn
from gnomon.cli.app import app as cli
from gnomon.control_plane.parts import Parts
from gnomon.gateway.push_routes import MOST_BYTES

_URL = "/api/v1/sources/payments/events"
_LINES = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    return payments_parts(tmp_path, monkeypatch)


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


def test_rows_that_a_rule_kept_out_come_in_when_sent_again_after_its_correction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = payments_parts(tmp_path, monkeypatch, contract=[gn.Between("amount", 0, 10)])
    lines = {"content": "\n".join(json.dumps(row(*r)) for r in [("a", 5), ("b", 50), ("a", 5)]), "headers": _LINES}
    named = {**lines, "params": {"batch_id": "b1"}}
    (first,) = call(parts, tmp_path, ("POST", _URL, named))
    assert counts(first) == (1, 1, 1, False)
    parts.definitions.apply(payments_app(tmp_path, contract=[gn.Between("amount", 0, 100)]), actor="me")
    resent, again = call(parts, tmp_path, ("POST", _URL, named), ("POST", _URL, lines))
    assert counts(resent) == (1, 1, 1, True)  # what that batch did, not what it would do now
    assert counts(again) == (1, 2, 0, False)
    assert sorted(parts.offline.read("payments")["id"].to_pylist()) == ["a", "b"]
    parts.definitions.apply(payments_app(tmp_path, contract=[gn.Between("amount", 0, 1, severity="fail")]), actor="me")
    resent, refused = call(parts, tmp_path, ("POST", _URL, named), ("POST", _URL, lines))
    assert (counts(resent), refused.status_code) == ((1, 1, 1, True), 422), refused.text


def counts(answer: Any) -> tuple[Any, ...]:
    body = answer.json()
    return tuple(body[name] for name in ("accepted", "duplicates", "quarantined", "repeated"))


def test_rows_in_quarantine_can_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = payments_parts(tmp_path, monkeypatch, contract=[gn.Between("amount", 0, 10)])
    url = "/api/v1/sources/payments/quarantine"
    bodies = [{"rows": [row(f"{part}{n}", 50 + n) for n in range(3)]} for part in "ab"]
    empty, *_, found, one, unknown, wrong = call(
        parts, tmp_path, ("GET", url, {}), *(("POST", _URL, {"json": body}) for body in bodies), ("GET", url, {}),
        ("GET", url, {"params": {"limit": 1}}), ("GET", "/api/v1/sources/x/quarantine", {}),
        ("GET", url, {"params": {"limit": 0}}),
    )  # fmt: skip
    assert empty.json() == {"source": "payments", "total": 0, "rows": []}
    rows = found.json()["rows"]
    assert [json.loads(r["raw"])["id"] for r in rows] == ["b0", "b1", "b2", "a0", "a1", "a2"]
    assert (rows[0]["rule"], rows[0]["line"], "50" in rows[0]["reason"]) == ("between:amount", 1, True)
    assert (one.json()["total"], one.json()["rows"]) == (6, rows[:1])
    assert (unknown.status_code, wrong.status_code) == (404, 400)
    with listening(parts, tmp_path) as port:
        monkeypatch.setenv("GNOMON_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("GNOMON_TOKEN", TOKEN)
        printed = CliRunner().invoke(cli, ["quarantine", "payments", "--limit", "1"])
        as_json = CliRunner().invoke(cli, ["quarantine", "payments", "--output", "json"])
    assert (printed.exit_code, "the newest 1 of 6" in printed.output) == (0, True), printed.output
    assert json.loads(as_json.output) == found.json()
