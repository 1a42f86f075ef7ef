"""A server that answers every request with the same bytes, unread: the ceiling of the load, not a rival.

A contestant of `served_prediction`. Server and load each have a core, as with the others.
"""

from __future__ import annotations

import selectors
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contestant import run
from served_prediction.measured_server import MeasuredServer

_ANSWER = b'{"predictions": [{"value": 0.5}]}'
_REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_ANSWER), _ANSWER)


def serve() -> None:
    """Listen on a free port, print it, and answer until the process is ended."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    selector.register(listener, selectors.EVENT_READ)
    print(listener.getsockname()[1], flush=True)
    while True:
        for chosen, _ in selector.select():
            line = chosen.fileobj
            assert isinstance(line, socket.socket)
            if line is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
            elif not _answer(line):
                selector.unregister(line)
                line.close()


def _answer(line: socket.socket) -> bool:
    """Answer a request; return whether the connection is still open."""
    try:
        request = line.recv(1 << 16)
        if request.endswith(b"}"):
            line.sendall(_REPLY)
    except ConnectionError:
        return False  # the load ends with requests on the way
    return bool(request)


class TrivialServer:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None
        self._measured: MeasuredServer | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Nothing is needed."""

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Start the server."""
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__)), "serve"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )  # fmt: skip
        assert self._server.stdout is not None
        self._measured = MeasuredServer("127.0.0.1", int(self._server.stdout.readline()), "/predict", {})
        self._measured.wait(30.0)
        return {"python": sys.version.split()[0]}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Load it."""
        assert self._measured is not None
        return self._measured.measure(scenario, budget_s)

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        run(TrivialServer())
