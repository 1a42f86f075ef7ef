"""Closed-loop load: so many connections, each sends its next request when the last one was answered.

A program of its own, started by `measured_server` with its orders as JSON on the input; the same for every contestant.
One thread over epoll and bytes, no HTTP library: per request it costs a small part of what any server does, which the
contestant `trivial server` shows.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from typing import Any

from contestant import percentile

_CONNECT_TIMEOUT_S = 30.0
_FIRST_ANSWERS_S = 10.0


class Line:
    """One connection with at most one request on the way."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._due_bytes = 0
        self.sent_ns = 0

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._received, self._due_bytes = b"", 0
        self.sent_ns = time.perf_counter_ns()
        self.socket.sendall(request)

    def receive(self) -> int | None:
        """Take what has come; return the answer's status once it is whole.

        Raises:
            ConnectionError: The server closed the connection, or its answer has no length.
        """
        chunk = self.socket.recv(1 << 18)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self._received = self._received + chunk if self._received else chunk
        if not self._due_bytes:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self._received[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            if at < 0:
                raise ConnectionError(f"an answer without a length: {head[:80]!r}")
            self._due_bytes = end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0])
        if len(self._received) < self._due_bytes:
            return None
        return int(self._received[9:12])


class _Load:
    """The connections, what they send in turn, and what came back since counting began."""

    def __init__(self, host: str, port: int, requests: list[bytes], concurrency: int) -> None:
        self.errors: dict[str, int] = {}
        self.taken_ns: list[int] = []
        self._requests = requests
        self._sent = 0
        self._selector = selectors.DefaultSelector()
        lines = [Line(host, port) for _ in range(concurrency)]
        self._silent = set(lines)
        for line in lines:
            self._selector.register(line.socket, selectors.EVENT_READ, line)
            self._send(line)

    def warm_up(self, duration_s: float) -> None:
        """Send without counting, until every connection was answered once: a server may accept them slowly."""
        self._run_until(time.perf_counter_ns() + int(duration_s * 1e9))
        deadline_ns = time.perf_counter_ns() + int(_FIRST_ANSWERS_S * 1e9)
        while self._silent and time.perf_counter_ns() < deadline_ns:
            self._run_until(min(time.perf_counter_ns() + 50_000_000, deadline_ns))
        self.taken_ns.clear()

    def count(self, duration_s: float) -> float:
        """Send, and keep how long each request took; return the seconds that it went on."""
        began_ns = time.perf_counter_ns()
        ended_ns = self._run_until(began_ns + int(duration_s * 1e9))
        for chosen in list(self._selector.get_map().values()):
            if chosen.data.sent_ns < began_ns:  # unanswered for the whole time
                self._fail("no answer")
            chosen.data.socket.close()
        self._selector.close()
        return (ended_ns - began_ns) / 1e9

    def _run_until(self, until_ns: int) -> int:
        while (now_ns := time.perf_counter_ns()) < until_ns and self._selector.get_map():
            for chosen, _ in self._selector.select((until_ns - now_ns) / 1e9):
                self._receive(chosen.data)
        return now_ns

    def _receive(self, line: Line) -> None:
        try:
            status = line.receive()
        except OSError as error:
            self._fail(str(error))
            self._silent.discard(line)
            self._selector.unregister(line.socket)
            line.socket.close()
            return
        if status is None:
            return
        if status == 200:
            self.taken_ns.append(time.perf_counter_ns() - line.sent_ns)
        else:
            self._fail(str(status))
        self._silent.discard(line)
        self._send(line)

    def _send(self, line: Line) -> None:
        line.send(self._requests[self._sent % len(self._requests)])
        self._sent += 1

    def _fail(self, cause: str) -> None:
        self.errors[cause] = self.errors.get(cause, 0) + 1


def run_load(
    host: str, port: int, requests: list[bytes], concurrency: int, warm_up_s: float, duration_s: float
) -> dict[str, Any]:  # fmt: skip
    """Send requests for at least `warm_up_s` and then, counted, for `duration_s`.

    Returns:
        `requests` answered 200, `errors` by status or cause (of the whole time), `rps`, `p50_ms`, `p99_ms`.
    """
    load = _Load(host, port, requests, concurrency)
    load.warm_up(warm_up_s)
    counted_s = load.count(duration_s)
    taken_ns = sorted(load.taken_ns)
    if not taken_ns:
        return {"requests": 0, "errors": load.errors}
    return {
        "requests": len(taken_ns), "errors": load.errors, "rps": len(taken_ns) / counted_s,
        "p50_ms": percentile(taken_ns, 0.5) / 1e6, "p99_ms": percentile(taken_ns, 0.99) / 1e6,
    }  # fmt: skip


if __name__ == "__main__":
    orders = json.load(sys.stdin)
    orders["requests"] = [text.encode() for text in orders["requests"]]
    print(json.dumps(run_load(**orders)))
