"""Topics as sources: what a definition may say, and that it never holds a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.errors import InvalidDefinition

AROUND = {"at": "timestamp", "device": "key", "trace": "header:trace-id"}
TOPIC = gn.KafkaTopic("taps", servers="kafka-1:9092, [::1]:9093")


def source(topic: gn.KafkaTopic = TOPIC, **fields: Any) -> gn.DataSource:
    return gn.DataSource("taps", kafka=topic, id="tap_id", event_time="at", **fields)


def refusal(**fields: Any) -> str:
    with pytest.raises(InvalidDefinition) as caught:
        gn.KafkaTopic("taps", **{"servers": "kafka:9092", **fields})
    return str(caught.value) + json.dumps(caught.value.details)


def test_a_topic_is_a_place_of_rows() -> None:
    made = source()
    assert made.format == "kafka"
    assert TOPIC.servers == ("kafka-1:9092", "[::1]:9093")
    assert made.place() == "topic 'taps' of kafka-1:9092,[::1]:9093"
    app = App.of("app", [made], root="/app")
    assert App.from_json(json.loads(json.dumps(app.as_json()))).get(gn.DataSource, "taps") == made


def test_a_source_without_a_topic_keeps_its_hash() -> None:
    assert "kafka" not in gn.DataSource("t", path="t.csv", id="i", event_time="at").as_json()


def test_columns_around_the_value_are_columns_of_the_source() -> None:
    topic = gn.KafkaTopic("taps", servers="k:1", columns=AROUND)
    made = source(topic, fields={"amount": "float64"})
    assert made.required_columns() == ("tap_id", "at", "amount", "device", "trace")
    assert topic.column_types() == {"at": "timestamp", "device": "string", "trace": "string"}
    with pytest.raises(InvalidDefinition, match="is a message's timestamp, and is declared as string"):
        source(gn.KafkaTopic("t", servers="k:1", columns={"sent": "timestamp"}), fields={"sent": "string"})
    with pytest.raises(InvalidDefinition, match="a transform computes it too"):
        source(topic, transforms=[gn.Compute("device", gn.col("amount"))])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"servers": ()}, "exactly one of servers and servers_env"),
        ({"servers_env": "KAFKA"}, "exactly one of servers and servers_env"),
        ({"servers": "kafka"}, "'kafka' is not written host:port"),
        ({"servers": "kafka:99999"}, "is not written host:port"),
        ({"columns": {"a": "value"}}, "taken from 'value', which no message has"),
        ({"columns": {"a": "header:"}}, "which no message has"),
        ({"format": "avro"}, "format"),
        ({"options": {"group.id": "mine"}}, "'group.id' is not for a source to set"),
        ({"options": {"plugin.library.paths": "x.so"}}, "is not for a source to set"),
        ({"options": {"sasl.kerberos.kinit.cmd": "rm"}}, "is not for a source to set"),
        ({"options": {"sasl.mechanism": "PLAIN"}, "secrets": {"sasl.mechanism": "A"}}, "given twice"),
    ],
)  # fmt: skip
def test_what_a_topic_may_not_say(fields: dict[str, Any], said: str) -> None:
    assert said in refusal(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"servers": "user:hunter2@kafka:9092"},
        {"servers": "kafka://user:hunter2@kafka:9092"},
        {"options": {"sasl.password": "hunter2"}},
        {"options": {"ssl.key.pem": "hunter2"}},
        {"options": {"sasl.oauthbearer.client.secret": "hunter2"}},
        {"secrets": {"sasl.password": "hunter2"}},
        {"servers": (), "servers_env": "hunter2"},
    ],
)
def test_a_secret_is_refused_and_never_shown(fields: dict[str, Any]) -> None:
    assert "hunter2" not in refusal(**fields)
    with pytest.raises(InvalidDefinition) as caught:
        gn.DataSource("t", kafka={"topic": "t", "servers": "k:1", **fields}, id="i", event_time="at")
    assert "hunter2" not in str(caught.value) + json.dumps(caught.value.details)


def test_rules_of_whole_ingestions_are_not_for_topics() -> None:
    with pytest.raises(InvalidDefinition, match="a topic has no end"):
        source(contract=[gn.NullRatio("amount", 0.1)])
    with pytest.raises(InvalidDefinition, match="nobody can be refused a message"):
        source(contract=[gn.Between("amount", 0, 1, severity="fail")])
    assert source(contract=[gn.Between("amount", 0, 1)]).contract[0].severity == "quarantine"


def test_a_topic_takes_nothing_of_other_places() -> None:
    with pytest.raises(InvalidDefinition, match="a source of format 'kafka' takes no path"):
        source(path="x.csv")
