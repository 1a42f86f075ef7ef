"""The benchmark `stream`: how long after it is sent an event is in the online values. Listed in `__main__`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import OurEnvironment
from tests.benchmarks.harness import Entrant, Quantity, Scenario, Timing

from gnomon.runtime.embedded_valkey import EmbeddedValkey

_HERE = Path(__file__).parent


class Stream:
    """See `harness.Benchmark`."""

    name = "stream"
    about = "events sent over HTTP at a fixed rate, until their values are read from the online store"
    entrants = (
        Entrant(
            "gnomon", _HERE / "gnomon_stream.py", OurEnvironment(),
            "`Client.push` to a platform of `gnomon up`: validated, durable, five windows of a view kept fresh",
        ),
    )  # fmt: skip
    scenarios = tuple(Scenario(f"{rate} events/s", {"rate": rate}) for rate in (200, 2000))
    quantities = (
        Quantity("rate", "/s", "higher"), Quantity("p50_ms", "ms"), Quantity("p95_ms", "ms"), Quantity("p99_ms", "ms"),
        Quantity("answer_p50_ms", "ms"), Quantity("answer_p95_ms", "ms"),
    )  # fmt: skip

    def timing(self, quick: bool) -> Timing:
        """Return how long things take."""
        return Timing(5.0 if quick else 30.0)

    @contextmanager
    def world(self, folder: Path) -> Iterator[Mapping[str, Any]]:
        """Run the online store."""
        server = EmbeddedValkey(folder / "valkey")
        server.start()
        try:
            yield {"url": server.url}
        finally:
            server.stop()
