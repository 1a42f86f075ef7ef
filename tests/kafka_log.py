"""Topics whose record batches are kept in files as they came; used by `tests.kafka_server`."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


class Partition:
    """The record batches of a partition, in a file and in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.first, self.next = 0, 0
        self.batches: list[tuple[int, int, bytes]] = []
        self._sequences: dict[int, tuple[int, int]] = {}
        stored = path.read_bytes() if path.exists() else b""
        for batch in _batches(stored):
            self._take(batch)
        start = path.with_suffix(".first")
        self.trim(int(start.read_text()) if start.exists() else 0)

    def append(self, records: bytes) -> int:
        """Add batches; return the offset of the first. What a producer repeats is not added again."""
        first = self.next
        for batch in _batches(records):
            producer, sequence = struct.unpack(">qxxi", batch[43:57])
            last = self._sequences.get(producer)
            if producer >= 0 and last is not None and last[0] == sequence:
                return last[1]
            batch = struct.pack(">q", self.next) + batch[8:]
            with self._path.open("ab") as file:
                file.write(batch)
            self._take(batch)
        return first

    def read(self, offset: int, most_bytes: int) -> bytes:
        found, size = [], 0
        for _, after, batch in self.batches:
            if after <= offset:
                continue
            if found and size + len(batch) > most_bytes:
                break  # nothing later either, though it may be small enough: readers take it that none is left out
            found.append(batch)
            size += len(batch)
        return b"".join(found)

    def trim(self, first: int) -> None:
        """Delete what lies before an offset."""
        self.first = max(self.first, first)
        self.batches = [batch for batch in self.batches if batch[1] > self.first]
        self._path.with_suffix(".first").write_text(str(self.first))

    def compact(self, offset: int) -> None:
        """Delete the batch with an offset and leave the others where they are."""
        self.batches = [batch for batch in self.batches if not batch[0] <= offset < batch[1]]

    def truncate(self, end: int) -> None:
        """Lose what lies from an offset on, as an unclean election does."""
        self.batches = [batch for batch in self.batches if batch[1] <= end]
        self.next = self.batches[-1][1] if self.batches else self.first
        self._path.write_bytes(b"".join(batch for _, _, batch in self.batches))

    def _take(self, batch: bytes) -> None:
        (base,) = struct.unpack(">q", batch[:8])
        (delta,) = struct.unpack(">i", batch[23:27])
        producer, sequence = struct.unpack(">qxxi", batch[43:57])
        self._sequences[producer] = (sequence, base)
        self.next = base + delta + 1
        self.batches.append((base, self.next, batch))


def _batches(data: bytes) -> Iterator[bytes]:
    while len(data) >= 61:
        size = 12 + struct.unpack(">i", data[8:12])[0]
        if len(data) < size:
            return  # cut off by a kill, and so never acknowledged
        yield data[:size]
        data = data[size:]


@dataclass
class Topic:
    """A topic, its id and its partitions."""

    folder: Path
    id: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    partitions: list[Partition] = field(default_factory=list)

    def grow(self, partitions: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.partitions += [Partition(self.folder / f"{n}.log") for n in range(len(self.partitions), partitions)]
        (self.folder / "topic.json").write_text(json.dumps({"id": self.id.hex(), "partitions": partitions}))
