"""Servers of the online store for tests, beside the embedded Valkey."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from gnomon.runtime.embedded_valkey import EmbeddedValkey


@contextmanager
def debian_redis(folder: Path) -> Iterator[str]:
    """Run Debian's Redis with a password and a socket `redis.sock` in the folder; skip where it is not installed."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("redis-server is not installed (Debian: apt install redis-server)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "redis.conf"
    config.write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass secret\ndir {folder}\nsave ""\nunixsocket {folder}/redis.sock\n'
    )
    with subprocess.Popen([binary, str(config)], stdout=subprocess.DEVNULL) as server:
        url = f"redis://:secret@127.0.0.1:{port}/0"
        try:
            _wait_for(url)
            yield url
        finally:
            server.terminate()


@contextmanager
def online_server(kind: str, folder: Path) -> Iterator[str]:
    """Run a server, `valkey` or `redis`, and give its URL."""
    if kind == "redis":
        with debian_redis(folder) as url:
            yield url
        return
    server = EmbeddedValkey(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def _wait_for(url: str) -> None:
    deadline_s = time.monotonic() + 10
    while True:
        try:
            with redis.Redis.from_url(url) as client:
                client.ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
