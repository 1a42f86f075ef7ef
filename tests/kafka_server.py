"""A broker for tests: one node that speaks the part of Kafka's protocol that producing and reading need, over TCP.

It keeps record batches in files as they came, so that it holds after a kill what it held before; it can lose what it is
told to lose, which the brokers that people run do by themselves. It knows no groups, no transactions and no compaction.
Started by `tests.kafka_broker`: `python tests/kafka_server.py FOLDER PORT [SECURED_PORT CERTIFICATE USER PASSWORD]`;
orders come on the standard input. Formats: https://kafka.apache.org/protocol.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
import sys
import threading
import time
import uuid
from pathlib import Path

if __name__ == "__main__":  # run as a program, not as a part of the tests' package
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.kafka_fields import Reader, compact_many, compact_text, many, text
from tests.kafka_log import Partition, Topic

_UNKNOWN_TOPIC, _OUT_OF_RANGE, _SASL_FAILED, _UNSUPPORTED = 3, 1, 58, 35
_APIS = {0: (3, 7), 1: (4, 11), 2: (1, 2), 3: (9, 12), 10: (0, 2), 17: (1, 1), 18: (0, 3), 22: (0, 1), 36: (1, 1)}


class Broker:
    """All topics, and the answers to requests."""

    def __init__(self, folder: Path, credentials: bytes) -> None:
        self._folder, self._credentials = folder, credentials
        self._producers = int(time.time() * 1000)
        self.topics: dict[str, Topic] = {}
        folder.mkdir(parents=True, exist_ok=True)
        cluster = folder / "cluster"
        if not cluster.exists():
            cluster.write_text(uuid.uuid4().hex)
        self._cluster = cluster.read_text()
        for stored in sorted(folder.glob("*/topic.json")):
            known = json.loads(stored.read_text())
            self.topics[stored.parent.name] = topic = Topic(stored.parent, bytes.fromhex(known["id"]))
            topic.grow(known["partitions"])

    def order(self, words: list[str]) -> None:
        """Do what the test asks for."""
        match words:
            case ["topic", name, partitions]:
                self.topics.setdefault(name, Topic(self._folder / name)).grow(int(partitions))
            case ["delete", name]:
                folder = self.topics.pop(name).folder
                for file in folder.iterdir():
                    file.unlink()
            case ["trim", name, partition, first]:
                self.topics[name].partitions[int(partition)].trim(int(first))
            case ["compact", name, partition, offset]:
                self.topics[name].partitions[int(partition)].compact(int(offset))
            case ["truncate", name, partition, end]:
                self.topics[name].partitions[int(partition)].truncate(int(end))
            case _:
                raise ValueError(words)

    def partition(self, name: str, number: int) -> Partition | None:
        topic = self.topics.get(name)
        return topic.partitions[number] if topic and number < len(topic.partitions) else None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, secured: bool) -> None:
        """Answer the requests of one connection."""
        port = writer.get_extra_info("sockname")[1]
        known = not secured
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = Reader(await reader.readexactly(size))
                api, version = request.number("h"), request.number("h")
                correlation = request.take(4)
                request.text()
                flexible = (api, version >= 9) == (3, True) or (api, version) == (18, 3)
                if flexible:
                    request.tags()
                if api == 36:
                    known, answer = self._authenticate(request)
                elif not known and api not in (17, 18):
                    return
                else:
                    answer = await self._answer(api, version, request, port)
                head = correlation + (b"\0" if api == 3 else b"")
                writer.write(struct.pack(">i", len(head) + len(answer)) + head + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _answer(self, api: int, version: int, request: Reader, port: int) -> bytes:
        match api:
            case 0:
                return self._produce(version, request)
            case 1:
                return await self._fetch(version, request)
            case 2:
                return self._list_offsets(version, request)
            case 3:
                return self._metadata(version, request, port)
            case 10:
                coordinator = struct.pack(">i", 1) + text("127.0.0.1") + struct.pack(">i", port)
                return b"\0\0" + coordinator if version == 0 else struct.pack(">ih", 0, 0) + text(None) + coordinator
            case 17:
                return struct.pack(">h", 0) + many([text("PLAIN")])
            case 18:
                return self._api_versions(version)
            case 22:
                self._producers += 1
                return struct.pack(">ihqh", 0, 0, self._producers, 0)
        raise ConnectionError(f"api {api}")

    def _api_versions(self, version: int) -> bytes:
        if version > 3:
            return struct.pack(">h", _UNSUPPORTED) + many([struct.pack(">hhh", 18, 0, 3)])
        spans = [struct.pack(">hhh", api, *span) for api, span in _APIS.items()]
        if version == 3:
            return b"\0\0" + compact_many([span + b"\0" for span in spans]) + struct.pack(">i", 0) + b"\0"
        return b"\0\0" + many(spans) + (struct.pack(">i", 0) if version else b"")

    def _authenticate(self, request: Reader) -> tuple[bool, bytes]:
        if request.data() == self._credentials:
            return True, struct.pack(">h", 0) + text(None) + struct.pack(">iq", 0, 0)
        return False, struct.pack(">h", _SASL_FAILED) + text("wrong user or password") + struct.pack(">iq", 0, 0)

    def _metadata(self, version: int, request: Reader, port: int) -> bytes:
        names = []
        for _ in range((count := request.varint()) - 1):
            if version >= 10:
                request.take(16)
            names.append(request.compact_text() or "")
            request.tags()
        names = list(self.topics) if count == 0 else names
        broker = struct.pack(">i", 1) + compact_text("127.0.0.1") + struct.pack(">i", port) + b"\0\0"
        found = [self._described(name, version) for name in names]
        cluster = compact_text(self._cluster) + struct.pack(">i", 1)
        rights = struct.pack(">i", -(2**31)) if version <= 10 else b""
        return struct.pack(">i", 0) + compact_many([broker]) + cluster + compact_many(found) + rights + b"\0"

    def _described(self, name: str, version: int) -> bytes:
        topic = self.topics.get(name)
        one = compact_many([struct.pack(">i", 1)])
        parts = [
            struct.pack(">hiii", 0, number, 1, 0) + one + one + compact_many([]) + b"\0"
            for number in range(len(topic.partitions) if topic else 0)
        ]
        error = struct.pack(">h", 0 if topic else _UNKNOWN_TOPIC)
        identity = (topic.id if topic else bytes(16)) if version >= 10 else b""
        tail = struct.pack(">i", -(2**31)) + b"\0"
        return error + compact_text(name) + identity + b"\0" + compact_many(parts) + tail

    def _produce(self, version: int, request: Reader) -> bytes:
        request.text()
        request.take(6)

        def partition(name: str) -> bytes:
            number, records = request.number("i"), request.data()
            held = self.partition(name, number)
            offset = -1 if held is None else held.append(records)
            first = struct.pack(">q", 0) if version >= 5 else b""
            return struct.pack(">ihqq", number, 0 if held else _UNKNOWN_TOPIC, offset, -1) + first

        def topic() -> bytes:
            name = request.text() or ""
            return text(name) + many(request.many(lambda: partition(name)))

        return many(request.many(topic)) + struct.pack(">i", 0)

    async def _fetch(self, version: int, request: Reader) -> bytes:
        request.take(4)
        wait_ms, _, _ = request.number("i"), request.take(4), request.take(5)
        if version >= 7:
            request.take(8)
        wanted: list[tuple[str, list[tuple[int, int, int]]]] = []

        def partition() -> tuple[int, int, int]:
            number = request.number("i")
            if version >= 9:
                request.take(4)
            offset = request.number("q")
            if version >= 5:
                request.take(8)
            return number, offset, request.number("i")

        def topic() -> None:
            wanted.append((request.text() or "", request.many(partition)))

        request.many(topic)
        until_s = time.monotonic() + wait_ms / 1000
        while time.monotonic() < until_s and not any(self._has_news(name, parts) for name, parts in wanted):
            await asyncio.sleep(0.01)
        topics = [text(name) + many([self._records(version, name, *each) for each in parts]) for name, parts in wanted]
        return struct.pack(">i", 0) + (struct.pack(">hi", 0, 0) if version >= 7 else b"") + many(topics)

    def _has_news(self, name: str, parts: list[tuple[int, int, int]]) -> bool:
        held = [(self.partition(name, number), offset) for number, offset, _ in parts]
        return any(each is None or each.next != offset for each, offset in held)

    def _records(self, version: int, name: str, number: int, offset: int, most_bytes: int) -> bytes:
        held = self.partition(name, number)
        error, records = _UNKNOWN_TOPIC, b""
        if held is not None:
            within = held.first <= offset <= held.next
            error, records = (0, held.read(offset, most_bytes)) if within else (_OUT_OF_RANGE, b"")
        first, after = (held.first, held.next) if held else (-1, -1)
        body = struct.pack(">ihqq", number, error, after, after)
        body += struct.pack(">q", first) if version >= 5 else b""
        body += struct.pack(">i", -1)
        body += struct.pack(">i", -1) if version >= 11 else b""
        return body + struct.pack(">i", len(records)) + records

    def _list_offsets(self, version: int, request: Reader) -> bytes:
        request.take(5 if version >= 2 else 4)

        def partition(name: str) -> bytes:
            number, when = request.number("i"), request.number("q")
            held = self.partition(name, number)
            offset = -1 if held is None else held.first if when == -2 else held.next
            return struct.pack(">ihqq", number, 0 if held else _UNKNOWN_TOPIC, -1, offset)

        def topic() -> bytes:
            name = request.text() or ""
            return text(name) + many(request.many(lambda: partition(name)))

        return (struct.pack(">i", 0) if version >= 2 else b"") + many(request.many(topic))


async def _run(folder: Path, port: int, secured: list[str]) -> None:
    credentials = b"\0" + b"\0".join(word.encode() for word in secured[2:])
    broker = Broker(folder, credentials)
    await asyncio.start_server(lambda r, w: broker.serve(r, w, secured=False), "127.0.0.1", port)
    if secured:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(secured[1])
        await asyncio.start_server(
            lambda r, w: broker.serve(r, w, secured=True), "127.0.0.1", int(secured[0]), ssl=context
        )  # fmt: skip
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    async def obey(line: str) -> None:
        broker.order(line.split())
        print("done", flush=True)

    def listen() -> None:
        for line in sys.stdin:
            asyncio.run_coroutine_threadsafe(obey(line), loop).result()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=listen, daemon=True).start()
    print("ready", flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
