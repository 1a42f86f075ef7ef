"""librdkafka's own broker, its mock cluster, as a program: `python tests/kafka_mock.py PORT`.

It comes with confluent-kafka, and is the second opinion on what a broker answers. It holds messages in memory, at most
5 MB a partition. Started by `tests.kafka_broker`; orders come on the standard input.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path


class MockCluster:
    """A cluster of one broker, by its C functions, which the Python package does not wrap."""

    def __init__(self, port: int) -> None:
        import confluent_kafka  # noqa: F401 - loads the library

        spec = importlib.util.find_spec("confluent_kafka")
        assert spec is not None
        assert spec.origin is not None
        (path,) = (Path(spec.origin).parents[1] / "confluent_kafka.libs").glob("librdkafka*.so*")
        self._lib = lib = ctypes.CDLL(str(path))
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(lib, name).restype = ctypes.c_void_p
        lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        said = ctypes.create_string_buffer(512)
        handle = lib.rd_kafka_new(0, ctypes.c_void_p(lib.rd_kafka_conf_new()), said, 512)
        assert handle, said.value
        self._cluster = ctypes.c_void_p(lib.rd_kafka_mock_cluster_new(ctypes.c_void_p(handle), 1))
        bootstraps = lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self.port = int(bootstraps.rpartition(":")[2])
        lib.rd_kafka_mock_broker_set_host_port(self._cluster, 1, b"127.0.0.1", port)

    def create_topic(self, name: str, partitions: int) -> None:
        failed = self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        assert not failed, failed


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    """Pass a connection on: the mock listens on a port of its own choice."""
    other_reader, other_writer = await asyncio.open_connection("127.0.0.1", target)
    await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _run(port: int) -> None:
    cluster = MockCluster(port)
    await asyncio.start_server(lambda r, w: _forward(r, w, cluster.port), "127.0.0.1", port)

    def listen() -> None:
        for line in sys.stdin:
            _, name, partitions = line.split()
            cluster.create_topic(name, int(partitions))
            print("done", flush=True)
        os._exit(0)  # its threads are librdkafka's, and end with the process

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1])))
