"""AsyncRedisOnlineStore: `RedisOnlineStore` for coroutines, for services that run an event loop of their own.

Made by users of the package. Rows, plans, commands and routes are those of the blocking store; only waiting differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from gnomon.contracts.layouts import ViewLayout
from gnomon.contracts.online_store import OnlineRows, ReadPlan, WriteResult
from gnomon.features.async_redis_servers import AsyncRedisServers
from gnomon.features.store_operations import Operation, StoreOperations

T = TypeVar("T")


class AsyncRedisOnlineStore:
    """The newest row of each view per entity, in Redis hashes. Shared by all tasks of an event loop.

    Tasks share connections: a request does not wait for the replies to others before it is sent. Packing and decoding
    run in the event loop; write large tables from a thread with `RedisOnlineStore`.

    Args:
        url: One of the forms in platform/docs/online_store.md, with the password in it.
        project: Separates platforms on one server; letters, digits, `_`, `.` and `-`.
        timeout_s: Deadline of one read.
        connections: How many connections there are to one server at most.

    Raises:
        InvalidInput: The URL or the project cannot be used.
    """

    def __init__(self, url: str, project: str, timeout_s: float = 0.5, connections: int = 4) -> None:
        self._servers = AsyncRedisServers(url, timeout_s, connections)
        self._operations = StoreOperations(project, self._servers.address, timeout_s, self._servers.groups)

    async def write(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        """Write rows; see `OnlineStore.write`. Both counts are lower bounds where a lost answer was repeated."""
        return await self._run(self._operations.write(layout, rows))

    async def delete(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        """Delete rows of entities; see `OnlineStore.delete`. The counts are as those of `write`."""
        return await self._run(self._operations.delete(layout, rows))

    async def read(
        self, plan: ReadPlan, keys: Sequence[Mapping[str, Any]], now_us: int, timeout_s: float | None = None
    ) -> OnlineRows:  # fmt: skip
        """Read all features of a plan for n entities; see `OnlineStore.read`."""
        return await self._run(self._operations.read(plan, keys, now_us, timeout_s))

    async def clear(self, layout: ViewLayout) -> int:
        """Remove all rows of a view; see `OnlineStore.clear`. Walks through all keys of every server."""
        return await self._run(self._operations.clear(layout))

    async def drop_version(self, layout: ViewLayout) -> int:
        """Remove the rows of one version of a view; see `OnlineStore.drop_version`. Walks through all keys."""
        return await self._run(self._operations.drop_version(layout))

    async def ping(self) -> None:
        """Return when the server answers, of a cluster one node; see `OnlineStore.ping`."""
        await self._run(self._operations.ping())

    async def close(self) -> None:
        """Close the connections; the next call opens new ones. Requests that still wait are lost."""
        self._servers.close()

    async def _run(self, operation: Operation[T]) -> T:
        try:
            ask = next(operation)
            while True:
                ask = operation.send(await self._servers.exchange(ask))
        except StopIteration as end:
            result: T = end.value
            return result
