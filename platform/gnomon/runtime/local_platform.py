"""Starting and stopping the platform of this machine from outside: what `gnomon up`, `gnomon down` and the demo do.

The platform itself is the supervisor's process, which outlives the command that started it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gnomon.errors import OperationFailed, Unavailable, from_json
from gnomon.runtime.platform_record import PlatformRecord, read_record
from gnomon.runtime.processes import pid_alive
from gnomon.settings import Settings

_SUPERVISOR = "gnomon.cli.supervise"
_DOWN_TIMEOUT_S = 60.0
_PID_ATTEMPTS = 5
_PID_PAUSE_S = 0.05


def prepare_home(settings: Settings) -> None:
    """Make the home's folders and its access token, readable by their owner only."""
    home = settings.folder
    for folder in (home, home / "run", home / "logs"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    token = home / "token"
    if not token.exists() or token.stat().st_size == 0:
        # Aside and renamed: a crash in between would leave an empty token, which is none.
        fresh = token.with_suffix(f".{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(32))
        fresh.replace(token)


def start_platform(
    settings: Settings, announce: Callable[[str], None]
) -> tuple[PlatformRecord, subprocess.Popen[str]]:  # fmt: skip
    """Start the platform of the settings' home and return when it answers; it goes on after this process ends.

    Args:
        settings: Read again from the environment by the supervisor.
        announce: Takes a line at each step.

    Returns:
        Where it is, and the supervisor's process.

    Raises:
        Conflict: It runs already, or a port is taken.
        Unavailable: A part did not start; nothing of it is left.
        KeyboardInterrupt: It was interrupted; nothing of it is left.
    """
    prepare_home(settings)
    with (settings.folder / "logs" / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", _SUPERVISOR],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True,
        )  # fmt: skip
    try:
        _follow(process, announce)
    except KeyboardInterrupt:
        announce("stopping")
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    return read_record(settings.folder), process


def _follow(process: subprocess.Popen[str], announce: Callable[[str], None]) -> None:
    """Pass on the supervisor's steps until it is ready; raise what it reports."""
    for line in process.stdout or ():
        message = json.loads(line)
        if "error" in message:
            process.wait()
            raise from_json(message["error"])
        if message["step"] == "ready":
            return
        announce(message["step"])
    raise Unavailable(f"the supervisor ended with status {process.wait()}", "logs/supervisor.log in the home says why")


def stop_platform(settings: Settings) -> None:
    """Stop the platform of a home, and return when all of it has ended.

    Args:
        settings: Their `folder` is the home.

    Raises:
        Unavailable: None runs there.
        OperationFailed: It has not ended in time.
    """
    pid = running_pid(settings.folder)
    if pid is None:
        raise Unavailable(f"no platform runs in {settings.folder}", "there is nothing to stop")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_TIMEOUT_S
    while pid_alive(pid):
        if time.monotonic() > deadline:
            raise OperationFailed(f"the supervisor, process {pid}, has not ended after {_DOWN_TIMEOUT_S:.0f} s")
        time.sleep(0.1)


def running_pid(home: Path) -> int | None:
    """Return the supervisor's process id, or None where none runs; a file left by a crash does not count as running.

    Args:
        home: The platform's folder.

    Returns:
        Of the process that holds the home's lock.

    Raises:
        Unavailable: One holds the lock and has not written its process id yet.
    """
    lock = home / "run" / "lock"
    if not lock.exists():
        return None
    with lock.open() as file:
        for _ in range(_PID_ATTEMPTS):
            try:
                # Shared, so that two who look do not take each other for the supervisor.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = lock.read_text()
                if pid:
                    return int(pid)
                time.sleep(_PID_PAUSE_S)  # it is between emptying the file and writing to it
            else:
                return None
    raise Unavailable(f"a platform is just being started in {home}", "repeat in a moment")
