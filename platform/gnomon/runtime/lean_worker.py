"""A worker process of Ray that does not load pandas for Ray Serve's sake; the raylet starts it by this file's path.

Where Ray is started by `lean_ray`, this file stands in for Ray's own `default_worker.py` and runs it. What it leaves
out counts a dozen times: controller, proxies, replicas and the control plane are a worker each.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

PANDAS_TRIED_BY = "ray.serve._private.utils"


def ray_worker_file() -> Path:
    """Return the file of Ray's own worker."""
    import ray._private.workers

    return Path(ray._private.workers.__path__[0]) / "default_worker.py"


def main() -> None:
    """Run Ray's worker with the arguments of this process."""
    from gnomon.runtime.optional_imports import leave_out

    leave_out("pandas", importer=PANDAS_TRIED_BY)
    worker = ray_worker_file()
    # The interpreter put this file's folder first, where the modules of a package would pass for top-level ones.
    sys.path[0] = str(worker.parent)
    sys.argv[0] = str(worker)
    runpy.run_path(str(worker), run_name="__main__")


if __name__ == "__main__":
    main()
