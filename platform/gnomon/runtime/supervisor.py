"""The supervisor: the one process whose end ends the platform on this machine.

`gnomon up` starts it in the background; it starts the online store, the Ray head and what runs on Ray, says so step by
step, restarts the online store when it dies, and stops everything in reverse on SIGTERM. All children die with it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from gnomon.errors import Conflict, GnomonError, OperationFailed, Unavailable
from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.runtime.platform_record import PlatformRecord, read_record, record_file, write_record
from gnomon.runtime.processes import adopt_orphans, end_children, free_ports, port_is_free, start, stop
from gnomon.runtime.ray_head import RayHead, start_head, with_head
from gnomon.settings import Settings

Announce = Callable[[str], None]
_BOOTSTRAP_TIMEOUT_S = 180.0
_LAST_CHILDREN_S = 5.0
_HALF_STARTED_S = 1.0
"""Grace of a head that is stopped while it starts: nothing on it is worth more."""
_LOCK_ATTEMPTS = 3
"""Who asks whether a platform runs holds the lock, shared, for a moment."""
_LOCK_PAUSE_S = 0.05


class Supervisor:
    """Starts, watches and stops the platform of one home.

    Args:
        settings: Of the platform.
        bootstrap: Command that puts the platform on the Ray cluster, and ends.
        announce: Takes a line at each step of starting, `ready` when all answer, and a line on what happens later.
        warn: Takes a line when a part died or does not start and that is being mended.

    Attributes:
        holds_home: Whether the home was ours to start in; until then its logs are those of another supervisor.
    """

    def __init__(self, settings: Settings, bootstrap: list[str], announce: Announce, warn: Announce) -> None:
        self._settings = settings
        self._home = settings.folder
        self._bootstrap = bootstrap
        self._announce = announce
        self._warn = warn
        self.holds_home = False
        self._stopping = threading.Event()

    def run(self) -> None:
        """Start everything, announce `ready`, and return after a stop was asked for and done.

        Raises:
            Conflict: A platform runs in this home already, or a port is taken.
            Unavailable: A part did not start, or the Ray head died.
            OperationFailed: A stop was asked for before all of it was started.
        """
        signal.signal(signal.SIGTERM, lambda *_: self._stopping.set())
        signal.signal(signal.SIGINT, lambda *_: self._stopping.set())
        with ExitStack() as stack:
            stack.enter_context(_lock(self._home))
            self.holds_home = True
            stack.callback(record_file(self._home).unlink, missing_ok=True)
            port, dashboard_port = self._ports()
            runtime = Path(tempfile.mkdtemp(prefix="gn", dir="/tmp"))
            stack.callback(shutil.rmtree, runtime, ignore_errors=True)
            # A busy machine's Ray ends before the last of its workers; whoever is left comes to us and is ended.
            adopt_orphans()
            stack.callback(end_children, _LAST_CHILDREN_S)
            valkey = self._start_online_store(stack)
            self._end_if_asked()
            head = self._bring_up(stack, runtime, valkey, port, dashboard_port)
            url = f"http://{self._settings.host}:{port}"
            write_record(
                self._home,
                PlatformRecord(
                    url, head.dashboard, head.address, str(head.token_file), os.getpid(), str(runtime), (head.metrics,)
                ),
            )
            self._announce("ready")
            self._watch(valkey, head)
            self._announce("stopping")

    def _ports(self) -> tuple[int, int]:
        port = self._settings.port or free_ports(1)[0]
        if not port_is_free(port, self._settings.host):
            raise Conflict(f"port {port} is taken by another program", "choose another: GNOMON_PORT=0 takes a free one")
        dashboard_port = self._settings.dashboard_port or free_ports(1)[0]
        if not port_is_free(dashboard_port):
            if "dashboard_port" in self._settings.model_fields_set:
                raise Conflict(
                    f"port {dashboard_port} is taken by another program", "GNOMON_DASHBOARD_PORT=0 takes a free one"
                )
            taken, dashboard_port = dashboard_port, free_ports(1)[0]
            self._announce(f"port {taken} is taken, perhaps by another Ray: Ray's dashboard goes to {dashboard_port}")
        return port, dashboard_port

    def _start_online_store(self, stack: ExitStack) -> EmbeddedValkey | None:
        if self._settings.online_url is not None:
            return None
        self._announce("starting the online store")
        # The port is chosen here, so that a server started again is found where replicas and workers know it.
        (port,) = free_ports(1)
        valkey = EmbeddedValkey(self._home / "online", port, password=secrets.token_urlsafe(32))
        stack.callback(valkey.stop)
        valkey.start()
        self._write_secret("online_url", valkey.url)
        return valkey

    def _bring_up(
        self, stack: ExitStack, runtime: Path, valkey: EmbeddedValkey | None, port: int, dashboard_port: int
    ) -> RayHead:
        """Start Ray and the platform on it, with a second head where the first one ends."""

        def use(head: RayHead) -> None:
            head.wait_ready(self._stopping.is_set)
            if self._stopping.is_set():
                stop(head.process, _HALF_STARTED_S)
            self._end_if_asked()
            self._put_on_ray(head, port)

        def ended(head: RayHead) -> None:
            self._end_if_asked()
            self._warn(f"Ray's head ended with status {head.process.returncode}: starting it once more")
            stop(head.process)
            # What it left behind may hold the ports that the next one is given.
            end_children(_HALF_STARTED_S, spared=valkey.pid if valkey is not None else None)

        def start_ray() -> RayHead:
            folder = runtime / str(len(list(runtime.iterdir())))  # short: sockets lie below it
            folder.mkdir(mode=0o700)
            return self._start_ray(stack, folder, port, dashboard_port)

        return with_head(start_ray, use, ended)

    def _start_ray(self, stack: ExitStack, runtime: Path, port: int, dashboard_port: int) -> RayHead:
        self._announce("starting Ray")
        head = start_head(
            runtime,
            self._home / "logs" / "ray-head.log",
            dashboard_port=dashboard_port,
            cpus=self._settings.cpus or max(2, os.cpu_count() or 2),
            object_store_bytes=self._settings.object_store_bytes,
            variables={"GNOMON_HOME": str(self._home), "GNOMON_PORT": str(port)},
        )
        stack.callback(stop, head.process, 15.0)
        return head

    def _put_on_ray(self, head: RayHead, port: int) -> None:
        self._announce("starting the control plane and the gateway")
        log = self._home / "logs" / "bootstrap.log"
        variables = {
            **os.environ,
            **head.driver_environment(),
            "GNOMON_HOME": str(self._home),
            "GNOMON_PORT": str(port),
        }
        process = start(self._bootstrap, log=log, environment=variables)
        deadline = time.monotonic() + _BOOTSTRAP_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline and not self._stopping.is_set():
            if head.process.poll() is not None:
                stop(process)
                raise Unavailable(
                    f"Ray's head ended with status {head.process.returncode}",
                    f"{self._home / 'logs' / 'ray-head.log'} says why; where the machine was busy, try again",
                )
            time.sleep(0.1)
        status = process.poll()
        if status is None:
            stop(process)
        self._end_if_asked()
        if status is None:
            raise Unavailable(
                f"the platform did not start on Ray within {_BOOTSTRAP_TIMEOUT_S:.0f} s", f"its log is {log}"
            )
        if status != 0:
            raise Unavailable(f"the platform did not start on Ray: {_last_line(log)}", f"the whole log is {log}")

    def _watch(self, valkey: EmbeddedValkey | None, head: RayHead) -> None:
        """Wait for the stop; bring the online store back when it dies; end when the head does."""
        failure = ""
        while not self._stopping.wait(0.5):
            if head.process.poll() is not None:
                raise Unavailable(
                    f"Ray's head ended with status {head.process.returncode}", "`gnomon up` starts it again"
                )
            if valkey is not None and not valkey.alive:
                failure = self._restart(valkey, failure)

    def _restart(self, valkey: EmbeddedValkey, last_failure: str) -> str:
        """Start the online store again; a failure is announced once, returned, and left to the next look."""
        if not last_failure:
            self._warn("the online store died: starting it again")
        try:
            valkey.start()
        except GnomonError as error:
            if str(error) != last_failure:
                self._warn(f"the online store does not start, trying again: {error}")
            return str(error)
        if last_failure:
            self._announce("the online store runs again")
        return ""

    def _end_if_asked(self) -> None:
        if self._stopping.is_set():
            self._announce("stopping")
            raise OperationFailed("stopped while starting")

    def _write_secret(self, name: str, value: str) -> None:
        file = self._home / "run" / name
        file.touch(mode=0o600)
        file.write_text(value)


@contextmanager
def _lock(home: Path) -> Iterator[IO[str]]:
    """Hold the home's lock; the kernel gives it back however we end.

    Args:
        home: The platform's folder; the lock is `run/lock` below it.

    Yields:
        IO[str]: The lock's file, which holds our process id.

    Raises:
        Conflict: Another supervisor holds it.
    """
    (home / "run").mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "run" / "lock").open("a+") as file:
        for attempt in range(1, _LOCK_ATTEMPTS + 1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == _LOCK_ATTEMPTS:
                    raise _already_running(home) from error
                time.sleep(_LOCK_PAUSE_S)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file


def _already_running(home: Path) -> Conflict:
    hint = "`gnomon status` shows it, `gnomon down` stops it; another platform needs another GNOMON_HOME"
    try:
        record = read_record(home)
    except Unavailable:
        return Conflict(f"a platform is just being started in {home}", hint)
    return Conflict(f"a platform already runs in {home}: {record.url}, process {record.supervisor_pid}", hint)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][-500:] if lines else "it left no word"
