"""Brokers that speak Kafka's protocol over TCP, each in a process of its own that can be killed.

Apache Kafka itself is not among the packages that a test run installs. `KafkaBroker` is `tests.kafka_server`, which
keeps its messages in files; `MockBroker` is the one that comes with librdkafka, by other authors than that.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gnomon.runtime.processes import free_ports

_HERE = Path(__file__).parent


class KafkaBroker:
    """Starts, kills and starts again a broker at one address.

    Args:
        folder: Where it keeps its messages.
        secured: Certificate with its key, user and password of a second listener with TLS and SASL.
    """

    def __init__(self, folder: Path, secured: tuple[Path, str, str] | None = None) -> None:
        self.folder = folder
        self.port, secured_port = free_ports(2)
        self.servers, self.secured_servers = f"127.0.0.1:{self.port}", f"127.0.0.1:{secured_port}"
        self._secured = [str(secured_port), *map(str, secured)] if secured else []
        self.process: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        return [str(_HERE / "kafka_server.py"), str(self.folder / "messages"), str(self.port), *self._secured]

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.process = subprocess.Popen(
            [sys.executable, *self.command()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """Kill the process."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self.process = None

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic, or bring it to more partitions."""
        self._order("topic", name, partitions)

    def delete_topic(self, name: str) -> None:
        """Delete a topic."""
        self._order("delete", name)

    def trim(self, name: str, partition: int, first: int) -> None:
        """Delete what lies before an offset, as retention does."""
        self._order("trim", name, partition, first)

    def compact(self, name: str, partition: int, offset: int) -> None:
        """Delete the messages that were sent together with that of an offset, as compaction does."""
        self._order("compact", name, partition, offset)

    def truncate(self, name: str, partition: int, end: int) -> None:
        """Lose what lies from an offset on."""
        self._order("truncate", name, partition, end)

    def producer(self, **properties: Any) -> Any:
        """Return a producer of librdkafka's."""
        from confluent_kafka import Producer

        return Producer({"bootstrap.servers": self.servers, "log_level": 0, **properties})

    def send(self, topic: str, *values: bytes | str | None, partition: int = 0, **fields: Any) -> None:
        """Send messages to a partition; returns when they are there."""
        producer = self.producer()
        for value in values:
            producer.produce(topic, value=value, partition=partition, **fields)
            producer.poll(0)
        assert producer.flush(30) == 0

    def _order(self, *words: str | int) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", words


class MockBroker(KafkaBroker):
    """librdkafka's mock cluster: forgets everything when killed, and deletes nothing but what exceeds 5 MB."""

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        return [str(_HERE / "kafka_mock.py"), str(self.port)]


@contextmanager
def running(broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """Run a broker."""
    broker.start()
    try:
        yield broker
    finally:
        if broker.process is not None:
            broker.kill()
