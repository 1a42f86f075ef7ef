"""The benchmark `distributed_join`: a training set's join on a Ray cluster of two nodes, and the memory that it takes.

Listed in `__main__`. Both nodes are on this machine, with half of its cores each, so that what is measured is what the
distribution costs and bounds, not what it gains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import OurEnvironment, PinnedEnvironment
from tests.benchmarks.harness import Entrant, Quantity, Scenario, Timing

_HERE = Path(__file__).parent
_COLUMNAR = PinnedEnvironment(_HERE.parent / "requirements" / "columnar.txt")
_SIZES = ((100_000, 1_000_000, "100 k × 1 M", True), (1_000_000, 10_000_000, "1 M × 10 M", False))
_KINDS = (
    ("newest", 0.0, "newest"), ("newest", 0.3, "newest, one entity has 30 %"), ("mean", 0.0, "mean of 7 days"),
)  # fmt: skip


class DistributedJoin:
    """See `harness.Benchmark`."""

    name = "distributed_join"
    about = "label rows × rows of a view, joined on two Ray nodes of one machine; DuckDB joins in one process"
    entrants = (
        Entrant(
            "gnomon, 2 nodes", _HERE / "gnomon_on_ray.py", OurEnvironment(),
            "point_in_time_join over a Delta table that an earlier one has laid out by entity, on Ray, 500,000 rows "
            "to a worker, stores of 200 MB that spill",
        ),
        Entrant("first set", _HERE / "gnomon_first_set.py", OurEnvironment(), "the same, and lays the table out"),
        Entrant("shuffled", _HERE / "gnomon_shuffled.py", OurEnvironment(), "the same without layouts"),
        Entrant("DuckDB", _HERE / "duckdb_join.py", _COLUMNAR, "ASOF JOIN, or a range join, over a Parquet file"),
    )  # fmt: skip
    scenarios = tuple(
        Scenario(f"{size}, {said}", {"labels": labels, "events": events, "what": what, "busy": busy}, quick)
        for labels, events, size, quick in _SIZES
        for what, busy, said in _KINDS
    )
    quantities = (
        Quantity("seconds", "s"), Quantity("first_s", "s"), Quantity("process_mib", "MiB"),
        Quantity("driver_mib", "MiB"),
    )  # fmt: skip

    def timing(self, quick: bool) -> Timing:
        """Return how long things take."""
        return Timing(1.0, answer_s=900.0)

    @contextmanager
    def world(self, folder: Path) -> Iterator[Mapping[str, Any]]:
        """Share nothing: every contestant writes the same rows in its own way."""
        yield {}
