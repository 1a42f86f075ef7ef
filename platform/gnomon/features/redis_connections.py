"""Round trips to one Redis-protocol server within a deadline: bytes of a pipelined request out, parsed replies in.

Used by `features.redis_servers`, one per server.
"""

from __future__ import annotations

import os
import time
from typing import Any

from gnomon.errors import Unavailable
from gnomon.features.circuit_breaker import CircuitBreaker
from gnomon.features.redis_addresses import Endpoint
from gnomon.features.redis_failures import LOST, unanswered, withheld
from gnomon.features.redis_lines import Line

_IDLE_CONNECTIONS = 64


class RedisConnections:
    """Idle connections to one server, shared by all threads of a process; a forked child opens its own.

    Args:
        endpoint: The server.
        timeout_s: For messages: the deadline that callers usually give.
        breaker: Decides when a server that does not answer is left alone; a new one by default.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float, breaker: CircuitBreaker | None = None) -> None:
        self.endpoint = endpoint
        self.breaker = breaker or CircuitBreaker()
        self._timeout_s = timeout_s
        self._idle: list[Line] = []
        self._process = os.getpid()
        self._last = ("does not answer", "")

    def exchange(self, request: bytes, replies: int, deadline_s: float) -> list[Any]:
        """Send a pipelined request and return its replies in order; a reply may be a `hiredis.ReplyError`.

        A connection that the server closed while it was idle is replaced once; the request may then be sent twice.

        Args:
            request: Commands of the Redis protocol, one after another.
            replies: How many the server will give, one per command.
            deadline_s: When the whole exchange has to be over, connecting included, on `time.monotonic`.

        Returns:
            As many as `replies`; strings as bytes.

        Raises:
            Unavailable: No answer within the deadline, the connection is refused or lost, or the breaker is open.
        """
        if self.breaker.troubled or not self._idle or self._process != os.getpid():
            return self.receive(self.send(request, replies, deadline_s))
        try:  # the same in short for what nearly always happens: a microsecond less
            line = self._idle.pop()
        except IndexError:
            return self.receive(self.send(request, replies, deadline_s))
        try:
            line.send(request, deadline_s)
            answer = line.receive(replies, deadline_s)
        except LOST as error:
            sent = SentRequest(line, request, replies, deadline_s)
            sent.error = error
            return self.receive(sent)
        except BaseException:
            line.close()
            raise
        self._idle.append(line)
        return answer

    def send(self, request: bytes, replies: int, deadline_s: float) -> SentRequest:
        """Send a request; what it returns is handed to `receive` or `abandon`. Arguments as of `exchange`."""
        if self._process != os.getpid():
            self._leave_to_parent()
        if self.breaker.troubled and (wait_s := self.breaker.admit()):
            raise withheld(self.endpoint.name, wait_s, *self._last)
        try:
            line: Line | None = self._idle.pop()
        except IndexError:
            line = None
        return self._start(SentRequest(line, request, replies, deadline_s))

    def receive(self, sent: SentRequest) -> list[Any]:
        """Return the replies to a request that was sent; see `exchange`."""
        try:
            line, answer = sent.answer()
        except LOST as error:
            self.abandon(sent)
            if sent.fresh or isinstance(error, TimeoutError) or time.monotonic() >= sent.deadline_s:
                raise self._failed(error) from error
            return self.receive(self._start(SentRequest(None, sent.request, sent.replies, sent.deadline_s)))
        except BaseException:
            self.abandon(sent)
            raise
        if self.breaker.troubled:
            self.breaker.succeeded()
        if len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append(line)
        else:
            line.close()
        return answer

    def abandon(self, sent: SentRequest) -> None:
        """Close the connection of a request whose replies nobody will read."""
        if sent.line is not None:
            sent.line.close()
            sent.line = None

    def close(self) -> None:
        """Close the idle connections; the next round trip opens a new one."""
        while self._idle:
            self._idle.pop().close()

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    def _leave_to_parent(self) -> None:
        self.close()  # our copies only: the parent's connections stay open
        self.breaker = CircuitBreaker()  # its lock may be held by a thread that we do not have
        self._process = os.getpid()

    def _start(self, sent: SentRequest) -> SentRequest:
        try:
            if sent.line is None:
                sent.line = Line(self.endpoint, sent.deadline_s)
            sent.line.send(sent.request, sent.deadline_s)
        except LOST as error:
            sent.error = error
        except BaseException:
            self.abandon(sent)
            raise
        return sent

    def _failed(self, error: BaseException) -> Unavailable:
        self.breaker.failed()
        failure = unanswered(self.endpoint.name, self._timeout_s, error)
        self._last = failure.details["why"], failure.hint
        return failure


class SentRequest:
    """A request on its way, on a connection that nobody else uses meanwhile."""

    __slots__ = ("deadline_s", "error", "fresh", "line", "replies", "request")

    def __init__(self, line: Line | None, request: bytes, replies: int, deadline_s: float) -> None:
        self.line = line
        self.fresh = line is None
        self.request = request
        self.replies = replies
        self.deadline_s = deadline_s
        self.error: BaseException | None = None

    def answer(self) -> tuple[Line, list[Any]]:
        """Return the connection and the replies, or raise why there are none."""
        error, self.error = self.error, None  # no circle of request, error and frames: sockets close without the GC
        try:
            if error is not None:
                raise error
        finally:
            del error
        assert self.line is not None, "a request without a connection has an error"
        return self.line, self.line.receive(self.replies, self.deadline_s)
