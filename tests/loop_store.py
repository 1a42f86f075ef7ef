"""The asynchronous online store behind the blocking port, so that its suites run over it too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from gnomon.contracts.layouts import ViewLayout
from gnomon.contracts.online_store import OnlineRows, ReadPlan, WriteResult
from gnomon.features.async_redis_online_store import AsyncRedisOnlineStore


class LoopStore:
    """Runs every call of an `AsyncRedisOnlineStore` to its end, in an event loop of its own.

    Args:
        options: Those of the store.
    """

    def __init__(self, *options: Any) -> None:
        self._runner = asyncio.Runner()
        self.store = AsyncRedisOnlineStore(*options)

    def write(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        return self._runner.run(self.store.write(layout, rows))

    def delete(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        return self._runner.run(self.store.delete(layout, rows))

    def read(
        self, plan: ReadPlan, keys: Sequence[Mapping[str, Any]], now_us: int, timeout_s: float | None = None
    ) -> OnlineRows:  # fmt: skip
        return self._runner.run(self.store.read(plan, keys, now_us, timeout_s))

    def clear(self, layout: ViewLayout) -> int:
        return self._runner.run(self.store.clear(layout))

    def drop_version(self, layout: ViewLayout) -> int:
        return self._runner.run(self.store.drop_version(layout))

    def ping(self) -> None:
        self._runner.run(self.store.ping())

    def close(self) -> None:
        """Close the store and its event loop."""
        self._runner.run(self.store.close())
        self._runner.close()


_OPEN: list[LoopStore] = []


def open_loop_store(*options: Any) -> LoopStore:
    """Return a store that `close_loop_stores` closes."""
    _OPEN.append(LoopStore(*options))
    return _OPEN[-1]


def close_loop_stores() -> None:
    """Close all stores of this process, so that no event loop is left to the garbage collector."""
    while _OPEN:
        _OPEN.pop().close()
