"""The background process of `gnomon up`: `python -m gnomon.cli.supervise`."""

from __future__ import annotations

import sys

from gnomon.runtime.supervisor import supervise
from gnomon.settings import load_settings
from gnomon.telemetry.logs import configure

BOOTSTRAP = [sys.executable, "-m", "gnomon.gateway.bootstrap"]

if __name__ == "__main__":
    settings = load_settings()
    configure("supervisor", settings.log_level, settings.folder / "logs")
    sys.exit(supervise(settings, BOOTSTRAP))
