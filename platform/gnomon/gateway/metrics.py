"""Prometheus metrics of every part at one endpoint: the gateway's `/metrics`.

Our own gauges are computed when asked for, from the same status that people see. Those of Ray, Ray Serve and the
replicas come from the metrics agents of the cluster's nodes, passed on as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from gnomon.control_plane.parts import Parts
from gnomon.errors import GnomonError
from gnomon.gateway.status import platform_status
from gnomon.gateway.topic_figures import measure_topics
from gnomon.telemetry.logs import logger


def exposition(parts: Parts, scrape: tuple[str, ...], queued_rows: Mapping[str, int]) -> str:
    """Return all metrics in Prometheus' text format, version 0.0.4.

    Args:
        parts: Whose state is measured.
        scrape: Addresses of further endpoints; one that does not answer is reported as `gnomon_scrape_up 0`.
        queued_rows: Pushed rows that wait for their commit in this process, by source.

    Returns:
        Our own metrics first, then those of each address that answered, in the order of `scrape`.
    """
    registry = CollectorRegistry()
    _own(parts, registry)
    queued = Gauge("gnomon_push_queue_rows", "Pushed rows that wait for their commit", ["source"], registry=registry)
    for source, rows in queued_rows.items():
        queued.labels(source).set(rows)
    up = Gauge("gnomon_scrape_up", "Whether a metrics endpoint of the cluster answered", ["address"], registry=registry)
    passed_on = []
    for address in scrape:
        text = _scraped(address)
        up.labels(address).set(text is not None)
        passed_on.append(text or "")
    own: str = generate_latest(registry).decode()
    return own + "".join(passed_on)


def _own(parts: Parts, registry: CollectorRegistry) -> None:
    try:
        status = platform_status(parts)
    except GnomonError as error:
        logger().warning("status for metrics failed", error=str(error))
        Gauge("gnomon_state_up", "Whether the state database answers", registry=registry).set(0)
        return
    Gauge("gnomon_state_up", "Whether the state database answers", registry=registry).set(1)
    part_up = Gauge("gnomon_part_up", "Whether a part of the platform is well", ["part"], registry=registry)
    for part in status["parts"]:
        part_up.labels(part["name"]).set(part["state"] == "ok")
    tables = Gauge("gnomon_table_version", "Version of a source's offline table", ["source"], registry=registry)
    for source in status["sources"]:
        tables.labels(source["name"]).set(source["version"])
    _streams(status["views"], registry)
    measure_topics(status["sources"], registry)
    champion = Gauge("gnomon_champion_version", "Version that serves, 0 when none", ["model"], registry=registry)
    quality = Gauge("gnomon_champion_metric", "Held-out metric of the champion", ["model", "metric"], registry=registry)
    for model in status["models"]:
        champion.labels(model["name"]).set(model["champion"] or 0)
        for name, (value, _, _) in model["metrics"].items():
            quality.labels(model["name"], name).set(value)
    healthy = Gauge("gnomon_deployment_healthy", "Whether an endpoint is healthy", ["deployment"], registry=registry)
    for deployment in status["deployments"]:
        healthy.labels(deployment["name"]).set(deployment["state"] == "healthy")
    fired = Gauge("gnomon_monitor_fired", "Whether a monitor's last evaluation fired", ["monitor"], registry=registry)
    for monitor in status["monitors"]:
        fired.labels(monitor["name"]).set(bool(monitor.get("fired")))
    operations = Gauge(
        "gnomon_operations", "Operations by kind and state, newest 1000", ["kind", "state"], registry=registry
    )
    counts = Counter((o.kind, o.state) for o in parts.operations.list(limit=1000))
    for (kind, state), count in counts.items():
        operations.labels(kind, state).set(count)


def _streams(views: list[dict[str, Any]], registry: CollectorRegistry) -> None:
    """Measure the views that are kept fresh; without any there are no such metrics."""
    figures = {
        "lag_s": ("gnomon_stream_lag_seconds", "From an event's commit to its being online, of the last write"),
        "behind_s": ("gnomon_stream_behind_seconds", "Since the stream consumer last looked at the view"),
        "watermark_s": ("gnomon_stream_watermark_seconds", "Greatest event time that is online, since the epoch"),
        "cached_bytes": ("gnomon_stream_cache_bytes", "Size of the events held in memory"),
    }
    streams = {view["name"]: view["stream"] for view in views if view.get("stream")}
    for field, (name, meaning) in figures.items() if streams else ():
        gauge = Gauge(name, meaning, ["view"], registry=registry)
        for view, stream in streams.items():
            if stream[field] is not None:
                gauge.labels(view).set(stream[field])


def _scraped(address: str) -> str | None:
    try:
        # A proxy of the environment is for hosts outside the cluster.
        response = httpx.get(address, timeout=2.0, trust_env=False)
    except httpx.HTTPError:
        return None
    return response.text if response.is_success else None
