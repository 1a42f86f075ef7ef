"""Pusher: takes pushed rows of any source, and commits those that arrive together as one version of its table.

Used by the gateway, one for all sources. A commit costs two or three syncs of the disk whatever its size; so whoever
pushes while one is under way shares the next. What cannot be queued is refused, never dropped.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from gnomon.contracts.clocks import Clock
from gnomon.contracts.columns import Dtype
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.sources import DataSource
from gnomon.data.push_batches import Push, PushReport, commit_pushes
from gnomon.errors import GnomonError, Overloaded, Unavailable

Definition = tuple[DataSource, Mapping[str, Dtype]]


@dataclass(frozen=True)
class PushLimits:
    """How much is gathered and held.

    Attributes:
        wait_s: A push waits this long for others to share its commit.
        commit_rows: Rows after which a commit waits no longer.
        queued_rows: Rows of one source that may wait for their commit; more are refused.
        queued_bytes: The same in bytes.
    """

    wait_s: float = 0.02
    commit_rows: int = 20_000
    queued_rows: int = 100_000
    queued_bytes: int = 64 * 2**20


class Pusher:
    """Commits pushes in one thread a source. Safe for threads.

    Args:
        definition: Gives a source and its column types by name; raises NotFound.
        offline: Where the tables are.
        clock: Gives the ingestion time.
        limits: How much is gathered and held.
    """

    def __init__(
        self, definition: Callable[[str], Definition], offline: OfflineStore, clock: Clock,
        limits: PushLimits = PushLimits(),
    ) -> None:  # fmt: skip
        self._definition, self._offline, self._clock, self._limits = definition, offline, clock, limits
        self._queues: dict[str, _Queue] = {}
        self._changing = threading.Lock()

    def push(self, source: str, push: Push) -> Future[PushReport]:
        """Queue rows of a source.

        Args:
            source: Name of the source.
            push: The rows.

        Returns:
            The report, once the rows are durable; or why they are not: then a resend is safe.

        Raises:
            NotFound: No applied app defines the source.
            Overloaded: Too many rows wait already; nothing was queued.
            Unavailable: The pusher is closed.
        """
        self._definition(source)
        with self._changing:
            queue = self._queues.get(source) or self._queues.setdefault(
                source, _Queue(source, self._limits, self._commit)
            )
        return queue.put(push)

    def queued_rows(self) -> dict[str, int]:
        """Return the number of rows that wait, by source that was pushed to."""
        with self._changing:
            return {name: queue.rows for name, queue in self._queues.items()}

    def close(self) -> None:
        """Commit what is queued and take no more."""
        with self._changing:
            queues = list(self._queues.values())
        for queue in queues:
            queue.close()

    def _commit(self, name: str, pushes: list[Push]) -> list[PushReport | GnomonError]:
        source, schema = self._definition(name)
        return commit_pushes(pushes, source, schema, self._offline, self._clock.now_us(), time.sleep)


@dataclass(frozen=True)
class _Waiting:
    push: Push
    rows: int
    answer: Future[PushReport]


class _Queue:
    """The pushes of one source that wait for their commit, and the thread that commits them."""

    def __init__(
        self, source: str, limits: PushLimits, commit: Callable[[str, list[Push]], list[PushReport | GnomonError]]
    ) -> None:
        self._source, self._limits, self._commit = source, limits, commit
        self._waiting: deque[_Waiting] = deque()
        self._arrived = threading.Condition()
        self._closed = False
        self._bytes = 0
        self.rows = 0
        self._thread = threading.Thread(target=self._run, name=f"push-{source}", daemon=True)
        self._thread.start()

    def put(self, push: Push) -> Future[PushReport]:
        rows, limits = push.lines.count(b"\n") + 1, self._limits
        with self._arrived:
            if self._closed:
                raise Unavailable(f"source '{self._source}' takes no rows: the platform is stopping", "send them again")
            full = self.rows + rows > limits.queued_rows or self._bytes + len(push.lines) > limits.queued_bytes
            if full and self.rows:  # alone, one of any size has its turn: sent again it would be as large
                raise Overloaded(
                    f"source '{self._source}' has {self.rows} pushed rows ({self._bytes} bytes) waiting, at most "
                    f"{limits.queued_rows} rows and {limits.queued_bytes} bytes may",
                    "send these rows again in a second; nothing of them was kept",
                )
            waiting = _Waiting(push, rows, Future())
            # A caller that leaves cancels its future, and to answer a cancelled one would end the thread for all.
            waiting.answer.set_running_or_notify_cancel()
            self._waiting.append(waiting)
            self.rows += rows
            self._bytes += len(push.lines)
            self._arrived.notify()
        return waiting.answer

    def close(self) -> None:
        with self._arrived:
            self._closed = True
            self._arrived.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._gather():
            try:
                answers = self._answers(group)
            except GnomonError as error:
                answers = [error] * len(group)
            except Exception as error:  # noqa: BLE001 - the edge of the thread: if it ended, pushes would wait for ever
                answers = [error] * len(group)
            with self._arrived:
                self.rows -= sum(each.rows for each in group)
                self._bytes -= sum(len(each.push.lines) for each in group)
            for each, answer in zip(group, answers, strict=True):
                if isinstance(answer, PushReport):
                    each.answer.set_result(answer)
                else:
                    each.answer.set_exception(answer)

    def _answers(self, group: list[_Waiting]) -> list[PushReport | Exception]:
        """Commit each batch id once; a resend within the group is answered like one that comes later."""
        first: dict[str, int] = {}
        place = [first.setdefault(each.push.batch_id or f"/{n}", len(first)) for n, each in enumerate(group)]
        pushes: list[Push] = []
        for each, at in zip(group, place, strict=True):
            if at == len(pushes):
                pushes.append(each.push)
        reports = self._commit(self._source, pushes)
        answers: list[PushReport | Exception] = []
        for n, (each, at) in enumerate(zip(group, place, strict=True)):
            report = reports[at]
            if at in place[:n] and isinstance(report, PushReport):
                again = self._commit(self._source, [each.push])[0]
                answers.append(again)
            else:
                answers.append(report)
        return answers

    def _gather(self) -> list[_Waiting]:
        """Wait for a push and a moment longer for others; none after the last when closed."""
        with self._arrived:
            while not self._waiting and not self._closed:
                self._arrived.wait()
            until_s = time.monotonic() + self._limits.wait_s
            while not self._closed and sum(each.rows for each in self._waiting) < self._limits.commit_rows:
                if (left_s := until_s - time.monotonic()) <= 0:
                    break
                self._arrived.wait(left_s)
            group: list[_Waiting] = []
            rows = 0
            while self._waiting and (not group or rows + self._waiting[0].rows <= self._limits.commit_rows):
                group.append(self._waiting.popleft())
                rows += group[-1].rows
            return group
