"""What a replica publishes, when nothing was asked of it as well."""

from __future__ import annotations

import threading
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray Serve's own models use what pydantic calls deprecated
    from gnomon.serving.endpoint_metrics import EndpointMetrics


def test_dropped_records_are_told_without_any_answered_request() -> None:
    asked = threading.Event()

    def dropped() -> int:
        asked.set()
        return 7

    metrics = EndpointMetrics(1, (), dropped)
    metrics.publish()
    assert asked.is_set()
    asked.clear()
    metrics.failed("unavailable")
    metrics.publish()
    assert asked.is_set()
