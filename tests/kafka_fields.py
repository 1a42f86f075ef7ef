"""Fields of Kafka's protocol, in bytes and back; used by `tests.kafka_server`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any


class Reader:
    """Reads the fields of a request."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, form: str) -> int:
        (value,) = struct.unpack(f">{form}", self.take(struct.calcsize(form)))
        return int(value)

    def text(self) -> str | None:
        size = self.number("h")
        return None if size < 0 else self.take(size).decode()

    def data(self) -> bytes:
        return self.take(max(0, self.number("i")))

    def many(self, read: Callable[[], Any]) -> list[Any]:
        return [read() for _ in range(self.number("i"))]

    def varint(self) -> int:
        value = shift = 0
        while (byte := self.number("B")) & 0x80:
            value, shift = value | (byte & 0x7F) << shift, shift + 7
        return value | byte << shift

    def compact_text(self) -> str | None:
        size = self.varint()
        return None if size == 0 else self.take(size - 1).decode()

    def tags(self) -> None:
        for _ in range(self.varint()):
            self.varint()
            self.take(self.varint())


def text(value: str | None) -> bytes:
    return b"\xff\xff" if value is None else struct.pack(">h", len(value.encode())) + value.encode()


def many(items: list[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)


def varint(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def compact_text(value: str | None) -> bytes:
    return b"\0" if value is None else varint(len(value.encode()) + 1) + value.encode()


def compact_many(items: list[bytes]) -> bytes:
    return varint(len(items) + 1) + b"".join(items)
