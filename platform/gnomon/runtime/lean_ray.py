"""`ray start` without the parts that a platform on one machine does not use: `python -m gnomon.runtime.lean_ray start`.

Ray's client server (nobody here speaks `ray://`) and half of the dashboard's modules cost some 150 MB, and Ray has no
option for either. This sets two names inside Ray before its command line runs; where a Ray no longer has these names,
the plain command line runs instead. Used by `ray_head`.
"""

from __future__ import annotations

import sys
from typing import Any

DASHBOARD_MODULES = "JobHead,ServeHead,StateHead,NodeHead"
"""Jobs, `serve deploy`, the state API and the list of nodes."""


def main() -> None:
    """Run Ray's command line with our arguments."""
    import ray.scripts.scripts as command_line
    from ray._private import services

    if hasattr(command_line, "get_ray_client_dependency_error") and hasattr(services, "start_ray_process"):
        start_process = services.start_ray_process

        def start_lean(command: list[str], kind: str, *values: Any, **options: Any) -> Any:
            if kind == "dashboard":
                command = [*command, f"--modules-to-load={DASHBOARD_MODULES}"]
            return start_process(command, kind, *values, **options)

        command_line.get_ray_client_dependency_error = lambda: "not used here"
        services.start_ray_process = start_lean
    sys.argv[0] = "ray"
    command_line.main()


if __name__ == "__main__":
    main()
