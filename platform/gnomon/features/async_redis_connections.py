"""Round trips of coroutines to one Redis-protocol server within a deadline, over a bounded number of connections.

Used by `features.async_redis_servers`, one per server; `features.redis_connections` is its blocking twin.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gnomon.features.async_redis_lines import AsyncLine, open_line
from gnomon.features.circuit_breaker import CircuitBreaker
from gnomon.features.redis_addresses import Endpoint
from gnomon.features.redis_failures import LOST, unanswered, withheld


class AsyncRedisConnections:
    """Connections to one server, shared by all tasks of an event loop; another loop gets its own.

    Args:
        endpoint: The server.
        timeout_s: For messages: the deadline that callers usually give.
        connections: How many connections there are at most; requests share them.
        breaker: Decides when a server that does not answer is left alone; a new one by default.
    """

    def __init__(
        self, endpoint: Endpoint, timeout_s: float, connections: int, breaker: CircuitBreaker | None = None
    ) -> None:  # fmt: skip
        self.endpoint = endpoint
        self.breaker = breaker or CircuitBreaker()
        self._timeout_s = timeout_s
        self._most = connections
        self._lines: list[AsyncLine] = []
        self._opening = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last = ("does not answer", "")

    async def exchange(self, request: bytes, replies: int, deadline_s: float) -> list[Any]:
        """Send a pipelined request and return its replies in order; a reply may be a `hiredis.ReplyError`.

        A connection that is lost under a request is replaced once; the request may then be sent twice.

        Args:
            request: Commands of the Redis protocol, one after another.
            replies: How many the server will give, one per command.
            deadline_s: When all has to be over, connecting included, on the clock of the event loop.

        Returns:
            As many as `replies`; strings as bytes.

        Raises:
            Unavailable: No answer within the deadline, the connection is refused or lost, or the breaker is open.
        """
        if self.breaker.troubled and (wait_s := self.breaker.admit()):
            raise withheld(self.endpoint.name, wait_s, *self._last)
        try:
            answer = await self._attempt(request, replies, deadline_s)
        except LOST as error:
            self.breaker.failed()
            failure = unanswered(self.endpoint.name, self._timeout_s, error)
            self._last = failure.details["why"], failure.hint
            raise failure from error
        if self.breaker.troubled:
            self.breaker.succeeded()
        return answer

    def close(self) -> None:
        """Close all connections; the next round trip opens a new one."""
        while self._lines:
            self._lines.pop().close()

    async def _attempt(self, request: bytes, replies: int, deadline_s: float) -> list[Any]:
        line, fresh = await self._line(deadline_s)
        try:
            return await line.exchange(request, replies, deadline_s)
        except TimeoutError:
            raise
        except LOST:
            if fresh:
                raise
        line, _ = await self._line(deadline_s)
        return await line.exchange(request, replies, deadline_s)

    async def _line(self, deadline_s: float) -> tuple[AsyncLine, bool]:
        """Return the connection with the fewest requests, and whether it is new."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lines, self._opening, self._waiters = loop, [], 0, []
        while True:
            self._lines = [line for line in self._lines if line.usable]
            line = min(self._lines, key=lambda line: line.load, default=None)
            full = len(self._lines) + self._opening >= self._most
            if line is not None and (full or not line.load):
                return line, False
            if not full:
                return await self._open(deadline_s), True
            opened = loop.create_future()
            self._waiters.append(opened)
            async with asyncio.timeout_at(deadline_s):
                await opened

    async def _open(self, deadline_s: float) -> AsyncLine:
        self._opening += 1
        try:
            line = await open_line(self.endpoint, deadline_s)
        except LOST as error:
            self._wake(error)
            raise
        else:
            self._lines.append(line)
            return line
        finally:
            self._opening -= 1
            self._wake(None)

    def _wake(self, error: BaseException | None) -> None:
        """Let those who wait for a connection look again, or fail with the one that could not be opened."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)
