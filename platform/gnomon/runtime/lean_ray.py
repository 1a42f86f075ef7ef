"""`ray start` without the parts that a platform on one machine does not use: `python -m gnomon.runtime.lean_ray start`.

Ray's client server (nobody here speaks `ray://`), half of the dashboard's modules, Ray Serve within `ray start` and
pandas within every process of Ray Serve cost some 600 MB, and Ray has no option for any. This sets two names inside Ray
before its command line runs; where a Ray no longer has these names, the plain command line runs instead. Used by
`ray_head`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gnomon.runtime import lean_worker
from gnomon.runtime.optional_imports import leave_out

DASHBOARD_MODULES = "JobHead,ServeHead,StateHead,NodeHead"
"""Jobs, `serve deploy`, the state API and the list of nodes."""


def main() -> None:
    """Run Ray's command line with our arguments."""
    leave_out("ray.serve", importer="ray.scripts.scripts")
    import ray.scripts.scripts as command_line
    from ray._private import services

    if hasattr(command_line, "get_ray_client_dependency_error") and hasattr(services, "start_ray_process"):
        start_process = services.start_ray_process

        def start_lean(command: list[str], kind: str, *values: Any, **options: Any) -> Any:
            return start_process(lean_command(command, kind), kind, *values, **options)

        command_line.get_ray_client_dependency_error = lambda: "not used here"
        services.start_ray_process = start_lean
    sys.argv[0] = "ray"
    command_line.main()


def lean_command(command: list[str], kind: str) -> list[str]:
    """Leave out of one of Ray's processes what is not used here.

    Args:
        command: Program and arguments, as Ray would start them.
        kind: Ray's name of the process, such as `raylet`.

    Returns:
        The program and its arguments to start instead.
    """
    if kind == "dashboard":
        return [*command, f"--modules-to-load={DASHBOARD_MODULES}"]
    if kind == "raylet":
        ours = str(Path(lean_worker.__file__).resolve())
        return [part.replace(str(lean_worker.ray_worker_file()), ours) for part in command]
    return command


if __name__ == "__main__":
    main()
