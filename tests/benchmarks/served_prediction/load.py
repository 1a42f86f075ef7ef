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


def run_load(
    host: str, port: int, requests: list[bytes], concurrency: int, warm_up_s: float, duration_s: float
) -> dict[str, Any]:  # fmt: skip
    """Send requests for `warm_up_s` and then, counted, for `duration_s`.

    Returns:
        `requests` answered 200, `errors` by status or cause (of the whole time), `rps`, `p50_ms`, `p99_ms`.
    """
    selector = selectors.DefaultSelector()
    errors: dict[str, int] = {}
    taken_ns: list[int] = []
    sent = 0
    for _ in range(concurrency):
        line = Line(host, port)
        selector.register(line.socket, selectors.EVENT_READ, line)
        line.send(requests[sent % len(requests)])
        sent += 1
    counted_from_ns = time.perf_counter_ns() + int(warm_up_s * 1e9)
    until_ns = counted_from_ns + int(duration_s * 1e9)
    while (now_ns := time.perf_counter_ns()) < until_ns and selector.get_map():
        for chosen, _ in selector.select((until_ns - now_ns) / 1e9):
            line = chosen.data
            try:
                status = line.receive()
            except OSError as error:
                errors[str(error)] = errors.get(str(error), 0) + 1
                selector.unregister(line.socket)
                line.socket.close()
                continue
            if status is None:
                continue
            now_ns = time.perf_counter_ns()
            if status != 200:
                errors[str(status)] = errors.get(str(status), 0) + 1
            elif line.sent_ns >= counted_from_ns:
                taken_ns.append(now_ns - line.sent_ns)
            line.send(requests[sent % len(requests)])
            sent += 1
    counted_s = (max(now_ns, counted_from_ns + 1) - counted_from_ns) / 1e9
    for chosen in list(selector.get_map().values()):
        if chosen.data.sent_ns < counted_from_ns:  # unanswered for the whole time
            errors["no answer"] = errors.get("no answer", 0) + 1
        chosen.data.socket.close()
    selector.close()
    if not taken_ns:
        return {"requests": 0, "errors": errors or {"no answer in time": concurrency}}
    taken_ns.sort()
    return {
        "requests": len(taken_ns), "errors": errors, "rps": len(taken_ns) / counted_s,
        "p50_ms": percentile(taken_ns, 0.5) / 1e6, "p99_ms": percentile(taken_ns, 0.99) / 1e6,
    }  # fmt: skip


if __name__ == "__main__":
    orders = json.load(sys.stdin)
    orders["requests"] = [text.encode() for text in orders["requests"]]
    print(json.dumps(run_load(**orders)))
