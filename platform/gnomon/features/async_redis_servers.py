"""All servers of an online store, for coroutines: routes commands to them and runs the batches of a route at once.

Used by `features.async_redis_online_store`; `features.redis_servers` is its blocking twin.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gnomon.errors import InvalidInput, Unavailable
from gnomon.features.async_redis_connections import AsyncRedisConnections
from gnomon.features.redis_addresses import Endpoint, parse_online_url
from gnomon.features.redis_routes import Batch, Result
from gnomon.features.redis_servers import late, route_of, steps_of
from gnomon.features.store_operations import Ask


class AsyncRedisServers:
    """The servers behind one URL, shared by all tasks of an event loop.

    Args:
        url: See `features.redis_addresses.parse_online_url`.
        timeout_s: For messages: the deadline that callers usually give.
        connections: How many connections there are to one server at most.

    Attributes:
        address: `host:port` of all servers that the URL names; never the password.

    Raises:
        InvalidInput: The URL cannot be used, or there is no connection.
    """

    def __init__(self, url: str, timeout_s: float, connections: int) -> None:
        place = parse_online_url(url)
        if connections < 1:
            raise InvalidInput(f"a store of {connections} connections cannot ask anything", "give at least 1")
        self.address = place.name
        self._timeout_s = timeout_s
        self._connections = connections
        self._route = route_of(place)
        self._pools: dict[Endpoint, AsyncRedisConnections] = {}

    async def exchange(self, ask: Ask) -> list[Any]:
        """Send commands to their servers and return the replies in order; see `RedisServers.exchange`."""
        deadline_s = asyncio.get_running_loop().time() + ask.timeout_s
        steps = steps_of(self._route, ask)
        try:
            batches = next(steps)
            while True:
                batches = steps.send(await self._perform(batches, deadline_s))
        except StopIteration as end:
            answer: list[Any] = end.value
            return answer

    def groups(self, keys: Sequence[bytes], most: int) -> list[Sequence[int]]:
        """Return indices of keys in groups that one script call may name, at most `most` in each."""
        return self._route.groups(keys, most)

    def close(self) -> None:
        """Close the connections; the next exchange opens new ones."""
        for pool in self._pools.values():
            pool.close()

    async def _perform(self, batches: Sequence[Batch], deadline_s: float) -> list[Result]:
        if asyncio.get_running_loop().time() >= deadline_s:
            return [late(batch, self._timeout_s) for batch in batches]
        if len(batches) == 1:
            return [await self._result(batches[0], deadline_s)]
        return await asyncio.gather(*(self._result(batch, deadline_s) for batch in batches))

    async def _result(self, batch: Batch, deadline_s: float) -> Result:
        pool = self._pools.get(batch.endpoint)
        if pool is None:
            pool = AsyncRedisConnections(batch.endpoint, self._timeout_s, self._connections)
            self._pools[batch.endpoint] = pool
        try:
            return await pool.exchange(b"".join(batch.commands), len(batch.commands), deadline_s)
        except Unavailable as error:
            return error
