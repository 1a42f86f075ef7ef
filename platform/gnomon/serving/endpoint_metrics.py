"""What a replica counts, as Ray Serve's user metrics; Ray's agent on each node offers them to Prometheus.

Requests are noted by appending to a list; a thread turns them into metrics once a second, because each update of a Ray
metric costs several microseconds.
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Callable
from typing import Any

import numpy as np
from ray.serve.metrics import Counter, Gauge, Histogram

from gnomon.contracts.online_store import Status
from gnomon.telemetry.logs import logger

_EVERY_S = 1.0
_LATENCIES_MS = [0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]
_STATUSES = [status.name.lower() for status in Status]


class EndpointMetrics:
    """Metrics of one replica.

    Args:
        version: Number of the version that it serves.
        features: Names of the looked-up features, in the plan's order.
        dropped: Tells how many log records were dropped so far.
    """

    def __init__(self, version: int, features: tuple[str, ...], dropped: Callable[[], int]) -> None:
        self._features = features
        self._dropped = dropped
        self._answered: list[tuple[float, int, Any]] = []
        self._failed: list[str] = []
        tags = {"version": str(version)}
        self._predictions = Counter("gnomon_predictions", "Predictions answered", ("version",))
        self._errors = Counter("gnomon_prediction_errors", "Requests answered with an error", ("version", "code"))
        self._latency = Histogram(
            "gnomon_prediction_latency_ms", "Time in the replica", _LATENCIES_MS, ("version",)
        )  # fmt: skip
        self._statuses = Counter(
            "gnomon_feature_reads", "Looked-up feature values by status", ("version", "feature", "status")
        )  # fmt: skip
        self._drops = Gauge("gnomon_prediction_log_dropped", "Records that the log had to drop", ("version",))
        for metric in (self._predictions, self._errors, self._latency, self._statuses, self._drops):
            metric.set_default_tags(dict(tags))  # Ray Serve adds to what it is given
        threading.Thread(target=self._keep_publishing, name="endpoint-metrics", daemon=True).start()

    def answered(self, latency_s: float, rows: int, status: np.ndarray[Any, Any]) -> None:
        """Note an answered request: its latency, its rows and the status of every feature, shape (rows, features)."""
        self._answered.append((latency_s, rows, status))

    def failed(self, code: str) -> None:
        """Note a request that was answered with an error of that code."""
        self._failed.append(code)

    def publish(self) -> None:
        """Turn what was noted since the last call into metrics; drops are told even when nothing was answered."""
        self._drops.set(self._dropped())
        answered, self._answered = self._answered, []
        failed, self._failed = self._failed, []
        for code, count in Tally(failed).items():
            self._errors.inc(count, {"code": code})
        if not answered:
            return
        self._predictions.inc(sum(rows for _, rows, _ in answered))
        for latency_s, _, _ in answered:
            self._latency.observe(latency_s * 1000)
        if not self._features:
            return
        status = np.concatenate([found for _, _, found in answered])
        for place, feature in enumerate(self._features):
            for number, count in enumerate(np.bincount(status[:, place]).tolist()):
                if count:
                    self._statuses.inc(count, {"feature": feature, "status": _STATUSES[number]})

    def _keep_publishing(self) -> None:
        pause = threading.Event()
        while not pause.wait(_EVERY_S):
            try:
                self.publish()
            except Exception as error:  # noqa: BLE001
                # The edge of the thread: a metric that cannot be published must not end all later ones.
                logger().warning("publishing metrics failed", error=str(error))
