"""A private MariaDB server for tests, from the distribution's package: a new data folder in a temporary one.

It listens on a free loopback port with a password, runs as an ordinary user, and dies with the process that started it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon.runtime.processes import free_ports

_PATIENCE_S = 60
_USERS = ("mysql", "nobody")


def find_mariadb() -> tuple[Path, Path] | None:
    """Return the programs that make a data folder and that serve it, or None."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
    install, server = (shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd"))
    return (Path(install), Path(server)) if install and server else None


@contextmanager
def mariadb_server(programs: tuple[Path, Path]) -> Iterator[str]:
    """Run a server.

    Args:
        programs: From `find_mariadb`.

    Yields:
        str: Its SQLAlchemy URL, for PyMySQL, of a user who may do everything and the database `shop`.

    Raises:
        RuntimeError: It does not start; the message holds its log.
    """
    folder, password, port = Path(tempfile.mkdtemp(prefix="gnomon-my-")), secrets.token_urlsafe(16), free_ports(1)[0]
    user = next((name for name in _USERS if _give_away(folder, name)), None) if os.geteuid() == 0 else None
    as_user = ["setpriv", "--pdeathsig", "KILL", *(["--reuid", user, "--clear-groups"] if user else [])]
    data = folder / "data"
    create = [*as_user, str(programs[0]), "--no-defaults", f"--datadir={data}", "--skip-test-db"]
    environment = {**os.environ, "TMPDIR": str(folder)}  # another user's may be closed to it
    subprocess.run(create, check=True, capture_output=True, cwd=folder, env=environment)
    (folder / "start.sql").write_text(
        f"CREATE DATABASE shop;\nCREATE USER gnomon@localhost IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO gnomon@localhost;\n"
    )
    serve = [
        *as_user, str(programs[1]), "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1",
        f"--socket={folder / 'socket'}", f"--init-file={folder / 'start.sql'}", f"--pid-file={folder / 'pid'}",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(serve, stdout=log, stderr=log, cwd=folder, env=environment)
    try:
        _wait_until_ready(server, port, folder / "log")
        yield f"mysql+pymysql://gnomon:{password}@127.0.0.1:{port}/shop"
    finally:
        server.send_signal(signal.SIGKILL)  # at once: the folder goes too
        server.wait(_PATIENCE_S)
        shutil.rmtree(folder)


def _give_away(folder: Path, user: str) -> bool:
    try:
        shutil.chown(folder, user)
    except LookupError:
        return False
    return True


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait for the greeting; the server runs the init file before it listens."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                if connection.recv(1):
                    return
        except OSError:
            time.sleep(0.05)
        if server.poll() is not None or time.monotonic() > deadline_s:
            raise RuntimeError(f"MariaDB does not start: {log.read_text()}")
