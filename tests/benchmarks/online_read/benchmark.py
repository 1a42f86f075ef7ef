"""The benchmark `online_read`: how long it takes to read an entity's features from a Redis-protocol server.

Listed in `__main__`. One process, one connection, one server for all; the values are compared between contestants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import OurEnvironment, PinnedEnvironment
from tests.benchmarks.harness import Entrant, Quantity, Scenario, Timing

from gnomon.runtime.embedded_valkey import EmbeddedValkey

_HERE = Path(__file__).parent
_SHAPES = ((1, 10), (1, 50), (10, 50), (100, 50), (1000, 50))


class OnlineRead:
    """See `harness.Benchmark`."""

    name = "online_read"
    about = "read rows × features of one view; values, ages and statuses (ours), values (rivals)"
    entrants = (
        Entrant("gnomon", _HERE / "gnomon_store.py", OurEnvironment(), "RedisOnlineStore.read with ages and statuses"),
        Entrant(
            "Feast SDK", _HERE / "feast_sdk.py", PinnedEnvironment(_HERE.parent / "requirements" / "feast.txt"),
            "get_online_features(…).to_dict(), Redis online store, file registry",
        ),
        Entrant(
            "packed redis-py", _HERE / "packed_redis_py.py", OurEnvironment(), "HMGETs in one pipeline, one decode"
        ),
        Entrant(
            "packed redis-py, MGET", _HERE / "packed_redis_py_mget.py", OurEnvironment(),
            "one MGET of a key per entity and view, one decode",
        ),
        Entrant("packed raw socket", _HERE / "packed_socket.py", OurEnvironment(), "the same without parsing replies"),
    )  # fmt: skip
    scenarios = tuple(Scenario(f"{rows} × {width}", {"rows": rows, "features": width}) for rows, width in _SHAPES)
    quantities = (Quantity("p50_us", "µs"), Quantity("p99_us", "µs"), Quantity("first_us", "µs"))

    def timing(self, quick: bool) -> Timing:
        """Return how long things take."""
        return Timing(0.3 if quick else 2.0)

    @contextmanager
    def world(self, folder: Path) -> Iterator[Mapping[str, Any]]:
        """Run one server for all contestants."""
        server = EmbeddedValkey(folder / "valkey")
        server.start()
        try:
            yield {"url": server.url}
        finally:
            server.stop()
