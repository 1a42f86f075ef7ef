"""Ours: `point_in_time_join` on a Ray cluster of two nodes; a contestant of `distributed_join`.

What is timed is a training set after the first one, which has laid the table out by entity.

`process_mib` is the greatest memory that any one worker had for itself: shared memory, which is the object store's and
bounded by its size, does not count.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from contestant import run, time_runs
from distributed_join.rows import FEATURES, distinct, events, labels, name
from point_in_time.gnomon_join import stored_rows
from point_in_time.rows import WINDOW_DAYS, check

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.storage.delta_tables import DeltaTables

_PARTITION_ROWS = 500_000
_STORE_BYTES = 200_000_000
_EVERY_S = 0.1
_SCHEMA = {"id": "string", "entity": "int64", "at": "timestamp", **dict.fromkeys(FEATURES, "float64")}


class WorkerMemory:
    """Watches Ray's workers below this process: the greatest private memory of any of them, in MiB."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """End the watch and return the peak."""
        self._done.set()
        self._thread.join()
        return self.peak_mib

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name().startswith("ray::"):
                        memory = process.memory_info()
                        self.peak_mib = max(self.peak_mib, (memory.rss - memory.shared) / 2**20)
                except psutil.NoSuchProcess:
                    continue


class GnomonOnRay:
    """The contestant; see `contestant.Contestant`."""

    def __init__(self) -> None:
        self.tables: DeltaTables | None = None
        self._cluster: Any = None

    def root(self, world: Mapping[str, Any]) -> Path:
        """Return the folder of the tables."""
        return Path(world["folder"]) / "tables"

    def prepare(self, world: Mapping[str, Any]) -> None:
        """Write the tables, a batch each."""
        tables = DeltaTables(self.root(world))
        for scenario in distinct(world):
            tables.append(name(scenario), stored_rows(events(scenario)), "batch")

    def open(self, world: Mapping[str, Any]) -> dict[str, str]:
        """Start two nodes with a core each, and a worker on each."""
        os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HOME": tempfile.mkdtemp()}
        import ray
        from ray.cluster_utils import Cluster

        self.tables = DeltaTables(self.root(world))
        node = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": _STORE_BYTES}
        self._cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        self._cluster.add_node(**node)
        ray.init(address=self._cluster.address, log_to_driver=False, logging_level="error")
        self._cluster.wait_for_nodes()
        occupied = ray.remote(num_cpus=1)(_occupied)
        assert len(set(ray.get([occupied.remote(2.0) for _ in range(2)]))) == 2, "both nodes have to work"
        return {package: version(package) for package in ("gnomon", "ray", "numpy", "pyarrow", "polars")}

    def measure(self, scenario: Mapping[str, Any], budget_s: float) -> dict[str, Any]:
        """Time joins, from label rows in memory to features in memory, in the label rows' order."""
        assert self.tables is not None
        tables, app, asked = self.tables, _app(name(scenario)), labels(scenario)
        requests = pa.table({"entity": asked["entity"], REQUEST_TIME: asked["at"].cast(pa.int64())})
        lookups = ["sums.mean"] if scenario["what"] == "mean" else [f"newest.{feature}" for feature in FEATURES]
        options: dict[str, Any] = {"local_rows": 0, "partition_rows": _PARTITION_ROWS}

        def prepare() -> None:
            self.before(
                tables, name(scenario), lambda: point_in_time_join(app, tables, requests[:1], lookups, **options)
            )

        prepare()
        workers = WorkerMemory()
        taken, answer = time_runs(
            lambda: point_in_time_join(app, tables, requests, lookups, **options), budget_s, prepare
        )
        return {
            "seconds": taken["seconds"], "first_s": taken["first_s"], "process_mib": workers.stop(),
            "driver_mib": taken["peak_mib"], "check": check(answer),
        }  # fmt: skip

    def before(self, tables: DeltaTables, table: str, join: Callable[[], Any]) -> None:
        """Prepare a join without measuring that: here, by one that lays the table out."""
        join()

    def close(self) -> None:
        """End both nodes."""
        import ray

        ray.shutdown()
        if self._cluster is not None:
            self._cluster.shutdown()


def _occupied(seconds: float) -> str:
    """Keep a core busy for long enough that another task needs another node; return which node it is."""
    import ray

    time.sleep(seconds)
    return str(ray.get_runtime_context().get_node_id())


def _app(source_name: str) -> App:
    entity = gn.Entity("entity", key="entity")
    source = gn.DataSource(source_name, path="rows.parquet", id="id", event_time="at")
    newest = gn.FeatureView("newest", entity=entity, source=source, features=[gn.Column(name) for name in FEATURES])
    mean = gn.Aggregation("a", "mean", window=f"{WINDOW_DAYS}d", name="mean")
    sums = gn.FeatureView("sums", entity=entity, source=source, features=[mean])
    return App.of("bench", [entity, source, newest, sums]).with_schemas({source_name: _SCHEMA})


if __name__ == "__main__":
    run(GnomonOnRay())
