"""One open connection of an event loop to a Redis-protocol server, shared by many requests at once.

Used by `features.async_redis_connections`. The server answers in the order of the requests, so that a queue of who
waits is all that is needed.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any

import hiredis

from gnomon.features.redis_addresses import Endpoint
from gnomon.features.redis_lines import tls_context
from gnomon.features.redis_protocol import check_greeting, greeting, hung_up, parsed


class AsyncLine(asyncio.Protocol):
    """One connection with its parser and the requests that wait for replies; made by `open_line`.

    Attributes:
        usable: False once it was closed, or a request on it got no answer in time.
    """

    def __init__(self) -> None:
        self.usable = True
        self._reader = hiredis.Reader()
        self._waiting: deque[_Waiting] = deque()
        self._transport: asyncio.Transport | None = None

    @property
    def load(self) -> int:
        """Return how many requests wait for their replies."""
        return len(self._waiting)

    async def exchange(self, request: bytes, replies: int, deadline_s: float) -> list[Any]:
        """Send a request and return its replies; a cancelled one leaves the connection in order.

        Args:
            request: Commands of the Redis protocol, one after another.
            replies: How many the server will give.
            deadline_s: On the clock of the event loop.

        Returns:
            As many as `replies`.

        Raises:
            OSError: No answer in time, or the connection was lost.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("closed by the server")
        waiting = _Waiting(replies)
        self._waiting.append(waiting)
        self._transport.write(request)
        try:
            async with asyncio.timeout_at(deadline_s):
                return await waiting.future
        except TimeoutError:
            self.usable = False
            if all(other.future.done() for other in self._waiting):
                self.close()
            raise

    def close(self) -> None:
        """Close at once; requests that wait are lost."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to; called by the event loop."""
        assert isinstance(transport, asyncio.Transport), "streams only"
        self._transport = transport
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait; called by the event loop."""
        try:
            for reply in parsed(self._reader, data, len(data)):
                if not self._waiting:
                    self.close()  # nobody asked: whatever this is, it does not speak our protocol
                    return
                waiting = self._waiting[0]
                waiting.replies.append(reply)
                if len(waiting.replies) == waiting.wanted:
                    self._waiting.popleft()
                    if not waiting.future.done():
                        waiting.future.set_result(waiting.replies)
        except hiredis.ProtocolError as error:
            self.close()
            self._lose(error)
            return
        if not self.usable and all(waiting.future.done() for waiting in self._waiting):
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell those who wait; called by the event loop."""
        self.usable = False
        self._lose(error or ConnectionResetError("closed by the server"))

    def _lose(self, error: Exception) -> None:
        while self._waiting:
            future = self._waiting.popleft().future
            if not future.done():
                future.set_exception(error)


class _Waiting:
    """A request without all of its replies."""

    __slots__ = ("future", "replies", "wanted")

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.replies: list[Any] = []
        self.future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()


async def open_line(endpoint: Endpoint, deadline_s: float) -> AsyncLine:
    """Connect to a server and greet it.

    Args:
        endpoint: The server.
        deadline_s: When both have to be over, on the clock of the event loop.

    Returns:
        A connection that is ready for requests.

    Raises:
        OSError: It cannot be reached in time, or `GreetingRefused`.
    """
    loop = asyncio.get_running_loop()
    secured = tls_context(endpoint.tls) if endpoint.tls is not None else None
    try:
        async with asyncio.timeout_at(deadline_s):
            if endpoint.path:
                _, line = await loop.create_unix_connection(AsyncLine, endpoint.path)
            else:
                _, line = await loop.create_connection(AsyncLine, endpoint.host, endpoint.port, ssl=secured)
    except TimeoutError as error:
        raise TimeoutError("TLS" if secured else "") from error
    try:
        if words := greeting(endpoint):
            check_greeting(endpoint, await line.exchange(b"".join(words), len(words), deadline_s))
    except OSError as error:
        line.close()
        raise (hung_up(error) if secured else error) from error
    except BaseException:
        line.close()
        raise
    return line
