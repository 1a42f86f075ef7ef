"""The benchmark `served_prediction`: requests per second and latency of a small model with a feature read.

Listed in `__main__`. Every contestant is started for its turn and stopped after it, and loaded by the same program; the
features lie in one Redis-protocol server for all.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import OurEnvironment, PinnedEnvironment
from tests.benchmarks.harness import Entrant, Quantity, Scenario, Timing

from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.runtime.serve_ingress import ingress_environment

_HERE = Path(__file__).parent
_PINS = _HERE.parent / "requirements"


class ServedPrediction:
    """See `harness.Benchmark`."""

    name = "served_prediction"
    about = "one row per request: two keys and an amount in, six features looked up, a network of 32 and 16 units"
    entrants = (
        Entrant(
            "gnomon", _HERE / "gnomon_platform.py", OurEnvironment(),
            "the endpoint of `gnomon up`: token, checked input, ages, prediction log",
        ),
        Entrant(
            "bare Ray Serve", _HERE / "ray_serve_asgi.py", PinnedEnvironment(_PINS / "ray-serve.txt"),
            "the same mode (HAProxy, throughput), bare ASGI ingress, packed redis-py, numpy; no token, no log",
        ),
        Entrant(
            "uvicorn + FastAPI", _HERE / "uvicorn_fastapi.py", PinnedEnvironment(_PINS / "uvicorn-fastapi.txt"),
            "the same work in one process without a proxy",
        ),
        Entrant(
            "trivial server", _HERE / "trivial_server.py", OurEnvironment(),
            "the load's own ceiling: fixed bytes, no work",
        ),
    )  # fmt: skip
    scenarios = tuple(Scenario(f"concurrency {n}", {"concurrency": n}) for n in (1, 8, 64))
    quantities = (Quantity("rps", "/s", "higher"), Quantity("p50_ms", "ms"), Quantity("p99_ms", "ms"))

    def timing(self, quick: bool) -> Timing:
        """Return how long things take."""
        return Timing(1.0 if quick else 6.0)

    @contextmanager
    def world(self, folder: Path) -> Iterator[Mapping[str, Any]]:
        """Run one online store for all, and say how ours has requests enter Ray Serve."""
        server = EmbeddedValkey(folder / "valkey")
        server.start()
        ingress = Path(tempfile.mkdtemp(prefix="gn", dir="/tmp"))  # short: Unix sockets lie below it
        try:
            yield {"url": server.url, "ingress": ingress_environment(ingress / "h")}
        finally:
            server.stop()
            shutil.rmtree(ingress, ignore_errors=True)
