"""redis-py with packed rows in plain keys, all read by one MGET: a contestant of `online_read`.

One command instead of one per entity, which is what most of redis-py's time goes into; in exchange an entity has as
many keys as views, which no single write, expiry or deletion covers.
"""

from __future__ import annotations

import redis
from contestant import run
from online_read.packed_redis_py import PackedRedisPy
from online_read.packed_rows import view_key


class PackedRedisPyMget(PackedRedisPy):
    """The contestant; see `contestant.Contestant`."""

    def fetch(self, client: redis.Redis, width: int, entities: list[int]) -> list[bytes]:
        """Return the packed rows of entities, in order."""
        return client.execute_command("MGET", *[view_key(entity, width) for entity in entities])


if __name__ == "__main__":
    run(PackedRedisPyMget())
