"""Starting programs of our own so that none outlives us, and ending exactly those.

Used by the supervisor, the embedded server and the tests. A child is tied to its parent twice: the kernel kills it when
the parent dies (Linux), and `stop` ends it with its whole process group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_QUIET_PORTS = range(20_000, 32_768)
"""Ray's workers listen below, and Linux gives the ports above to whoever asks for any."""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends; a no-op where there is no prctl."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends; a no-op where there is no prctl.

    With it `end_children` misses nobody: a process that outlives who started it comes to us and not to init.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children(grace_s: float, spared: int | None = None) -> None:
    """Return when this process has no child any more but the spared one; what still runs after the grace is killed.

    Args:
        grace_s: How long they may take. Their own children come to us (see `adopt_orphans`) and are ended as well.
        spared: Process id of a child that is left alone.
    """
    deadline = time.monotonic() + grace_s
    while children := [pid for pid in _children() if pid != spared]:
        for pid in children:
            if time.monotonic() > deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.02)


def _children() -> list[int]:
    """Return the ids of this process' children, zombies too; none where there is no `/proc`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(stat.parent.name))
    return found


def start(
    command: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own that dies with the calling thread.

    Args:
        command: Program and arguments; no shell.
        log: File that gets its output, appended.
        environment: Its whole environment; ours when left out, without PYTHONDONTWRITEBYTECODE.
        folder: Working folder.

    Returns:
        The running process; its id is also that of its group, for `stop`.

    Raises:
        FileNotFoundError: There is no such program.
    """
    variables = dict(os.environ if environment is None else environment)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # it would make every worker of Ray compile every module again
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=variables,
            cwd=folder, process_group=0, preexec_fn=die_with_parent,
        )  # fmt: skip


def stop(process: subprocess.Popen[bytes], grace_s: float = 5.0) -> int:
    """End a process: SIGTERM to itself, then SIGKILL to what is left of its group; return its exit status.

    The group is not asked to end, for a program that stops its own children would find them gone under its hands.
    """
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    _kill_group(process.pid)
    return process.wait()


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return different TCP ports that are free now; another process may still take one first.

    They lie where neither Linux looks for the ports of outgoing connections nor Ray for those of its workers: one from
    there was taken, now and then, before the program that it was meant for could listen.
    """
    probes: list[socket.socket] = []
    try:
        for port in random.sample(_QUIET_PORTS, len(_QUIET_PORTS)):
            if len(probes) == count:
                break
            probes.append(socket.socket())
            try:
                probes[-1].bind((host, port))
            except OSError:  # taken
                probes.pop().close()
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether the port can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def pid_alive(pid: int) -> bool:
    """Tell whether a process with that id exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
