"""Topics through the gateway: what `plan` says is wrong, and how far they were read in `status` and `/metrics`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.gateway_world import TOKEN, bare_parts, call, listening
from tests.kafka_broker import KafkaBroker, running
from typer.testing import CliRunner

import gnomon as gn
from gnomon.cli.app import app as cli
from gnomon.contracts.apps import App
from gnomon.control_plane.parts import Parts
from gnomon.data.topic_streams import TopicStream

_CODE = "the text of the app file"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with running(KafkaBroker(tmp_path_factory.mktemp("kafka"))) as made:
        made.create_topic("taps", 2)
        made.send("taps", *(json.dumps({"id": f"e{n}", "at": "2025-06-01T00:00:00Z"}) for n in range(5)), partition=1)
        yield made


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    return bare_parts(tmp_path, monkeypatch)


def source(topic: str, servers: str, **fields: Any) -> gn.DataSource:
    made = gn.KafkaTopic(topic, servers=servers, **fields)
    rule = gn.InSet("id", [f"e{n}" for n in range(3)], severity="warn")
    return gn.DataSource("taps", kafka=made, id="id", event_time="at", fields={"id": "string"}, contract=[rule])


def body(made: gn.DataSource) -> dict[str, Any]:
    app = App.of("app", [made], root="/", code=hashlib.sha256(_CODE.encode()).hexdigest())
    return {"json": {"app": app.as_json(), "code": _CODE}}


def test_plan_says_what_is_wrong(parts: Parts, tmp_path: Path, broker: KafkaBroker) -> None:
    wrong = [
        (source("tap", broker.servers), 404, "there is no topic 'tap'", "taps"),
        (source("taps", "127.0.0.1:1"), 503, "does not answer", "servers="),
        (source("taps", broker.servers, secrets={"sasl.password": "NOT_SET"}), 400, "NOT_SET is not set", "gnomon up"),
    ]
    answers = call(parts, tmp_path, *(("POST", "/api/v1/plan", body(made)) for made, *_ in wrong))
    for answer, (_, status, message, hint) in zip(answers, wrong, strict=True):
        error = answer.json()["error"]
        assert (answer.status_code, message in error["message"], hint in error["hint"]) == (status, True, True), error


def test_status_and_metrics_show_how_far_a_topic_was_read(
    parts: Parts, tmp_path: Path, broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = source("taps", broker.servers)
    (applied,) = call(parts, tmp_path, ("POST", "/api/v1/apply", body(made)))
    assert applied.status_code == 200, applied.text
    (before,) = call(parts, tmp_path, ("GET", "/api/v1/status", {}))
    assert before.json()["sources"][0]["topic"] == {"name": "taps", "state": "starting"}
    stream = TopicStream(made, {"id": "string", "at": "timestamp"}, parts.offline, parts.states, parts.clock)
    with closing(stream):
        for _ in range(4):
            stream.step()
    status, metrics = call(parts, tmp_path, ("GET", "/api/v1/status", {}), ("GET", "/metrics", {}))
    topic = status.json()["sources"][0]["topic"]
    assert (topic["state"], topic["lag"], topic["lost"], topic["since_start"]["added"]) == ("ok", 0, 0, 5)
    assert topic["partitions"]["1"] == {"next": 5, "first": 0, "end": 5, "lag": 0}
    for line in (
        'gnomon_topic_up{source="taps"} 1.0',
        'gnomon_topic_lag_messages{partition="1",source="taps"} 0.0',
        'gnomon_topic_lost_messages{partition="0",source="taps"} 0.0',
        'gnomon_topic_rereads{source="taps"} 0.0',
        'gnomon_topic_contract_violations{rule="in_set:id",source="taps"} 2.0',
        'gnomon_topic_watermark_seconds{source="taps"} 1.7487',
    ):
        assert line in metrics.text, metrics.text
    with listening(parts, tmp_path) as port:
        monkeypatch.setenv("GNOMON_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("GNOMON_TOKEN", TOKEN)
        shown = CliRunner().invoke(cli, ["status"])
    said = "topic taps of source taps: ok, 0 messages behind in 2 partitions"
    assert (shown.exit_code, said in " ".join(shown.output.split())) == (0, True), shown.output
