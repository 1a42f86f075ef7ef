"""TopicStream: keeps a source's table up to date with its topic, through everything that brokers do.

Stepped by `control_plane.topic_consumer`, one thread a source. A failure is written down, told once and tried again;
where it stands is written down for `gnomon status` and `/metrics`. These figures decide nothing: the position that does
is kept with the table.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from gnomon.contracts.clocks import Clock, SystemClock
from gnomon.contracts.columns import Dtype
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.platform_state import StateStore
from gnomon.contracts.sources import DataSource
from gnomon.data.contract_reports import rule_results
from gnomon.data.kafka_clients import topic_of
from gnomon.data.topic_batches import TopicCommit
from gnomon.data.topic_intake import TopicIntake
from gnomon.data.topic_readers import FetchLimits
from gnomon.errors import GnomonError
from gnomon.telemetry.logs import logger

TOPIC = "topic"
"""Kind of the documents in the state store; named by their source."""

_MOST_WAIT_S = 0.5
_LOOK_EVERY_S = 5.0
_PAUSE_AFTER_FAILURE_S = 1.0
_STORE_EVERY_S = {True: 0.5, False: 5.0}


class TopicStream:
    """Reads one topic for ever. For one thread.

    Args:
        source: Of format `kafka`.
        schema: Types of its columns.
        offline: Where its tables are.
        states: Where its figures are written down.
        clock: Gives the ingestion time.
        limits: How much is committed at once.
    """

    def __init__(
        self, source: DataSource, schema: Mapping[str, Dtype], offline: OfflineStore, states: StateStore, clock: Clock,
        limits: FetchLimits | None = None,
    ) -> None:  # fmt: skip
        self._source, self._states = source, states
        self._intake = TopicIntake(source, schema, offline, clock, limits)
        self._machine = SystemClock()
        self._looked_s = self._stored_s = -_LOOK_EVERY_S
        self._error: str | None = None
        self._counts = {"added": 0, "duplicates": 0, "quarantined": 0}
        self._broken: Counter[str] = Counter()

    def step(self) -> float:
        """Take in what has come, or wait half a second for it; nothing is raised.

        Returns:
            Seconds to wait before the next step.
        """
        try:
            moved = self._advance()
        except Exception as error:  # noqa: BLE001 - the edge of the thread: if it ended, no message would come any more
            self._intake.close()  # what was read and not committed is read again
            self._tell(str(error), error)
            self._store()
            return _PAUSE_AFTER_FAILURE_S
        self._tell(None)
        if time.monotonic() - self._stored_s >= _STORE_EVERY_S[moved]:
            self._store()
        return 0.0

    def close(self) -> None:
        """End the connections, and write down where it stands."""
        self._store()
        self._intake.close()

    def _advance(self) -> bool:
        if time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
            self._intake.look_again()
            self._looked_s = time.monotonic()
        done = self._intake.step(_MOST_WAIT_S)
        if done is not None:
            self._count(done)
        return done is not None

    def _count(self, done: TopicCommit) -> None:
        self._counts["added"] += done.counts.rows_added
        self._counts["duplicates"] += done.counts.duplicates
        self._counts["quarantined"] += sum(done.counts.quarantined.values())
        for result in rule_results(self._source, done.tallies):
            if not result["passed"]:
                self._report_broken(result)

    def _report_broken(self, result: Mapping[str, Any]) -> None:
        """Count what breaks a rule of the contract; log the first, for there may be many."""
        if result["rule"] not in self._broken:
            logger().warning(
                "contract broken", source=self._source.name, rule=result["rule"], found=result["message"],
                examples=result["examples"],
            )  # fmt: skip
        self._broken[result["rule"]] += result["violations"]

    def _tell(self, said: str | None, error: Exception | None = None) -> None:
        """Log a failure when it begins, or becomes another one, and its end."""
        if said == self._error:
            return
        topic = topic_of(self._source).topic
        if said is None:
            logger().info("the topic is read again", source=self._source.name, topic=topic)
        else:
            unforeseen = None if isinstance(error, GnomonError) else error
            logger().warning(
                "a topic cannot be read", source=self._source.name, topic=topic, error=said, exc_info=unforeseen
            )  # fmt: skip
        self._error = said

    def _store(self) -> None:
        self._stored_s = time.monotonic()
        try:
            self._states.put(TOPIC, self._source.name, self._figures())
        except Exception as error:  # noqa: BLE001 - figures are for people: the topic is read without them
            logger().warning("figures of a topic were not stored", source=self._source.name, error=str(error))

    def _figures(self) -> dict[str, Any]:
        position, spans = self._intake.position, self._intake.spans()
        since_start = {**self._counts, "contract": dict(self._broken)}
        state = {"error": self._error or "", "wall_us": self._machine.now_us(), "since_start": since_start}
        before = self._states.get(TOPIC, self._source.name)
        if not spans and before is not None:  # not connected: what was known last
            return {**before, **state}
        return {
            "topic": topic_of(self._source).topic,
            "partitions": {
                str(p): {"next": at, "first": spans[p][0], "end": spans[p][1], "lag": max(0, spans[p][1] - at)}
                for p, at in position.next_offsets.items() if p in spans
            },
            "lost": {str(p): count for p, count in position.lost.items()},
            "skipped": {str(p): count for p, count in position.skipped.items()}, "rereads": position.rereads,
            "watermark_us": position.watermark_us, **state,
        }  # fmt: skip
