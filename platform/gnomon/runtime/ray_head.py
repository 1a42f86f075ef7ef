"""A Ray head as a child process: on loopback, with a token, on free ports, in folders of its own.

Started by the supervisor. It runs beside any other Ray on the machine and never touches it; its end ends its workers.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from gnomon.errors import Unavailable
from gnomon.runtime.processes import free_ports, start
from gnomon.runtime.serve_ingress import ingress_environment

_READY_TIMEOUT_S = 90.0
_SETTLE_S = 2.0
"""A program on Ray may notice that the head ends before the head's own process does."""
_TRAINING = {  # a training's start-up is most of its time on a small machine: watch it closely, do without the extras
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "180",
}


@dataclass(frozen=True)
class RayHead:
    """A head that was started.

    Attributes:
        process: `ray start --block`; when it ends, the cluster has ended.
        address: For drivers, `host:port`.
        dashboard: Address of the dashboard and of jobs.
        token_file: File with the token, readable by its owner only.
        metrics: Prometheus endpoint of the head's node.
    """

    process: subprocess.Popen[bytes]
    address: str
    dashboard: str
    token_file: Path
    metrics: str

    def driver_environment(self) -> dict[str, str]:
        """Return the variables that a driver needs to connect."""
        return {**_access(self.token_file), "RAY_ADDRESS": self.address}

    def wait_ready(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Return when the head answers, or a stop is asked for.

        Args:
            stopping: Tells whether it is; asked about once a second at least.

        Raises:
            Unavailable: It ended or did not answer in time.
        """
        headers = {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if stopping():
                return
            if self.process.poll() is not None:
                raise Unavailable(f"Ray's head ended with status {self.process.returncode}", "its log says why")
            try:
                # A proxy of the environment is for other hosts than this one.
                answer = httpx.get(f"{self.dashboard}/api/version", headers=headers, timeout=1.0, trust_env=False)
                if answer.is_success:
                    return
            except httpx.HTTPError:
                pass  # not yet
            time.sleep(0.1)
        raise Unavailable(f"Ray's head did not answer within {_READY_TIMEOUT_S:.0f} s", "its log says why")


def start_head(
    folder: Path, log: Path, *, dashboard_port: int, cpus: int, object_store_bytes: int, variables: Mapping[str, str]
) -> RayHead:  # fmt: skip
    """Start a head; call `wait_ready` before using it. Call from a thread that lives as long as the head shall.

    Args:
        folder: For sockets, logs and the token; at most 20 characters long, of mode 0700.
        log: File that gets the head's output.
        dashboard_port: Port of the dashboard and of jobs.
        cpus: Logical CPUs to offer.
        object_store_bytes: Size of the object store.
        variables: Further environment of the head, inherited by every worker and job.

    Returns:
        Process and addresses of the head, which does not answer yet.
    """
    token_file = folder / "ray_token"
    token_file.touch(mode=0o600)
    token_file.write_text(secrets.token_hex(32))
    ports = free_ports(7)
    options = {
        "node-ip-address": "127.0.0.1", "port": ports[0],
        "dashboard-host": "127.0.0.1", "dashboard-port": dashboard_port,
        "dashboard-agent-listen-port": ports[1], "dashboard-agent-grpc-port": ports[2],
        "runtime-env-agent-port": ports[3], "metrics-export-port": ports[4], "object-manager-port": ports[5],
        "node-manager-port": ports[6], "temp-dir": folder / "ray",
        "num-cpus": cpus, "object-store-memory": object_store_bytes, "include-dashboard": "true",
        "include-log-monitor": "false", "log-color": "false",
    }  # fmt: skip
    flags = [f"--{name}={value}" for name, value in options.items()]
    lean = [sys.executable, "-m", "gnomon.runtime.lean_ray"]
    command = [*lean, "start", "--head", "--block", "--disable-usage-stats", "--no-monitor", *flags]
    address, dashboard = f"127.0.0.1:{ports[0]}", f"http://127.0.0.1:{dashboard_port}"
    metrics = f"http://127.0.0.1:{ports[4]}/metrics"
    environment = _environment(folder, token_file, {"GNOMON_SCRAPE": json.dumps([metrics]), **variables})
    return RayHead(start(command, log=log, environment=environment), address, dashboard, token_file, metrics)


def with_head(
    start: Callable[[], RayHead], use: Callable[[RayHead], None], ended: Callable[[RayHead], None]
) -> RayHead:  # fmt: skip
    """Start a head and use it; where it ends meanwhile, do both once more.

    Ray gives its node 30 s to start and has no option for more, which a busy machine may not keep.

    Args:
        start: Starts a head.
        use: Returns when the head and what runs on it are up; raises Unavailable where they do not come up.
        ended: Called with the head that ended, before the other is started.

    Returns:
        The head that is in use.

    Raises:
        Unavailable: The second head ended as well, or the first one runs and `use` failed for another reason.
    """
    head = start()
    try:
        use(head)
    except Unavailable as error:
        try:
            head.process.wait(_SETTLE_S)
        except subprocess.TimeoutExpired:
            raise error from None
        ended(head)
        head = start()
        use(head)
    return head


_MEMORY = {  # a dozen processes on one machine: freed memory goes back to it; a demo's peak is a tenth lower by this
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


def _access(token_file: Path) -> dict[str, str]:
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        # Without this Ray takes a loopback address for "any interface" and listens beyond it.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def _environment(folder: Path, token_file: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Return the head's environment: ours without the caller's own Ray, and what every worker shall inherit."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    inherited["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
    return {
        **inherited,
        **_access(token_file),
        **ingress_environment(folder / "h"),
        **_TRAINING,
        **_MEMORY,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "2",
        "DASHBOARD_METRIC_PORT": "0",
        "AUTOSCALER_METRIC_PORT": "0",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
