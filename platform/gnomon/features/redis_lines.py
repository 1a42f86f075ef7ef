"""One open, blocking connection to a Redis-protocol server: TCP, TLS or a Unix socket.

Used by `features.redis_connections`; the TLS settings also by `features.async_redis_lines`. Replies are parsed by
hiredis straight from the socket: a client library's own reading costs several microseconds per reply.
"""

from __future__ import annotations

import socket
import ssl
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import hiredis

from gnomon.features.redis_addresses import Endpoint, Tls
from gnomon.features.redis_protocol import check_greeting, greeting, hung_up, parsed

_BUFFER_BYTES = 1 << 18
_ARMED_S = 0.001


class Line:
    """One open connection with its parser and buffer.

    Args:
        endpoint: The server.
        deadline_s: When connecting and greeting have to be over, on `time.monotonic`.

    Raises:
        OSError: It cannot be reached in time, or `GreetingRefused`.
    """

    def __init__(self, endpoint: Endpoint, deadline_s: float) -> None:
        self._reader = hiredis.Reader()
        self._buffer = bytearray(_BUFFER_BYTES)
        self._deadline_s = self._armed_s = 0.0
        self._socket = _connected(endpoint, deadline_s)
        try:
            if words := greeting(endpoint):
                self.send(b"".join(words), deadline_s)
                check_greeting(endpoint, self.receive(len(words), deadline_s))
        except OSError as error:
            self._socket.close()
            raise (hung_up(error) if endpoint.tls else error) from error
        except BaseException:
            self._socket.close()
            raise

    def send(self, request: bytes, deadline_s: float) -> None:
        """Send all of a request."""
        self._arm(deadline_s)
        self._socket.sendall(request)

    def receive(self, replies: int, deadline_s: float) -> list[Any]:
        """Read until every reply is there."""
        sock, reader, buffer = self._socket, self._reader, self._buffer
        answer: list[Any] = []
        while True:
            self._arm(deadline_s)
            received = sock.recv_into(buffer)
            if not received:
                raise ConnectionResetError("closed by the server")
            answer.extend(parsed(reader, buffer, received))
            if len(answer) >= replies:
                return answer

    def _arm(self, deadline_s: float) -> None:
        """Give the socket what is left of the deadline; each time is a system call, hence not within a millisecond."""
        now_s = time.monotonic()
        if now_s >= deadline_s:
            raise TimeoutError
        if deadline_s != self._deadline_s or now_s - self._armed_s > _ARMED_S:
            self._socket.settimeout(deadline_s - now_s)
            self._deadline_s, self._armed_s = deadline_s, now_s

    def close(self) -> None:
        """Close the connection; a process that was forked keeps its own."""
        self._socket.close()


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _connected(endpoint: Endpoint, deadline_s: float) -> socket.socket:
    if endpoint.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        return _opened(sock, endpoint.path, deadline_s)
    failure: OSError | None = None
    for family, kind, protocol, _, place in socket.getaddrinfo(endpoint.host, endpoint.port, 0, socket.SOCK_STREAM):
        try:
            sock = _opened(socket.socket(family, kind, protocol), place, deadline_s)
        except OSError as error:
            failure = error
            continue
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return sock if endpoint.tls is None else _secured(sock, endpoint, endpoint.tls, deadline_s)
    raise failure or OSError(f"{endpoint.host} has no address")


def _opened(sock: socket.socket, place: Any, deadline_s: float) -> socket.socket:
    try:
        sock.settimeout(_left_s(deadline_s))
        sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _secured(sock: socket.socket, endpoint: Endpoint, tls: Tls, deadline_s: float) -> socket.socket:
    try:
        sock.settimeout(_left_s(deadline_s))
        return tls_context(tls).wrap_socket(sock, server_hostname=endpoint.host)
    except TimeoutError as error:
        sock.close()
        raise TimeoutError("TLS") from error
    except BaseException:
        sock.close()
        raise


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return the TLS settings of a connection; certificates that were renewed in their files count at once."""
    names = [name for name in (tls.ca_file, tls.cert_file, tls.key_file) if name]
    return _tls_context(tls, tuple(Path(name).stat().st_mtime_ns for name in names))


@lru_cache(maxsize=8)
def _tls_context(tls: Tls, written_ns: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file or None)
    context.check_hostname = tls.check_hostname
    if not tls.verify:
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file or None, tls.key_password or None)
    return context
