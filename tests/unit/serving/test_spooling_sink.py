"""The sink, its spool and the log, with real files; a log that fails at times stands between."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgpack
import pytest

from gnomon.contracts.predictions import PredictionRecord
from gnomon.errors import InvalidInput, Unavailable
from gnomon.serving.prediction_log import OfflinePredictionLog
from gnomon.serving.spool import Segment, ship_orphans
from gnomon.serving.spooling_sink import SpoolingSink
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.prediction_log_contract import record

EVER_US = 2**60


class TroubledLog(OfflinePredictionLog):
    """Raises before or after it has stored a batch, as long as it is told to."""

    before: Exception | None = None
    after: Exception | None = None

    def append(self, deployment: str, records: Sequence[PredictionRecord], batch_id: str) -> None:
        if self.before is not None:
            raise self.before
        super().append(deployment, records, batch_id)
        if self.after is not None:
            raise self.after

    def ids(self) -> list[str]:
        if self._offline.version("predictions__fraud") < 0:
            return []
        found: list[str] = self._offline.read("predictions__fraud")["_event_id"].to_pylist()
        return sorted(found)


@pytest.fixture
def log(tmp_path: Path) -> TroubledLog:
    return TroubledLog(DeltaTables(tmp_path / "tables"))


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def open_sink(spool: Path, log: TroubledLog) -> Iterator[Callable[..., SpoolingSink]]:
    sinks: list[SpoolingSink] = []

    def open_one(flush_s: float = 60.0) -> SpoolingSink:
        sinks.append(SpoolingSink(spool, "fraud", flush_s, log))
        return sinks[-1]

    yield open_one
    for sink in sinks:
        sink.close(0.5)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_flush_makes_all_records_readable(
    open_sink: Callable[..., SpoolingSink], log: TroubledLog, spool: Path
) -> None:
    sink = open_sink()
    for i in range(1000):
        sink.put(record(f"p{i}", time_us=i + 1))
    sink.flush()
    found = log.read("fraud", 0, EVER_US)
    assert found["prediction_id"].to_pylist() == [f"p{i}" for i in range(1000)]
    assert found["spend.city"].to_pylist() == ["Bern"] * 1000
    assert not list(spool.iterdir())
    assert sink.dropped == 0


def test_records_arrive_by_themselves_within_the_interval(
    open_sink: Callable[..., SpoolingSink], log: TroubledLog
) -> None:
    sink = open_sink(flush_s=0.1)
    sink.put(record("a"))
    wait_for(lambda: log.ids() == ["a"])


def test_a_log_that_fails_gets_all_once_it_is_back(
    open_sink: Callable[..., SpoolingSink], log: TroubledLog, spool: Path
) -> None:
    sink = open_sink()
    log.before = Unavailable("the disk sleeps")
    sink.put(record("a"))
    with pytest.raises(Unavailable, match=r"not in the log after 0\.3 s"):
        sink.flush(0.3)
    sink.put(record("b"))
    log.before = None
    sink.flush()
    assert log.ids() == ["a", "b"]
    assert not list(spool.iterdir())


def test_a_lost_acknowledgement_doubles_nothing(open_sink: Callable[..., SpoolingSink], log: TroubledLog) -> None:
    sink = open_sink()
    log.after = Unavailable("the answer was lost")
    sink.put(record("a"))
    with pytest.raises(Unavailable):
        sink.flush(0.3)
    log.after = None
    sink.flush()
    assert log.ids() == ["a"]


def test_a_batch_that_is_refused_for_good_stands_in_nobodys_way(
    open_sink: Callable[..., SpoolingSink], log: TroubledLog, spool: Path
) -> None:
    sink = open_sink()
    log.before = InvalidInput("another type")
    sink.put(record("a"))
    sink.flush()
    log.before = None
    sink.put(record("b"))
    sink.flush()
    assert log.ids() == ["b"]
    assert [path.suffix for path in spool.iterdir()] == [".rejected"]


def test_a_record_that_cannot_be_written_is_counted(open_sink: Callable[..., SpoolingSink], log: TroubledLog) -> None:
    sink = open_sink()
    sink.put(record("a", inputs={"x": object()}))
    sink.flush()
    sink.put(record("b"))
    sink.flush()
    assert (sink.dropped, log.ids()) == (1, ["b"])


def test_a_full_queue_drops_and_counts(
    open_sink: Callable[..., SpoolingSink], log: TroubledLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnomon.serving.spooling_sink._QUEUE_RECORDS", 10)
    sink = open_sink()
    with sink._writing:
        for i in range(25):
            sink.put(record(f"p{i}"))
    sink.flush()
    assert (sink.dropped, len(log.ids())) == (15, 10)


def test_segments_of_the_living_are_left_alone(spool: Path, log: TroubledLog) -> None:
    spool.mkdir()
    segment = Segment.create(spool, "fraud", "one")
    segment.write([record("a")])
    assert ship_orphans(spool, log) == 0
    segment.close()
    assert ship_orphans(spool, log, older_than_s=60) == 0
    assert ship_orphans(spool, log) == 1
    assert ship_orphans(spool, log) == 0
    assert log.ids() == ["a"]


@pytest.mark.parametrize("lost_bytes", [1, 7, 60])
def test_a_torn_end_is_left_out(spool: Path, log: TroubledLog, lost_bytes: int) -> None:
    spool.mkdir()
    segment = Segment.create(spool, "fraud", "one")
    segment.write([record("a"), record("b")])
    segment.write([record("c")])
    segment.close()
    content = segment.path.read_bytes()
    segment.path.write_bytes(content[:-lost_bytes])
    assert ship_orphans(spool, log) == 2
    assert log.ids() == ["a", "b"]


@pytest.mark.parametrize("payload", [msgpack.packb([["p", "fraud"]]), msgpack.packb(7), b"\xc1"])
def test_an_unreadable_segment_is_set_aside_and_the_next_is_shipped(
    spool: Path, log: TroubledLog, payload: bytes
) -> None:
    spool.mkdir()
    (spool / "fraud.a.spool").write_bytes(struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)
    readable = Segment.create(spool, "fraud", "b")
    readable.write([record("b")])
    readable.close()
    assert ship_orphans(spool, log) == 1
    assert log.ids() == ["b"]
    assert [path.name for path in spool.iterdir()] == ["fraud.a.rejected"]


def test_closing_lets_a_running_shipment_end(
    open_sink: Callable[..., SpoolingSink], log: TroubledLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipping, go_on = threading.Event(), threading.Event()
    closed: list[Path] = []

    def slow_append(deployment: str, records: Sequence[PredictionRecord], batch_id: str) -> None:
        shipping.set()
        assert go_on.wait(20)
        OfflinePredictionLog.append(log, deployment, records, batch_id)

    def noted_close(segment: Segment) -> None:
        closed.append(segment.path)
        close(segment)

    close = Segment.close
    monkeypatch.setattr(log, "append", slow_append)
    monkeypatch.setattr(Segment, "close", noted_close)
    sink = open_sink()
    sink.put(record("a"))
    sink.close(0.2)
    assert shipping.is_set()
    assert not sink.alive, "the writer has ended, the shipper has not"
    assert not closed
    go_on.set()
    wait_for(lambda: log.ids() == ["a"] and len(closed) == 1)


def test_closing_ships_what_is_left(open_sink: Callable[..., SpoolingSink], log: TroubledLog) -> None:
    sink = open_sink()
    sink.put(record("a"))
    sink.close()
    assert log.ids() == ["a"]
    assert not sink.alive
