"""The benchmark `point_in_time`: how long a training set's features take to join, each as of its row's time.

Listed in `__main__`. One process, files on local disk; the answers are compared row by row between contestants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import OurEnvironment, PinnedEnvironment
from tests.benchmarks.harness import Entrant, Quantity, Scenario, Timing

_HERE = Path(__file__).parent
_PINS = _HERE.parent / "requirements"
_COLUMNAR, _FEAST = PinnedEnvironment(_PINS / "columnar.txt"), PinnedEnvironment(_PINS / "feast-offline.txt")
_SIZES = ((10_000, 100_000, "10 k × 100 k", True), (100_000, 1_000_000, "100 k × 1 M", False))


class PointInTime:
    """See `harness.Benchmark`."""

    name = "point_in_time"
    about = "label rows × rows of a view, in files: the newest row of three views, or one view's mean of seven days"
    entrants = (
        Entrant(
            "gnomon", _HERE / "gnomon_join.py", OurEnvironment(),
            "point_in_time_join over Delta tables in one process; event time and known time, corrections, ties",
        ),
        Entrant("DuckDB", _HERE / "duckdb_join.py", _COLUMNAR, "ASOF JOIN, or a range join, over Parquet files"),
        Entrant("polars", _HERE / "polars_join.py", _COLUMNAR, "join_asof, or a join and a filter, over Parquet files"),
        Entrant("Feast, duckdb", _HERE / "feast_duckdb.py", _FEAST, "get_historical_features, duckdb offline store"),
        Entrant("Feast, file", _HERE / "feast_file.py", _FEAST, "get_historical_features, file (dask) offline store"),
    )  # fmt: skip
    scenarios = tuple(
        Scenario(f"{size}, {what}", {"labels": labels, "events": events, "what": what}, quick)
        for labels, events, size, quick in _SIZES
        for what in ("newest of 3 views", "mean of 7 days")
    )
    quantities = (
        Quantity("seconds", "s"), Quantity("cpu_s", "s"), Quantity("first_s", "s"), Quantity("peak_mib", "MiB")
    )  # fmt: skip

    def timing(self, quick: bool) -> Timing:
        """Return how long things take."""
        return Timing(2.0 if quick else 10.0, answer_s=600.0)

    @contextmanager
    def world(self, folder: Path) -> Iterator[Mapping[str, Any]]:
        """Share nothing: every contestant writes the same rows in its own way."""
        yield {}
