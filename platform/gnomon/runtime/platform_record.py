"""What a running platform wrote down about itself, so that commands, clients and other processes find it.

The supervisor writes `run/platform.json` when everything answers, and removes it when it stops.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from gnomon.errors import Unavailable


@dataclass(frozen=True)
class PlatformRecord:
    """Where a running platform is.

    Attributes:
        url: The gateway.
        dashboard: Ray's dashboard, where jobs are submitted.
        ray_address: Ray's own address, for drivers.
        ray_token_file: File with the token that Ray asks for.
        supervisor_pid: The process whose end ends the platform.
        runtime_folder: Sockets and logs of Ray, removed at the end.
        scrape: Prometheus endpoints of the cluster.
    """

    url: str
    dashboard: str
    ray_address: str
    ray_token_file: str
    supervisor_pid: int
    runtime_folder: str
    scrape: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return the variables that Ray's own commands and drivers need to reach this platform's cluster."""
        return {
            "RAY_ADDRESS": self.dashboard,
            "RAY_DASHBOARD_ADDRESS": self.dashboard,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": self.ray_token_file,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }


def record_file(home: Path) -> Path:
    """Return where the record of a home lies."""
    return home / "run" / "platform.json"


def write_record(home: Path, record: PlatformRecord) -> None:
    """Write the record, atomically for readers."""
    file = record_file(home)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(asdict(record), indent=2))
    fresh.replace(file)


def read_record(home: Path) -> PlatformRecord:
    """Read the record of the platform that runs in a home.

    Args:
        home: The platform's folder, `GNOMON_HOME`.

    Returns:
        Where its parts listen, as the supervisor wrote it when all of them answered.

    Raises:
        Unavailable: None runs there.
    """
    file = record_file(home)
    if not file.is_file():
        raise Unavailable(
            f"no platform runs in {home}", "start one with `gnomon up`, or set GNOMON_URL to one elsewhere"
        )
    body = json.loads(file.read_text())
    return PlatformRecord(**{**body, "scrape": tuple(body["scrape"])})
