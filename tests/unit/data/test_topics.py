"""Topics as sources: every message in the table or in quarantine, once, with the position in the same commit."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.kafka_broker import KafkaBroker, MockBroker, running

import gnomon as gn
from gnomon.contracts.clocks import HandClock
from gnomon.contracts.columns import Dtype
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.topic_intake import TopicIntake
from gnomon.data.topic_positions import TopicPosition, stored_position
from gnomon.data.topic_readers import FetchLimits, TopicReader
from gnomon.data.topic_streams import TOPIC, TopicStream
from gnomon.errors import InvalidDefinition, InvalidInput, NotFound, OutOfSpace, Unavailable
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.memory_stores import MemoryStates

SCHEMA: dict[str, Dtype] = {"id": "string", "at": "timestamp", "n": "int64"}
AT = "2025-06-01T00:00:00Z"
TakeIn = Callable[..., IngestReport]


@pytest.fixture(scope="module", params=[KafkaBroker, MockBroker])
def any_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Return one broker after the other, for what every broker does."""
    with running(request.param(tmp_path_factory.mktemp("kafka"))) as made:
        yield made


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Return the broker that can be told to lose things."""
    with running(KafkaBroker(tmp_path_factory.mktemp("kafka"))) as made:
        yield made


@pytest.fixture
def topic(broker: KafkaBroker, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("[", "-").rstrip("]")[:200]
    broker.create_topic(name, 3)
    return name


def source_of(broker: KafkaBroker, topic: str, servers: str = "", **fields: Any) -> gn.DataSource:
    around = {name: fields.pop(name) for name in ("columns", "start", "options", "secrets") if name in fields}
    made = gn.KafkaTopic(topic, servers=servers or broker.servers, **around)
    given = {"id": "id", "event_time": "at", "fields": {"id": "string", "n": gn.Field("int64", min=0)}, **fields}
    return gn.DataSource("events", kafka=made, **given)


def event(number: int, n: Any = 1, at: str = AT) -> str:
    return json.dumps({"id": f"e{number}", "at": at, "n": n})


def ids(offline: DeltaTables) -> list[str]:
    return sorted(offline.read("events", columns=["id"])["id"].to_pylist())


def test_messages_are_rows_and_are_read_once(
    any_broker: KafkaBroker, take_in: TakeIn, offline: DeltaTables
) -> None:  # fmt: skip
    broker, topic = any_broker, "once"
    broker.create_topic(topic, 3)
    source = source_of(broker, topic)
    broker.send(topic, event(1), event(2), event(1))
    broker.send(topic, event(3), event(2), event(1, n=7), partition=2)
    first, second = take_in(source), take_in(source)
    assert (first.rows_read, first.rows_added, first.duplicates, first.corrections) == (6, 4, 2, 1)
    assert (second.rows_read, second.rows_added) == (0, 0)
    assert ids(offline) == ["e1", "e1", "e2", "e3"]
    broker.send(topic, event(4), partition=1)
    assert take_in(source).rows_added == 1


BAD = {
    "tombstone": [None],
    "json": [b"", b"  ", b"no json", b"[1]", b"\xff\xfe", b'{"id": "a\nb"}', b'{"id":"x","id":"y"}', b'"text"'],
    "zone:at": [json.dumps({"id": "z", "at": "2025-06-01 00:00:00", "n": 1})],
    "null_id": [json.dumps({"at": AT, "n": 1})],
    "type:n": [event(1, n="many")],
    "min:n": [event(1, n=-1)],
    "future": [event(1, at="2199-01-01T00:00:00Z")],
}


def test_what_is_no_row_is_in_quarantine_with_its_place(
    broker: KafkaBroker, topic: str, take_in: TakeIn, rejects: Callable[[str], list[dict[str, Any]]]
) -> None:
    values = [value for group in BAD.values() for value in group]
    broker.send(topic, *values, partition=1)
    broker.send(topic, *values, partition=2)
    broker.send(topic, json.dumps({"id": "good", "at": AT, "n": 1}, indent=2), b"\xef\xbb\xbf" + event(2).encode())
    done = take_in(source_of(broker, topic))
    assert done.rows_added == 2
    assert dict(done.quarantined) == {rule: 2 * len(group) for rule, group in BAD.items()}
    found = rejects("events")
    places = [(f"topic {topic}, partition {p}", n) for p in (1, 2) for n in range(len(values))]
    assert [(row["file"], row["line"]) for row in found] == places
    assert {row["rule"]: row["raw"] for row in found}["min:n"] == event(1, n=-1)
    assert json.loads(found[0]["raw"]) == {"key": None, "value": None}
    assert len({row["_event_id"] for row in found}) == len(found)


def test_only_messages_whose_times_have_no_zone_block_nothing(
    broker: KafkaBroker, topic: str, take_in: TakeIn
) -> None:  # fmt: skip
    broker.send(topic, event(1, at="2025-06-01 00:00:00"), event(2, at="2025-06-01 00:00:00"))
    assert dict(take_in(source_of(broker, topic)).quarantined) == {"zone:at": 2}


def test_columns_around_the_value(broker: KafkaBroker, topic: str, take_in: TakeIn, offline: DeltaTables) -> None:
    columns = {"device": "key", "at": "timestamp", "part": "partition", "place": "offset", "trace": "header:trace"}
    source = source_of(
        broker, topic, columns=columns, id=("part", "place"), fields={"device": "int64", "n": "int64"}
    )  # fmt: skip
    sent_ms = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1000)
    headers = [("trace", b"old"), ("trace", "né"), ("other", b"\xff")]
    broker.send(topic, b'{"n": 1, "device": "in the value"}', key="7", timestamp=sent_ms, headers=headers, partition=2)
    broker.send(topic, b'{"n": 2}', timestamp=sent_ms, partition=2)
    broker.send(topic, b'{"n": 3}', timestamp=sent_ms, key=b"\xff", partition=2)
    broker.send(topic, b'{"n": 4}', timestamp=sent_ms, headers=[("trace", b"\xff")], partition=2)
    done = take_in(source)
    assert dict(done.quarantined) == {"text": 2}
    rows = offline.read("events", columns=["_event_id", "device", "at", "part", "place", "trace", "n"]).sort_by("n")
    at = datetime(2025, 6, 1, tzinfo=UTC)
    assert [list(row.values()) for row in rows.to_pylist()] == [
        ["2|0", 7, at, 2, 0, "né", 1], ["2|1", None, at, 2, 1, None, 2],
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.* is deprecated. Use files:DeprecationWarning")
def test_another_client_sends_compressed(
    broker: KafkaBroker, topic: str, take_in: TakeIn, offline: DeltaTables
) -> None:  # fmt: skip
    """kafka-python shares no code with librdkafka."""
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=broker.servers, compression_type="gzip", linger_ms=50)
    for number in range(100):
        producer.send(topic, event(number).encode(), partition=number % 3)
    producer.flush()
    producer.close()
    assert take_in(source_of(broker, topic)).rows_added == 100


def test_rules_of_the_contract(broker: KafkaBroker, topic: str, take_in: TakeIn) -> None:
    contract = [gn.Between("n", 0, 1, name="small", severity="warn"), gn.InSet("id", ["e0", "e1", "e2"])]
    broker.send(topic, *(event(n, n=n) for n in range(4)))
    done = take_in(source_of(broker, topic, contract=contract))
    assert (done.rows_added, dict(done.quarantined)) == (3, {"in_set:id": 1})
    assert [(each["rule"], each["checked"], each["violations"]) for each in done.contract] == [
        ("small", 3, 1), ("in_set:id", 4, 1),
    ]  # fmt: skip


def test_types_are_found_in_the_messages(
    broker: KafkaBroker, topic: str, take_in: TakeIn, offline: DeltaTables
) -> None:  # fmt: skip
    broker.send(topic, b"bad", *(event(n, n=n / 2) for n in range(5)))
    take_in(source_of(broker, topic, fields={}))
    assert offline.schema("events").field("n").type == pa.float64()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 20])
def test_the_newest_position_is_found(size: int, offline: DeltaTables) -> None:
    source = gn.DataSource("events", kafka=gn.KafkaTopic("t", servers="k:1"), id="id", event_time="at")
    rows = pa.table({"_event_time": pa.array([], pa.timestamp("us", "UTC"))})
    for number in range(size):
        note = {"kafka": {"number": number, "next_offsets": {3: number}, "lost": {}, "skipped": {}}}
        offline.append("events", rows, f"kafka:t:{number}", note=note)
    position = stored_position(source, offline)
    assert position.number == size - 1
    assert position.next_offsets == ({3: size - 1} if size else {})


def test_two_readers_of_one_topic_add_nothing_twice(
    broker: KafkaBroker, topic: str, offline: DeltaTables, clock: HandClock
) -> None:  # fmt: skip
    source, limits = source_of(broker, topic), FetchLimits(rows=1)
    with (
        closing(TopicIntake(source, SCHEMA, offline, clock, limits)) as one,
        closing(TopicIntake(source, SCHEMA, offline, clock, limits)) as other,
    ):
        committed = 0
        for number in range(9):
            broker.send(topic, event(number), b"bad", partition=number % 3)
            for intake in (one, other, one) if number % 2 else (other, one, other):
                done = intake.step(0.1)
                committed += 0 if done is None else done.counts.rows_read
        for intake in (one, other) * 10:
            done = intake.step(0.1)
            committed += 0 if done is None else done.counts.rows_read
    assert committed == 18
    assert ids(offline) == [f"e{number}" for number in range(9)]
    assert offline.read("events__quarantine").num_rows == 9


def test_latest_begins_with_what_comes_after_the_first_look(
    broker: KafkaBroker, topic: str, offline: DeltaTables, clock: HandClock
) -> None:  # fmt: skip
    source = source_of(broker, topic, start="latest")
    broker.send(topic, event(1))
    with closing(TopicIntake(source, SCHEMA, offline, clock)) as intake:
        intake.step(0.1)
    broker.send(topic, event(2))  # nobody reads now; what is stored says where to go on
    with closing(TopicIntake(source, SCHEMA, offline, clock)) as intake:
        while (done := intake.step(5.0)) is None:
            pass
    assert done.counts.rows_added == 1
    assert ids(offline) == ["e2"]


def test_messages_that_were_deleted_unread_are_counted(
    broker: KafkaBroker, topic: str, offline: DeltaTables, clock: HandClock, take_in: TakeIn
) -> None:  # fmt: skip
    source = source_of(broker, topic)
    broker.send(topic, event(1))
    take_in(source)
    broker.send(topic, *(event(n) for n in range(2, 8)))
    broker.trim(topic, 0, 4)
    take_in(source)
    assert ids(offline) == ["e1", "e5", "e6", "e7"]
    broker.send(topic, event(8), event(9))
    broker.trim(topic, 0, 8)
    take_in(source)
    assert stored_position(source, offline).lost == {0: 4}


def test_offsets_without_a_message_are_counted_and_hold_up_nothing(
    broker: KafkaBroker, topic: str, offline: DeltaTables, take_in: TakeIn
) -> None:  # fmt: skip
    for sent in ((0,), (1, 2), (3,)):
        broker.send(topic, *(event(number) for number in sent))
    broker.compact(topic, 0, 1)
    source = source_of(broker, topic)
    take_in(source)
    assert ids(offline) == ["e0", "e3"]
    assert stored_position(source, offline).skipped == {0: 2}


def test_the_mock_deletes_what_exceeds_five_megabytes(
    tmp_path: Path, offline: DeltaTables, take_in: TakeIn
) -> None:  # fmt: skip
    with running(MockBroker(tmp_path)) as broker:
        broker.create_topic("t")
        source = source_of(broker, "t")
        broker.send("t", event(1))
        take_in(source)
        for number in range(14):
            broker.send("t", json.dumps({"id": f"big{number}", "at": AT, "n": 1, "filling": "x" * 500_000}))
        report = take_in(source)
        position = stored_position(source, offline)
        assert position.lost[0] > 0
        assert position.lost[0] + report.rows_added == 14


class FullTables(DeltaTables):
    """Has no space for the rows of the source while told so."""

    full = False

    def append(self, table: str, *values: Any, **options: Any) -> Any:
        if self.full and table == "events":
            raise OutOfSpace("the disk is full")
        return super().append(table, *values, **options)


def test_a_full_disk_makes_messages_wait(broker: KafkaBroker, tmp_path: Path, clock: HandClock) -> None:
    offline = FullTables(tmp_path / "tables")
    with following(broker, offline, clock, "full") as read:
        offline.full = True
        broker.send("full", *(event(n) for n in range(50)), b"bad")
        read.until(lambda: "disk is full" in read.error())
        offline.full = False
        read.until(lambda: offline.read("events").num_rows == 50)
    assert offline.read("events__quarantine").num_rows == 1
    figures = read.figures()
    assert figures["error"] == ""
    assert figures["partitions"]["0"] == {"next": 51, "first": 0, "end": 51, "lag": 0}
    assert figures["watermark_us"] == int(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1e6)


def test_a_broker_that_is_killed_and_comes_back(tmp_path: Path, offline: DeltaTables, clock: HandClock) -> None:
    with running(KafkaBroker(tmp_path / "kafka")) as broker, following(broker, offline, clock) as read:
        broker.send("t", event(1))
        read.until(lambda: ids(offline) == ["e1"])
        broker.kill()
        read.until(lambda: "does not answer" in read.error())
        broker.start()
        broker.send("t", event(2), partition=1)
        read.until(lambda: ids(offline) == ["e1", "e2"])
        read.until(lambda: read.error() == "")
        assert stored_position(read.source, offline).rereads == 0


def test_a_broker_that_hangs(tmp_path: Path, offline: DeltaTables, clock: HandClock) -> None:
    with running(KafkaBroker(tmp_path / "kafka")) as broker, following(broker, offline, clock) as read:
        assert broker.process is not None
        broker.send("t", event(1))
        read.until(lambda: ids(offline) == ["e1"])
        broker.process.send_signal(signal.SIGSTOP)
        read.until(lambda: "does not answer" in read.error())
        broker.process.send_signal(signal.SIGCONT)
        broker.send("t", event(2))
        read.until(lambda: ids(offline) == ["e1", "e2"])


def test_another_cluster_at_the_same_address_is_read_from_its_beginning(
    tmp_path: Path, offline: DeltaTables, clock: HandClock
) -> None:  # fmt: skip
    """The mock keeps nothing: what comes back after a kill is another cluster, whose offsets mean other messages."""
    with running(MockBroker(tmp_path)) as broker:
        source = source_of(broker, "t")
        for numbers in ((1, 2, 3), (2, 3, 4, 5)):
            broker.create_topic("t")
            broker.send("t", *(event(n) for n in numbers))
            with closing(TopicIntake(source, SCHEMA, offline, clock)) as intake:
                while intake.position.next_offsets.get(0, 0) < len(numbers):
                    intake.step(0.5)
            if numbers[0] == 1:
                broker.kill()
                broker.start()
    assert ids(offline) == ["e1", "e2", "e3", "e4", "e5"]
    assert stored_position(source, offline).rereads == 1


def test_a_partition_that_is_added_is_read_from_its_first_message(
    broker: KafkaBroker, offline: DeltaTables, clock: HandClock
) -> None:  # fmt: skip
    with following(broker, offline, clock, "added", start="latest") as read:
        read.until(lambda: offline.version("events") == 0)
        broker.send("added", event(1))
        read.until(lambda: ids(offline) == ["e1"])
        broker.create_topic("added", 4)
        broker.send("added", event(2), partition=3)
        read.until(lambda: ids(offline) == ["e1", "e2"])


def test_a_topic_that_is_deleted_and_made_again(broker: KafkaBroker, offline: DeltaTables, clock: HandClock) -> None:
    """Also when the new one is longer than the old one was read: only its id tells that its offsets are others."""
    with following(broker, offline, clock, "again") as read:
        broker.send("again", event(1), event(2))
        read.until(lambda: ids(offline) == ["e1", "e2"])
        broker.delete_topic("again")
        read.until(lambda: "there is no topic 'again'" in read.error())
        broker.create_topic("again")
        broker.send("again", *(event(n) for n in range(2, 6)))
        read.until(lambda: ids(offline) == ["e1", "e2", "e3", "e4", "e5"])
        read.until(lambda: read.error() == "")
        assert stored_position(read.source, offline).rereads == 1


def test_a_partition_that_lost_its_end_is_read_anew(
    broker: KafkaBroker, offline: DeltaTables, clock: HandClock
) -> None:  # fmt: skip
    with following(broker, offline, clock, "lost") as read:
        broker.send("lost", event(1))
        broker.send("lost", event(2))
        read.until(lambda: ids(offline) == ["e1", "e2"])
        broker.truncate("lost", 0, 1)
        read.until(lambda: stored_position(read.source, offline).rereads == 1)
        broker.send("lost", event(3))
        read.until(lambda: ids(offline) == ["e1", "e2", "e3"])


def test_messages_that_are_damaged_at_the_broker_are_told_and_not_jumped(
    tmp_path: Path, offline: DeltaTables, clock: HandClock
) -> None:  # fmt: skip
    with running(KafkaBroker(tmp_path / "kafka")) as broker, following(broker, offline, clock) as read:
        broker.send("t", event(1))
        read.until(lambda: offline.version("events") > 0)
        read.stream.close()  # what it fetched before would be whole; the next step connects again
        zipped = broker.producer(**{"compression.type": "gzip", "linger.ms": 100})
        for number in range(20):
            zipped.produce("t", event(number, n=number), partition=0)
        assert zipped.flush(30) == 0
        broker.kill()
        damage(broker.folder / "messages" / "t" / "0.log")
        broker.start()
        read.until(lambda: "are damaged at the broker" in read.error())
        assert "topic t, partition 0, from offset" in read.error()
        before = stored_position(read.source, offline).next_offsets[0]
        broker.send("t", event(30))
        broker.trim("t", 0, 21)
        read.until(lambda: "e30" in ids(offline))
        read.until(lambda: read.error() == "")
        assert stored_position(read.source, offline).lost == {0: 21 - before}


def damage(log: Path) -> None:
    """Overwrite a part of every batch that is compressed by gzip."""
    data, start = bytearray(log.read_bytes()), 0
    while (start := data.find(b"\x1f\x8b\x08", start + 1)) > 0:
        data[start + 12 : start + 20] = bytes(8)
    log.write_bytes(data)


class Following:
    """A topic that is read into tables, step by step."""

    def __init__(self, source: gn.DataSource, offline: DeltaTables, clock: HandClock) -> None:
        self.source, self.states = source, MemoryStates()
        self.stream = TopicStream(source, SCHEMA, offline, self.states, clock)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline_s, self.states.get(TOPIC, "events")
            time.sleep(min(self.stream.step(), 0.2))

    def figures(self) -> dict[str, Any]:
        return dict(self.states.get(TOPIC, "events") or {"error": ""})

    def error(self) -> str:
        return str(self.figures()["error"])


@contextmanager
def following(
    broker: KafkaBroker, offline: DeltaTables, clock: HandClock, topic: str = "t", **fields: Any
) -> Iterator[Following]:  # fmt: skip
    broker.create_topic(topic, 2)
    made = Following(source_of(broker, topic, **fields), offline, clock)
    made.stream.step()
    try:
        yield made
    finally:
        made.stream.close()


def test_what_is_wrong_is_said_before_anything_is_read(
    broker: KafkaBroker, topic: str, take_in: TakeIn, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    with pytest.raises(NotFound, match="there is no topic") as missing:
        take_in(source_of(broker, topic + "x"))
    assert topic in missing.value.hint
    with pytest.raises(Unavailable, match="does not answer"):
        take_in(source_of(broker, topic, servers="127.0.0.1:1"))
    with pytest.raises(InvalidInput, match="TAPS_PASSWORD is not set"):
        take_in(source_of(broker, topic, secrets={"sasl.password": "TAPS_PASSWORD"}))
    with pytest.raises(InvalidInput, match="refuses its properties"):
        take_in(source_of(broker, topic, options={"security.protocol": "telepathy"}))
    with pytest.raises(InvalidInput, match="holds no JSON object") as empty:
        take_in(source_of(broker, topic, fields={}))
    assert "fields=" in empty.value.hint
    broker.send(topic, event(1))
    with pytest.raises(InvalidDefinition, match="has a column 'event'"):
        take_in(source_of(broker, topic, id="event", fields={}))
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(InvalidInput, match="not installed") as absent:
        take_in(source_of(broker, topic))
    assert absent.value.hint == "pip install 'gnomon[kafka]'"


def test_no_more_is_held_than_the_bound(tmp_path: Path, offline: DeltaTables) -> None:
    """The client reads ahead up to its bound, and stops while nobody takes messages from it."""
    with running(KafkaBroker(tmp_path / "kafka")) as broker:
        broker.create_topic("t")
        for _ in range(15):
            broker.send("t", *(json.dumps({"id": "e", "filling": "x" * 500_000}) for _ in range(20)))
        with closing(TopicReader(source_of(broker, "t"))) as reader:
            before_bytes = resident_bytes()
            position = reader.begin(TopicPosition())
            fetch = reader.read(position, FetchLimits(rows=1), 10.0)
            time.sleep(3.0)
            grown = resident_bytes() - before_bytes - sum(len(each.value() or b"") for each in fetch.messages)
        assert len(fetch.messages) < 300
        assert grown < 96 * 2**20, f"{grown:,} of 150,000,000 bytes are held"


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
