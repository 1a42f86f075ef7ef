"""redis-py with hiredis and packed rows, one hash per entity: a contestant of `online_read`.

`packed_redis_py_mget` is the same over plain keys.
One HMGET per entity, several in one pipeline, and one numpy decode of all rows; no ages, no statuses, no absent rows.
Of the ways to use the client the fastest: a connection of its own without a pool, RESP2, no pipeline for one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import redis
from contestant import run, time_calls
from online_read.packed_rows import key, row_type, write_all
from online_read.rows import check, feature_names, requests, view_name


class PackedRedisPy:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._client: redis.Redis | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write all rows."""
        write_all(world["url"])

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Make the client, which connects."""
        self._client = redis.Redis.from_url(world["url"], protocol=2, single_connection_client=True)
        return {name: version(name) for name in ("redis", "hiredis", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time reads, up to one array per feature."""
        assert self._client is not None
        width = scenario["features"]
        names, packed = feature_names(width), row_type(width)
        fetch = partial(self.fetch, self._client, width)

        def read(entities: list[int]) -> dict[str, np.ndarray[Any, Any]]:
            rows = np.frombuffer(b"".join(fetch(entities)), packed)
            return dict(zip(names, np.ascontiguousarray(rows["values"].T), strict=True))

        asked = requests(scenario["rows"])
        timed = time_calls(read, asked, budget_s)
        answer = read(asked[0])
        return {**timed, "check": check(answer[name].tolist() for name in names)}

    def fetch(self, client: redis.Redis, width: int, entities: list[int]) -> list[bytes]:
        """Return the packed rows of entities, in order."""
        field = view_name(width).encode()
        if len(entities) == 1:
            return client.execute_command("HMGET", key(entities[0]), field)
        pipeline = client.pipeline(transaction=False)
        for entity in entities:
            pipeline.execute_command("HMGET", key(entity), field)
        return [reply[0] for reply in pipeline.execute()]

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()


if __name__ == "__main__":
    run(PackedRedisPy())
