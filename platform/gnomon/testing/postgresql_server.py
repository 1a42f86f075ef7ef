"""A private PostgreSQL server for tests, from the distribution's package: a new cluster in a temporary folder.

It listens on a free loopback port with a password, runs as an ordinary user, and dies with the process that started it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.runtime.processes import free_ports

_PATIENCE_S = 60
_USERS = ("postgres", "nobody")


def find_postgresql() -> Path | None:
    """Return the folder with the newest installed server's programs, or None."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: int(path.parent.name), default=None)


@contextmanager
def postgresql_server(programs: Path) -> Iterator[str]:
    """Run a server.

    Args:
        programs: From `find_postgresql`.

    Yields:
        str: Its URL, of a superuser and the database `postgres`.

    Raises:
        RuntimeError: It does not start; the message holds its log.
    """
    folder, password, port = Path(tempfile.mkdtemp(prefix="gnomon-pg-")), secrets.token_urlsafe(16), free_ports(1)[0]
    (folder / "password").write_text(password)
    as_user = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() == 0:  # the server refuses to run as root
        user = next(user for user in _USERS if _give_away(folder, user))
        as_user += ["--reuid", user, "--clear-groups"]
    (folder / "password").chmod(0o600)
    data = str(folder / "data")
    owner = ["-U", "gnomon", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}"]
    create = [*as_user, str(programs / "initdb"), "-D", data, *owner, "-E", "UTF8", "--locale=C"]
    subprocess.run(create, check=True, capture_output=True, cwd=folder)
    listen = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    with (folder / "log").open("wb") as log:
        serve = [*as_user, str(programs / "postgres"), "-D", data, *listen]
        server = subprocess.Popen(serve, stdout=log, stderr=log, cwd=folder)
    try:
        _wait_until_ready(server, programs, port, folder / "log")
        yield f"postgresql://gnomon:{password}@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: the folder goes too
        server.wait(_PATIENCE_S)
        shutil.rmtree(folder)


def _give_away(folder: Path, user: str) -> bool:
    try:
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
    except LookupError:
        return False
    return True


def _wait_until_ready(server: subprocess.Popen[bytes], programs: Path, port: int, log: Path) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    ask = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"PostgreSQL does not start: {log.read_text()}")
        time.sleep(0.05)
