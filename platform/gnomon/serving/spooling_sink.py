"""SpoolingSink: takes prediction records off the request path, and brings them into the prediction log in batches.

One per replica. Two threads: the writer spools what was put every 50 ms, so that a killed replica loses no more than
that; the shipper brings sealed segments into the log, and those of dead replicas too.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections import deque
from pathlib import Path

from gnomon.contracts.predictions import PredictionLog, PredictionRecord
from gnomon.errors import Unavailable
from gnomon.serving.spool import Segment, ship_orphans
from gnomon.telemetry.logs import logger

_WRITE_PAUSE_S = 0.05
_QUEUE_RECORDS = 100_000
"""Some 100 MB: as much as the writer falls behind in ten seconds of a stalled disk."""
_SEGMENT_RECORDS = 20_000
_SPOOL_LIMIT_BYTES = 512 * 1024 * 1024
"""Per replica, while the log cannot be written; beyond it records are dropped, and counted."""
_RETRY_S = 2.0
_ORPHANS_EVERY_S = 10.0


class SpoolingSink:
    """A `PredictionSink` over a spool folder and a prediction log; paced by the machine's clock, not by the port.

    Args:
        folder: Spool folder of this machine; created when absent.
        deployment: The endpoint.
        flush_s: How long a segment collects records before it is shipped.
        log: Where records go.

    Attributes:
        dropped: Records that were lost because queue, spool or disk were full.
    """

    def __init__(self, folder: Path, deployment: str, flush_s: float, log: PredictionLog) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._deployment = deployment
        self._flush_s = flush_s
        self._log = log
        self.dropped = 0
        self._queue: deque[PredictionRecord] = deque()
        self._names = map(f"{secrets.token_hex(8)}-{{:08d}}".format, itertools.count())
        self._writing = threading.RLock()
        self._segment: Segment | None = None
        self._opened_s = 0.0
        self._records = 0
        self._sealed: deque[Segment] = deque()
        self._shipping = threading.Condition()
        self._stopping = threading.Event()
        self._shipper = threading.Thread(target=self._keep_shipping, name="prediction-shipper", daemon=True)
        self._threads = [
            threading.Thread(target=self._keep_writing, name="prediction-spool", daemon=True),
            self._shipper,
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Return whether both threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def put(self, record: PredictionRecord) -> None:
        """Take a record; see `PredictionSink.put`."""
        if len(self._queue) >= _QUEUE_RECORDS:
            self.dropped += 1
        else:
            self._queue.append(record)

    def flush(self, timeout_s: float = 30.0) -> None:
        """Return when everything put before is in the log; see `PredictionSink.flush`.

        Args:
            timeout_s: How long to wait, in seconds.

        Raises:
            Unavailable: The log could not be written in time; the records stay in the spool.
        """
        self._write(seal=True)
        with self._shipping:
            last = self._sealed[-1] if self._sealed else None
            self._shipping.notify_all()
            if not self._shipping.wait_for(lambda: last is None or last not in self._sealed, timeout_s):
                raise Unavailable(
                    f"predictions of '{self._deployment}' are not in the log after {timeout_s:g} s",
                    f"they are kept in {self._folder} until it can be written",
                )

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush as far as the time allows, and stop; what is left is shipped by another replica."""
        try:
            self.flush(timeout_s)
        except Unavailable as error:
            logger().warning("predictions stay in the spool", deployment=self._deployment, error=str(error))
        self._stopping.set()
        with self._shipping:
            self._shipping.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)
        if not self._shipper.is_alive():  # under a running `ship`, its descriptor could be another file's by then
            for segment in self._sealed:
                segment.close()
            self._sealed.clear()

    def _keep_writing(self) -> None:
        while not self._stopping.wait(_WRITE_PAUSE_S):
            try:
                self._write(seal=False)
            except Exception:  # noqa: BLE001
                # The edge of the thread: were it to end, every later record would be lost in silence.
                logger().exception("spooling predictions failed", deployment=self._deployment)

    def _write(self, *, seal: bool) -> None:
        with self._writing:
            records = [self._queue.popleft() for _ in range(len(self._queue))]
            if records:
                self._spool(records)
            is_due = time.monotonic() - self._opened_s >= self._flush_s or self._records >= _SEGMENT_RECORDS
            if self._segment is not None and (seal or is_due):
                with self._shipping:
                    self._sealed.append(self._segment)
                    self._segment = None
                    self._shipping.notify_all()

    def _spool(self, records: list[PredictionRecord]) -> None:
        try:
            if self._segment is None:
                if sum(segment.size_bytes for segment in tuple(self._sealed)) > _SPOOL_LIMIT_BYTES:
                    raise OSError(f"the spool holds {_SPOOL_LIMIT_BYTES} bytes that could not be shipped")
                self._segment = Segment.create(self._folder, self._deployment, next(self._names))
                self._opened_s, self._records = time.monotonic(), 0
            self._segment.write(records)
            self._records += len(records)
        except (OSError, TypeError, ValueError, OverflowError) as error:  # a full disk, or what msgpack cannot hold
            self.dropped += len(records)
            logger().error("prediction records were dropped", records=len(records), error=str(error))

    def _keep_shipping(self) -> None:
        orphans_due_s = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= orphans_due_s:
                    ship_orphans(self._folder, self._log)
                    orphans_due_s = time.monotonic() + _ORPHANS_EVERY_S
                while self._sealed:
                    self._sealed[0].ship(self._log)
                    with self._shipping:
                        self._sealed.popleft()
                        self._shipping.notify_all()
                pause_s = _ORPHANS_EVERY_S
            except Exception as error:  # noqa: BLE001
                # The edge of the thread: whatever keeps the log from being written may pass, and the spool holds all.
                logger().warning("shipping predictions failed", deployment=self._deployment, error=str(error))
                pause_s = _RETRY_S
                orphans_due_s = max(orphans_due_s, time.monotonic() + _RETRY_S)
            with self._shipping:
                if pause_s == _RETRY_S or not self._sealed:
                    self._shipping.wait(pause_s)
