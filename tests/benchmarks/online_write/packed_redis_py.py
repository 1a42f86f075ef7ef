"""redis-py with hiredis and packed rows in plain keys, no time compared: a contestant of `online_write`.

`packed_redis_py_hset` is the same over hashes. Columns in memory are packed by numpy; SETs go out in pipelines of
10,000 without a transaction.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import redis
from contestant import run
from online_write.rows import FEATURES, check, columns, sample
from online_write.server import Server, measure_writes

_PIPELINE_ROWS = 10_000
_ROW = np.dtype([("event_us", "<i8"), ("values", "<f8", (len(FEATURES),))])


class PackedRedisPy:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._client: redis.Redis | None = None
        self._server: Server | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """There is nothing to prepare."""

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the client, which connects."""
        self._server = Server(world["url"])
        self._client = redis.Redis.from_url(world["url"], protocol=2, single_connection_client=True)
        return {name: version(name) for name in ("redis", "hiredis", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time writes, from columns on."""
        assert self._client is not None
        assert self._server is not None
        client, entities, replaces = self._client, scenario["entities"], scenario["replaces"]
        began_us = time.time_ns() // 1000
        generations = [columns(entities, generation) for generation in (0, 1)]

        def put(made: tuple[int, int]) -> None:
            generation, number = made
            rows = np.empty(entities, _ROW)
            rows["event_us"] = began_us + number
            for i, name in enumerate(FEATURES):
                rows["values"][:, i] = generations[generation][name]
            packed, width = rows.tobytes(), _ROW.itemsize
            for first in range(0, entities, _PIPELINE_ROWS):
                pipeline = client.pipeline(transaction=False)
                for entity in range(first, min(first + _PIPELINE_ROWS, entities)):
                    self.queue(pipeline, entity, packed[entity * width : (entity + 1) * width])
                pipeline.execute()

        measured = measure_writes(self._server, entities, replaces, budget_s, lambda *made: made, put)
        found = np.frombuffer(b"".join(self.fetch(client, sample(entities))), _ROW)
        values = {name: found["values"][:, i].tolist() for i, name in enumerate(FEATURES)}
        return {**measured, "value_bytes": float(_ROW.itemsize), "check": check(values)}

    def queue(self, pipeline: Any, entity: int, packed: bytes) -> None:
        """Queue the write of one row."""
        pipeline.execute_command("SET", b"raw:%d" % entity, packed)

    def fetch(self, client: redis.Redis, entities: Sequence[int]) -> list[bytes]:
        """Return the packed rows of entities, in order."""
        return [client.execute_command("GET", b"raw:%d" % entity) for entity in entities]

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
        if self._server is not None:
            self._server.close()


if __name__ == "__main__":
    run(PackedRedisPy())
