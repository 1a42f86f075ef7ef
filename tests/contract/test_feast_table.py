"""What Feast 0.67 was measured to get wrong, row by row: from files to a real online server, and to training rows."""

from __future__ import annotations

import multiprocessing
import random
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.feature_world import FeatureWorld, hour, row

import gnomon as gn
from gnomon.contracts.clocks import to_us
from gnomon.contracts.online_store import Status
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.training_sets import build_training_set
from gnomon.testing.online_rows import NOW_US, layout_of, read, table_of, values_of

MakeWorld = Callable[..., FeatureWorld]
WRITERS, WRITES, ENTITIES, CALL_ROWS = 4, 30_000, 500, 50
RACED = layout_of({"i": "int64"})
LAST: dict[str, Any] = {"features": [gn.Column("amount")]}


@pytest.fixture
def world(tmp_path: Path, url: str) -> MakeWorld:
    def make(*more: Any, **views: Mapping[str, Any]) -> FeatureWorld:
        return FeatureWorld(tmp_path, url, views, *more)

    return make


def test_value_older_than_its_ttl_read_online(world: MakeWorld) -> None:
    made = world(last={**LAST, "max_age": "2h"})
    made.ingest(row("a", 1, at=0, amount=7))
    made.materialize("last", at=1)
    young, old = made.read(["last.amount"], [1], at=1.9), made.read(["last.amount"], [1], at=2)
    assert (values_of(young, "last.amount"), young.status.tolist()) == ([7], [[Status.PRESENT]])
    assert (values_of(old, "last.amount"), old.status.tolist()) == ([None], [[Status.EXPIRED]])
    assert made.join(["last.amount"], (1, 1.9), (1, 2)) == [[7, None]]


def raced_rows(writer: int) -> list[dict[str, int]]:
    """Rows in an order of the writer's own; the greater (event time, known time), the greater the value."""
    dice = random.Random(writer)
    times = [(dice.randrange(ENTITIES), dice.randrange(1_000_000)) for _ in range(WRITES)]
    return [{"id": entity, "at": at, "known": at + writer, "i": at * WRITERS + writer} for entity, at in times]


def race(url: str, project: str, writer: int, start: Any) -> None:
    store, rows = RedisOnlineStore(url, project, 10.0), raced_rows(writer)
    tables = [table_of(RACED, rows[first : first + CALL_ROWS]) for first in range(0, WRITES, CALL_ROWS)]
    start.wait(120)
    for table in tables:
        store.write(RACED, table)


def test_two_writers_race(url: str) -> None:
    """Four processes at once, 120,000 writes."""
    project, context = uuid.uuid4().hex, multiprocessing.get_context("spawn")
    start = context.Barrier(WRITERS)
    processes = [context.Process(target=race, args=(url, project, writer, start)) for writer in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WRITERS
    newest = dict.fromkeys(range(ENTITIES), -1)
    for written in (written for writer in range(WRITERS) for written in raced_rows(writer)):
        newest[written["id"]] = max(newest[written["id"]], written["i"])
    found = read(RedisOnlineStore(url, project, 10.0), [RACED], *newest)
    older = [
        entity for entity, value in zip(newest, values_of(found, "spend.i"), strict=True) if value != newest[entity]
    ]
    assert older == []
    assert (NOW_US - found.age_us[:, 0]).tolist() == [value // WRITERS for value in newest.values()]


def test_older_row_later_in_a_batch_or_late(world: MakeWorld) -> None:
    made = world(last=LAST)
    made.ingest(row("a", 1, at=5, amount=5), row("b", 1, at=3, amount=3))
    made.materialize("last", at=6)
    assert values_of(made.read(["last.amount"], [1], at=6), "last.amount") == [5]
    made.ingest(row("c", 1, at=4, known=7, amount=4))
    assert made.materialize("last", at=8).written_rows == 0
    assert values_of(made.read(["last.amount"], [1], at=8), "last.amount") == [5]
    assert made.join(["last.amount"], (1, 4), (1, 4.5), (1, 5), (1, 8)) == [[3, 3, 5, 5]]


@pytest.mark.parametrize("event_id", ["a", "b"], ids=["of the same event", "by another event"])
def test_correction_with_the_same_timestamp(world: MakeWorld, event_id: str) -> None:
    made = world(last=LAST)
    made.ingest(row("a", 1, at=5, amount=5))
    made.materialize("last", at=6)
    made.ingest(row(event_id, 1, at=5, known=7, amount=50))
    assert made.materialize("last", at=8).written_rows == 1
    assert values_of(made.read(["last.amount"], [1], at=8), "last.amount") == [50]
    assert made.join(["last.amount"], (1, 6), (1, 8)) == [[5, 50]]


def test_newer_null_over_an_older_value(world: MakeWorld) -> None:
    made = world(last={"features": [gn.Column("amount"), gn.Column("note")]})
    made.ingest(row("a", 1, at=5, amount=5, note="x"))
    made.materialize("last", at=5)
    made.ingest(row("b", 1, at=6, amount=None, note="y"))
    made.materialize("last", at=6)
    found = made.read(["last"], [1], at=6)
    assert (values_of(found, "last.amount"), values_of(found, "last.note")) == ([None], ["y"])
    assert found.status.tolist() == [[Status.NULL, Status.PRESENT]]
    assert made.join(["last.amount", "last.note"], (1, 5), (1, 6)) == [[5, None], ["x", "y"]]


def test_int64_beyond_2_53_beside_nulls(world: MakeWorld) -> None:
    made = world(last=LAST, most={"features": [gn.Aggregation("amount", "max", window="9h", name="amount")]})
    amounts = [2**53 + 1, None, -(2**63), 2**63 - 1]
    made.ingest(*(row(f"e{n}", n, at=1, amount=amount) for n, amount in enumerate(amounts)))
    for view in ("last", "most"):
        made.materialize(view, at=2)
        assert values_of(made.read([view], range(4), at=2), f"{view}.amount") == amounts
        assert made.join([f"{view}.amount"], *((n, 2) for n in range(4))) == [amounts]


def test_incremental_materialization_late_rows_arrive(world: MakeWorld) -> None:
    made = world(last=LAST, sum={"features": [gn.Aggregation("amount", "sum", window="9h", name="amount")]})
    made.ingest(row("a", 1, at=1, amount=1))
    for view in ("last", "sum"):
        made.materialize(view, at=3)
    made.ingest(row("b", 1, at=2, known=4, amount=20), row("c", 2, at=2, known=4, amount=300))
    for view, expected in (("last", [20, 300]), ("sum", [21, 300])):
        made.materialize(view, at=5)
        assert values_of(made.read([view], [1, 2], at=5), f"{view}.amount") == expected
        assert made.join([f"{view}.amount"], (1, 5), (2, 5)) == [expected]


def test_stored_null_against_missing_entity(world: MakeWorld) -> None:
    made = world(last=LAST, other=LAST)
    made.ingest(row("a", 1, at=1, amount=None))
    made.materialize("last", at=1)
    found = made.read(["last.amount", "other.amount"], [1, 2], at=2)
    assert found.status.tolist() == [[Status.NULL, Status.MISSING_FEATURE], [Status.MISSING_ENTITY] * 2]
    assert found.age_us.tolist() == [[3_600_000_000, -1], [-1, -1]]


def test_label_rows_with_no_match_and_duplicates(world: MakeWorld) -> None:
    only_large = gn.Aggregation("amount", "sum", window="9h", where=gn.col("amount") > 1, name="large")
    label = gn.Label("paid", source="payments", column="amount", delay="1h", where=gn.col("note").equals("label"))
    model = gn.Model("m", features=["last", "large"], label=label)
    made = world(label, model, last={"features": [gn.Column("note")]}, large={"features": [only_large]})
    labels = [row("l1", 1, at=5, amount=0), row("l2", 1, at=5, amount=1), row("l3", 9, at=5, amount=1)]
    nobody = row("l4", None, at=6, amount=0)
    made.ingest(row("a", 1, at=1, amount=7), *({**each, "note": "label"} for each in [*labels, nobody]))
    asked = [(9, 3), (1, 3), (1, 3), (None, 3), (1, 0)]
    assert made.join(["large.large"], *asked) == [[None, 7, 7, None, None]]
    rows = build_training_set(made.app, "m", made.offline, to_us(hour(9)), resolve=_no_function)
    assert rows.table.column("_event_id").to_pylist() == ["l1", "l2", "l3", "l4"]
    assert rows.table.column("large.large").to_pylist() == [7, 7, None, None]
    assert rows.table.column("label").to_pylist() == [0.0, 1.0, 1.0, 0.0]


def _no_function(name: str) -> Any:
    raise AssertionError(f"no request feature is defined, and '{name}' is asked for")


def murmur3(text: str) -> int:
    """Return the 32-bit MurmurHash3 (x86, seed 0) by which Feast names a field, of `view:feature`."""
    data, mask = text.encode(), 0xFFFFFFFF

    def rotated(number: int, by: int) -> int:
        return (number << by | number >> (32 - by)) & mask

    result = 0
    for start in range(0, len(data), 4):
        part = data[start : start + 4]
        mixed = rotated(int.from_bytes(part, "little") * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
        result ^= mixed
        if len(part) == 4:
            result = (rotated(result, 13) * 5 + 0xE6546B64) & mask
    result ^= len(data)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        result = (result ^ result >> shift) * factor & mask
    return result


def test_two_feature_names_with_one_32_bit_hash(world: MakeWorld) -> None:
    one, two = "f46082", "f182136"
    assert murmur3(f"profile:{one}") == murmur3(f"profile:{two}")
    made = world(profile={"features": [gn.Column("amount", name=one), gn.Column("note", name=two)]})
    made.ingest(row("a", 1, at=1, amount=7, note="x"))
    made.materialize("profile", at=1)
    found = made.read(["profile"], [1], at=1)
    assert (values_of(found, f"profile.{one}"), values_of(found, f"profile.{two}")) == ([7], ["x"])


def test_ttl_of_one_view(world: MakeWorld) -> None:
    made = world(short={**LAST, "max_age": "2h"}, long={**LAST, "max_age": "9h"}, forever=LAST)
    made.ingest(row("a", 1, at=1, amount=7))
    for view in ("short", "long", "forever"):
        made.materialize(view, at=1)
    lookups = ["short.amount", "long.amount", "forever.amount"]
    present, expired = Status.PRESENT, Status.EXPIRED
    for at, status in ((2, [present] * 3), (3, [expired, present, present]), (10, [expired, expired, present])):
        found = made.read(lookups, [1], at=at)
        values = [7 if each == present else None for each in status]
        assert (found.status.tolist(), [values_of(found, lookup)[0] for lookup in lookups]) == ([status], values)
        assert [column[0] for column in made.join(lookups, (1, at))] == values
