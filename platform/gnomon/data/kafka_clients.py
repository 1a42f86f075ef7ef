"""Opens clients of Kafka-compatible brokers by confluent-kafka (extra `kafka`), and turns its errors into ours.

Called by `topic_readers`. Properties come from the source's definition, and secrets from the environment; no error
repeats one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gnomon.contracts.kafka_topics import KafkaTopic
from gnomon.contracts.sources import DataSource
from gnomon.errors import Forbidden, GnomonError, InvalidInput, NotFound, Unavailable
from gnomon.settings import source_variable
from gnomon.telemetry.logs import logger

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError
    from confluent_kafka.admin import AdminClient

ANSWER_S = 5.0
"""How long a broker may take to answer a question about a topic."""

_MOMENT = re.compile(r" \(after \d+ms in state .*\)$")  # differs each time, and would be logged as another error
_QUEUE_KIB = 16 * 1024
_OURS: Mapping[str, Any] = {
    "enable.auto.commit": False, "enable.auto.offset.store": False,  # positions are kept with the table's commits
    "auto.offset.reset": "error",  # a gap is to be told and counted, not to be jumped
    "enable.partition.eof": True, "allow.auto.create.topics": False,
    "queued.max.messages.kbytes": _QUEUE_KIB,  # the client stops fetching when so much waits
    "client.id": "gnomon",
}  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {
    "socket.timeout.ms": 10_000, "socket.connection.setup.timeout.ms": 5_000, "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2_000,
}  # fmt: skip

OnError = Callable[["KafkaError"], None]


def open_consumer(source: DataSource, on_error: OnError) -> Consumer:
    """Make a client that reads; it connects by itself, later.

    Args:
        source: Of format `kafka`.
        on_error: Told of what happens to connections, from within calls of the client.

    Returns:
        A consumer that joins no group.

    Raises:
        InvalidInput: confluent-kafka is not installed, a variable is not set, or a property has a wrong value.
    """
    topic = topic_of(source)
    try:
        from confluent_kafka import Consumer, KafkaException
    except ImportError as error:
        raise InvalidInput(
            f"source '{source.name}': topics need confluent-kafka, which is not installed where the platform runs",
            "pip install 'gnomon[kafka]'",
        ) from error
    secrets = _secrets(source, topic)
    properties = {
        **_DEFAULTS, **topic.options, **secrets, **_OURS, "bootstrap.servers": _servers(source, topic),
        "group.id": f"gnomon-{source.name}", "error_cb": on_error,
    }  # fmt: skip
    try:
        return Consumer(properties, logger=_QuietLog(source.name))
    except (KafkaException, ValueError, TypeError) as error:
        raise InvalidInput(
            f"source '{source.name}': the client refuses its properties: {_without(str(error), secrets)}",
            "options= and secrets= are properties of librdkafka",
        ) from None


def open_admin(source: DataSource) -> AdminClient:
    """Make a client that asks about topics; raises as `open_consumer`, which was called before."""
    from confluent_kafka.admin import AdminClient

    topic = topic_of(source)
    properties = {**_DEFAULTS, **topic.options, **_secrets(source, topic), "bootstrap.servers": _servers(source, topic)}
    return AdminClient(properties, logger=_QuietLog(source.name))


def topic_of(source: DataSource) -> KafkaTopic:
    """Return the topic of a source of format `kafka`."""
    assert source.kafka is not None, "only sources of format kafka are read as topics"
    return source.kafka


@contextmanager
def kafka_errors(source: DataSource) -> Iterator[None]:
    """Turn the client's exceptions into errors that say what to do."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as error:
        raise as_error(source, error.args[0]) from None


def as_error(source: DataSource, error: KafkaError) -> GnomonError:
    """Return our error for the client's; what is not known to be final counts as passing."""
    topic = topic_of(source)
    name, said = str(error.name()), _MOMENT.sub("", error.str())
    if name in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID"):
        return NotFound(f"source '{source.name}': there is no {topic.place()}", "create it, or correct the name")
    if name.endswith("AUTHORIZATION_FAILED"):
        return Forbidden(
            f"source '{source.name}': {topic.place()} may not be read: {said}", "ask for Read and Describe"
        )
    if name in ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"):
        return Forbidden(
            f"source '{source.name}': the broker of {topic.place()} refuses us: {said}",
            f"check {', '.join(topic.secrets.values()) or 'secrets= and options='}",
        )
    return Unavailable(
        f"source '{source.name}': the broker of {topic.place()} does not answer: {said}",
        "check servers= and that the broker runs; security.protocol= must be the one of its listener",
    )


def _servers(source: DataSource, topic: KafkaTopic) -> str:
    if topic.servers_env is None:
        return ",".join(topic.servers)
    return source_variable(topic.servers_env, f"the servers of source '{source.name}', as host:port")


def _secrets(source: DataSource, topic: KafkaTopic) -> dict[str, str]:
    return {
        name: source_variable(variable, f"{name} of source '{source.name}'")
        for name, variable in topic.secrets.items()
    }  # fmt: skip


def _without(text: str, secrets: Mapping[str, str]) -> str:
    for secret in secrets.values():
        text = text.replace(secret, "***")
    return text


class _QuietLog:
    """Takes the client's own log lines; they repeat each second while a broker is away, and so are for debugging."""

    def __init__(self, source: str) -> None:
        self._source = source

    def log(self, level: int, message: str, *values: object) -> None:
        del level
        logger().debug("kafka client", source=self._source, said=message % values if values else message)
