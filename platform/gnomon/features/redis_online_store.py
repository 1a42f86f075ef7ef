"""RedisOnlineStore: the `OnlineStore` port over any server that speaks Redis' protocol (Valkey, Redis).

Made by `client`; written by materialization, read inside replicas. One hash per entity, one field per version of a
view, one packed row per field (`features.codec`). What is asked is decided by `features.store_operations`, whom it is
asked by `features.redis_routes`; `features.async_redis_online_store` is the same for coroutines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from gnomon.contracts.layouts import ViewLayout
from gnomon.contracts.online_store import OnlineRows, ReadPlan, WriteResult
from gnomon.features.redis_servers import RedisServers
from gnomon.features.store_operations import Operation, StoreOperations

T = TypeVar("T")


class RedisOnlineStore:
    """The newest row of each view per entity, in Redis hashes. Safe to share between threads.

    Args:
        url: One of the forms in platform/docs/online_store.md, with the password in it.
        project: Separates platforms on one server; letters, digits, `_`, `.` and `-`.
        timeout_s: Deadline of one read.

    Raises:
        InvalidInput: The URL or the project cannot be used.
    """

    def __init__(self, url: str, project: str, timeout_s: float = 0.5) -> None:
        self._servers = RedisServers(url, timeout_s)
        self._operations = StoreOperations(project, self._servers.address, timeout_s, self._servers.groups)

    def write(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        """Write rows; see `OnlineStore.write`. Both counts are lower bounds where a lost answer was repeated."""
        return self._run(self._operations.write(layout, rows))

    def delete(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        """Delete rows of entities; see `OnlineStore.delete`. The counts are as those of `write`."""
        return self._run(self._operations.delete(layout, rows))

    def read(
        self, plan: ReadPlan, keys: Sequence[Mapping[str, Any]], now_us: int, timeout_s: float | None = None
    ) -> OnlineRows:  # fmt: skip
        """Read all features of a plan for n entities; see `OnlineStore.read`."""
        return self._run(self._operations.read(plan, keys, now_us, timeout_s))

    def clear(self, layout: ViewLayout) -> int:
        """Remove all rows of a view; see `OnlineStore.clear`. Walks through all keys of every server."""
        return self._run(self._operations.clear(layout))

    def drop_version(self, layout: ViewLayout) -> int:
        """Remove the rows of one version of a view; see `OnlineStore.drop_version`. Walks through all keys."""
        return self._run(self._operations.drop_version(layout))

    def ping(self) -> None:
        """Return when the server answers, of a cluster one node; see `OnlineStore.ping`."""
        self._run(self._operations.ping())

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._servers.close()

    def _run(self, operation: Operation[T]) -> T:
        try:
            ask = next(operation)
            while True:
                ask = operation.send(self._servers.exchange(ask))
        except StopIteration as end:
            result: T = end.value
            return result
