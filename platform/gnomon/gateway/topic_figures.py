"""How far topics were read, for `gnomon status` and `/metrics`; used by `status` and `metrics`."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.parts import Parts

_TOPIC = "topic"  # as `data.topic_streams.TOPIC`, whose import would bring in Arrow
_STALE_S = 15.0


def topic_status(parts: Parts, source: DataSource) -> dict[str, Any]:
    """Return how far the topic of a source was read.

    Args:
        parts: The platform's parts.
        source: Any source.

    Returns:
        Under `topic` its `state` (`ok`, `failing`, `away`, or `starting` before the first look), `error`, `behind_s`
        since the consumer last told of it, `lag` in messages, `partitions` with `next`, `first`, `end` and `lag`,
        `lost` messages, `rereads` and `watermark_s`; nothing for a source that has no topic.
    """
    if source.kafka is None:
        return {}
    seen = parts.states.get(_TOPIC, source.name)
    if seen is None or seen["topic"] != source.kafka.topic:
        return {"topic": {"name": source.kafka.topic, "state": "starting"}}
    behind_s = max(0.0, SystemClock().now_us() / 1e6 - seen["wall_us"] / 1e6)
    state = "away" if behind_s >= _STALE_S else "failing" if seen["error"] else "ok"
    watermark_us = seen["watermark_us"]
    return {"topic": {
        "name": seen["topic"], "state": state, "error": seen["error"], "behind_s": round(behind_s, 1),
        "lag": sum(each["lag"] for each in seen["partitions"].values()), "partitions": seen["partitions"],
        "lost": sum(seen["lost"].values()), "lost_by_partition": seen["lost"],
        "skipped_by_partition": seen["skipped"], "rereads": seen["rereads"],
        "watermark_s": None if watermark_us is None else watermark_us / 1e6, "since_start": seen["since_start"],
    }}  # fmt: skip


def measure_topics(sources: list[dict[str, Any]], registry: CollectorRegistry) -> None:
    """Measure the topics that are read; without any there are no such metrics.

    Args:
        sources: As `platform_status` gives them.
        registry: Takes the metrics.
    """
    topics = {each["name"]: each["topic"] for each in sources if "topic" in each}
    read = {name: topic for name, topic in topics.items() if topic["state"] != "starting"}
    if not topics:
        return
    up = Gauge("gnomon_topic_up", "Whether a source's topic is being read", ["source"], registry=registry)
    for name, topic in topics.items():
        up.labels(name).set(topic["state"] == "ok")
    lag = Gauge(
        "gnomon_topic_lag_messages", "Messages that are in the topic and not in the table", ["source", "partition"],
        registry=registry,
    )  # fmt: skip
    lost = Gauge(
        "gnomon_topic_lost_messages", "Messages that were deleted before they were read, at most",
        ["source", "partition"], registry=registry,
    )  # fmt: skip
    skipped = Gauge(
        "gnomon_topic_skipped_offsets", "Offsets that gave no message: marks of transactions, and compacted ones",
        ["source", "partition"], registry=registry,
    )  # fmt: skip
    rereads = Gauge("gnomon_topic_rereads", "How often offsets had lost their meaning", ["source"], registry=registry)
    behind = Gauge(
        "gnomon_topic_behind_seconds", "Since the topic consumer last told of it", ["source"], registry=registry
    )  # fmt: skip
    watermark = Gauge(
        "gnomon_topic_watermark_seconds", "Greatest event time that was read, since the epoch", ["source"],
        registry=registry,
    )  # fmt: skip
    broken = Gauge(
        "gnomon_topic_contract_violations", "Rows that broke a rule of the contract since the consumer started",
        ["source", "rule"], registry=registry,
    )  # fmt: skip
    for name, topic in read.items():
        for rule, count in topic["since_start"]["contract"].items():
            broken.labels(name, rule).set(count)
        for partition, figures in topic["partitions"].items():
            lag.labels(name, partition).set(figures["lag"])
            lost.labels(name, partition).set(topic["lost_by_partition"].get(partition, 0))
            skipped.labels(name, partition).set(topic["skipped_by_partition"].get(partition, 0))
        rereads.labels(name).set(topic["rereads"])
        behind.labels(name).set(topic["behind_s"])
        if topic["watermark_s"] is not None:
            watermark.labels(name).set(topic["watermark_s"])
