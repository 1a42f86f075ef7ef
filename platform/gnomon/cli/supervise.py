"""The background process of `gnomon up`: `python -m gnomon.cli.supervise`.

Until the platform is ready it writes its steps, or the error that ended it, to standard output, one JSON object a line;
everything goes to its log.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from gnomon.errors import GnomonError
from gnomon.runtime.supervisor import Supervisor
from gnomon.settings import load_settings
from gnomon.telemetry.logs import configure, logger

BOOTSTRAP = [sys.executable, "-m", "gnomon.gateway.bootstrap"]


def main() -> int:
    """Run the supervisor to its end; return the exit status."""
    settings = load_settings()
    configure("supervisor", settings.log_level, settings.folder / "logs")
    supervisor = Supervisor(settings, BOOTSTRAP, _announce, _warn)
    try:
        supervisor.run()
    except GnomonError as error:
        if supervisor.holds_home:  # else the log is that of a platform which goes on
            logger().error("platform ended", error=str(error))
        _tell({"error": error.as_json()})
        return error.exit_code
    return 0


def _announce(step: str) -> None:
    logger().info(step)
    _tell({"step": step})


def _warn(step: str) -> None:
    logger().warning(step)
    _tell({"step": step})


def _tell(message: dict[str, Any]) -> None:
    """Write to whoever started us; when nobody listens any more, the log alone has it."""
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for the rest of our life


if __name__ == "__main__":
    sys.exit(main())
