"""The load of the benchmark `served_prediction` against small servers of known behaviour."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def _load(port: int, **orders: Any) -> Any:
    orders = {"host": "127.0.0.1", "port": port, "concurrency": 4, "warm_up_s": 0.1, "duration_s": 0.5, **orders}
    orders.setdefault("requests", ["POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"])
    done = subprocess.run(
        [sys.executable, str(_FOLDER / "served_prediction" / "load.py")], input=json.dumps(orders),
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(_FOLDER)},
    )  # fmt: skip
    return json.loads(done.stdout)


@contextmanager
def _server(*replies: bytes) -> Iterator[int]:
    """Answer request n of a connection with reply n mod their number, in two pieces; an empty one closes."""

    def answer(line: socket.socket) -> None:
        with line:
            for n in range(1_000_000):
                try:
                    reply = replies[n % len(replies)] if line.recv(1 << 16) else b""
                    line.sendall(reply[:20])
                    line.sendall(reply[20:])
                except OSError:
                    return
                if not reply:
                    return

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(line,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


_GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"


def test_counts_and_times_answers() -> None:
    with _server(_GOOD) as port:
        found = _load(port)
    assert found["errors"] == {}
    assert found["requests"] > 0
    assert 0 < found["p50_ms"] <= found["p99_ms"]


def test_counts_answers_that_are_not_200() -> None:
    with _server(_GOOD, _BUSY) as port:
        found = _load(port)
    assert found["errors"]["503"] > 0
    assert found["requests"] > 0


def test_counts_closed_connections() -> None:
    with _server(_GOOD, b"") as port:
        found = _load(port)
    assert sum(found["errors"].values()) == 4


def test_refuses_an_answer_without_a_length() -> None:
    with _server(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n") as port:
        found = _load(port, concurrency=1)
    assert found["requests"] == 0
    assert "without a length" in next(iter(found["errors"]))


def test_stops_in_time_when_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = _load(silent.getsockname()[1], concurrency=1, duration_s=0.2)
    assert found == {"requests": 0, "errors": {"no answer": 1}}
