"""The benchmark `online_write`: rows a second into a Redis-protocol server, and what an entity takes there.

Listed in `__main__`. One process, one connection, one server for all; the values are read back and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from tests.benchmarks.environments import OurEnvironment, PinnedEnvironment
from tests.benchmarks.harness import Entrant, Quantity, Scenario, Timing

from gnomon.runtime.embedded_valkey import EmbeddedValkey

_HERE = Path(__file__).parent
_FEAST = PinnedEnvironment(_HERE.parent / "requirements" / "feast.txt")
_SIZES = ((10_000, True), (100_000, False))


class OnlineWrite:
    """See `harness.Benchmark`."""

    name = "online_write"
    about = "write entities × 10 float64 features from columns in memory; newer event times win (ours and Feast)"
    entrants = (
        Entrant("gnomon", _HERE / "gnomon_store.py", OurEnvironment(), "RedisOnlineStore.write of an Arrow table"),
        Entrant("Feast SDK", _HERE / "feast_sdk.py", _FEAST, "write_to_online_store of a data frame"),
        Entrant("Feast materialize", _HERE / "feast_materialize.py", _FEAST, "materialize from a Parquet file"),
        Entrant(
            "packed redis-py, SET", _HERE / "packed_redis_py.py", OurEnvironment(),
            "pipelined SETs of one packed row per entity, no times compared",
        ),
        Entrant(
            "packed redis-py, HSET", _HERE / "packed_redis_py_hset.py", OurEnvironment(),
            "the same as one hash per entity with one field",
        ),
    )  # fmt: skip
    scenarios = tuple(
        Scenario(f"{entities // 1000} k {what}", {"entities": entities, "replaces": what == "replaced"}, quick)
        for entities, quick in _SIZES
        for what in ("new", "replaced")
    )
    quantities = (
        Quantity("rows_per_s", "/s", "higher"), Quantity("entity_bytes", "B"), Quantity("value_bytes", "B"),
        Quantity("peak_mib", "MiB"),
    )  # fmt: skip

    def timing(self, quick: bool) -> Timing:
        """Return how long things take."""
        return Timing(1.0 if quick else 5.0)

    @contextmanager
    def world(self, folder: Path) -> Iterator[Mapping[str, Any]]:
        """Run one server for all contestants; it rewrites its append-only file only when it is emptied."""
        server = EmbeddedValkey(folder / "valkey")
        server.start()
        try:
            with redis.Redis.from_url(server.url) as client:
                client.config_set("auto-aof-rewrite-percentage", 0)
            yield {"url": server.url}
        finally:
            server.stop()
