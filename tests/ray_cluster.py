"""A small Ray of a test's own, in its process: on loopback, with a home of its own, and gone when the test is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def ray_cluster(home: Path, variables: Mapping[str, str] | None = None, **options: Any) -> Iterator[Any]:
    """Start Ray for the body of a `with`; use it at most for a module, since a process can hold one Ray at a time.

    Args:
        home: HOME of everything that runs on it.
        variables: Further environment of the driver and the workers.
        options: Of `ray.init`, instead of those below.

    Yields:
        The module `ray`.
    """
    settings = {
        "HOME": str(home), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", **(variables or {}),
    }  # fmt: skip
    defaults = {
        "address": "local", "num_cpus": 2, "num_gpus": 0, "include_dashboard": False, "log_to_driver": False,
        "logging_level": "error", "object_store_memory": 100_000_000,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        import ray

        try:
            ray.init(**{**defaults, **options})
            yield ray
        finally:
            ray.shutdown()  # also where it started half: the next module wants to start one of its own
