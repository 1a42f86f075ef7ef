"""A bare socket and packed rows, the physical limit in Python: a contestant of `online_read`.

Every reply has the same length, so that nothing is parsed: bytes out, bytes in, one numpy view with the protocol's
framing as part of the row. No client could be used like this, for any other reply would be taken for a row.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from contestant import run, time_calls
from online_read.packed_rows import key, row_type, write_all
from online_read.rows import check, feature_names, requests, view_name


class PackedSocket:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._url = ""

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write all rows."""
        write_all(world["url"])

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Remember the address; the first read connects."""
        self._url = world["url"]
        return {"numpy": version("numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Time reads, up to one array per feature."""
        width = scenario["features"]
        names, row, field = feature_names(width), row_type(width), view_name(width).encode()
        framing = b"*1\r\n$%d\r\n" % row.itemsize
        framed = np.dtype([("head", f"V{len(framing)}"), ("row", row), ("tail", "V2")])
        buffer = memoryview(bytearray(framed.itemsize * scenario["rows"]))
        tail = b"\r\n$%d\r\n%b\r\n" % (len(field), field)

        def read(entities: list[int]) -> dict[str, np.ndarray[Any, Any]]:
            keys = [key(entity) for entity in entities]
            line = self._socket or self._connect()
            line.sendall(b"".join([b"*3\r\n$5\r\nHMGET\r\n$%d\r\n%b%b" % (len(k), k, tail) for k in keys]))
            received = 0
            while received < len(buffer):
                received += line.recv_into(buffer[received:])
            rows = np.frombuffer(buffer, framed)
            return dict(zip(names, np.ascontiguousarray(rows["row"]["values"].T), strict=True))

        asked = requests(scenario["rows"])
        timed = time_calls(read, asked, budget_s)
        answer = read(asked[0])
        return {**timed, "check": check(answer[name].tolist() for name in names)}

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()

    def _connect(self) -> socket.socket:
        address = urlsplit(self._url)
        line = socket.create_connection((address.hostname, address.port), timeout=10.0)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        password = unquote(address.password or "").encode()
        line.sendall(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(password), password))
        assert line.recv(64) == b"+OK\r\n"
        self._socket = line
        return line


if __name__ == "__main__":
    run(PackedSocket())
