"""redis-py with packed rows as fields of one hash per entity, no time compared: a contestant of `online_write`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from contestant import run
from online_write.packed_redis_py import PackedRedisPy
from online_write.rows import VIEW


class PackedRedisPyHset(PackedRedisPy):
    """The contestant; see `contestant.Contestant`."""

    def queue(self, pipeline: Any, entity: int, packed: bytes) -> None:
        """Queue the write of one row."""
        pipeline.execute_command("HSET", b"raw:%d" % entity, VIEW, packed)

    def fetch(self, client: redis.Redis, entities: Sequence[int]) -> list[bytes]:
        """Return the packed rows of entities, in order."""
        return [client.execute_command("HGET", b"raw:%d" % entity, VIEW) for entity in entities]


if __name__ == "__main__":
    run(PackedRedisPyHset())
