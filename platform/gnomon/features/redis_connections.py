"""Round trips to a Redis-protocol server within a deadline: bytes of a pipelined request out, parsed replies in.

Used by `features.redis_online_store`. redis-py makes the connections (addresses, TLS, passwords, handshake); replies
are parsed by hiredis straight from the socket, because redis-py's own reading costs several microseconds per reply.
"""

from __future__ import annotations

import os
import time
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from gnomon.errors import InvalidInput, Unavailable

_BUFFER_BYTES = 1 << 18
_IDLE_CONNECTIONS = 64


class RedisConnections:
    """Idle connections to one server, shared by all threads of a process; a forked child opens its own.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        timeout_s: Deadline of connecting, and of a round trip that names no other.

    Attributes:
        address: `host:port` or the socket's path; never the password.

    Raises:
        InvalidInput: The URL cannot be used.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        try:
            options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise InvalidInput(
                "the URL of the online store cannot be used", "write it as redis://[user:password@]host:port/database"
            ) from error
        self._class = options.pop("connection_class", Connection)
        host = options.get("host", "localhost")
        self.address = options["path"] if "path" in options else f"{host}:{options.get('port', 6379)}"
        self.timeout_s = timeout_s
        options |= {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "protocol": 2}
        self._options = options | {"retry": Retry(NoBackoff(), 0), "driver_info": None}
        self._idle: list[_Line] = []
        self._process = os.getpid()

    def exchange(self, request: bytes, replies: int, timeout_s: float | None = None) -> list[Any]:
        """Send a pipelined request and return its replies in order; a reply may be a `hiredis.ReplyError`.

        A connection that the server closed while it was idle is replaced once; the request may then be sent twice.

        Args:
            request: Commands of the Redis protocol, one after another.
            replies: How many the server will give, one per command.
            timeout_s: Deadline of the whole exchange in seconds; the pool's own when left out.

        Returns:
            As many as `replies`; strings as bytes.

        Raises:
            Unavailable: No answer within the deadline, or the connection is refused or lost.
        """
        deadline_s = time.monotonic() + (timeout_s or self.timeout_s)
        line = self._take()
        fresh = line is None
        while True:
            try:
                if line is None:
                    line = _Line(self._class(**self._options))
                answer = line.exchange(request, replies, deadline_s)
                break
            except TimeoutError as error:
                self._drop(line)
                raise self._unavailable("does not answer in time", timeout_s) from error
            except (redis.RedisError, OSError, hiredis.ProtocolError) as error:
                self._drop(line)
                line = None
                if fresh or time.monotonic() >= deadline_s:
                    raise self._unavailable(_cause(error), timeout_s) from error
                fresh = True
        if len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append(line)
        else:
            line.close()
        return answer

    def refused(self, error: Exception) -> Unavailable:
        """Return the error for a command that the server answered with an error."""
        return Unavailable(
            f"the online store at {self.address} refused: {error}", "look at the server's log and memory"
        )

    def close(self) -> None:
        """Close the idle connections; the next round trip opens a new one."""
        while self._idle:
            self._idle.pop().close()

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    def _take(self) -> _Line | None:
        if self._process != os.getpid():
            self.close()  # redis-py closes our copies only; the parent's connections stay open
            self._process = os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _drop(self, line: _Line | None) -> None:
        if line is not None:
            line.close()

    def _unavailable(self, why: str, timeout_s: float | None) -> Unavailable:
        return Unavailable(
            f"the online store at {self.address} {why}",
            "start it, or correct GNOMON_ONLINE_URL"
            if "password" not in why
            else "correct the password in GNOMON_ONLINE_URL",
            {"address": self.address, "timeout_s": timeout_s or self.timeout_s},
        )


class _Line:
    """One open connection with its parser and buffer."""

    def __init__(self, connection: Any) -> None:
        try:
            connection.connect()
        except redis.TimeoutError as error:
            raise TimeoutError(str(error)) from error
        self._connection = connection
        self._socket = connection._get_socket()
        self._reader = hiredis.Reader()
        self._buffer = bytearray(_BUFFER_BYTES)

    def exchange(self, request: bytes, replies: int, deadline_s: float) -> list[Any]:
        """Send all, then read until every reply is there."""
        sock, reader, buffer = self._socket, self._reader, self._buffer
        sock.settimeout(max(deadline_s - time.monotonic(), 1e-3))
        sock.sendall(request)
        answer: list[Any] = []
        while True:
            received = sock.recv_into(buffer)
            if not received:
                raise ConnectionResetError("closed by the server")
            reader.feed(buffer, 0, received)  # type: ignore[arg-type]  # any buffer does
            while (reply := reader.gets()) is not False:
                answer.append(reply)
            if len(answer) >= replies:
                return answer
            sock.settimeout(max(deadline_s - time.monotonic(), 1e-3))

    def close(self) -> None:
        self._connection.disconnect()


def _cause(error: Exception) -> str:
    if isinstance(error, redis.AuthenticationError | NoPermissionError) or "WRONGPASS" in str(error):
        return "refuses the password"
    if isinstance(error, redis.BusyLoadingError):
        return "is still loading its data"
    return f"cannot be reached: {type(error).__name__}"
