"""Pushed rows: judged, deduplicated and committed once each, on real Delta tables."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gnomon.contracts.clocks import HandClock
from gnomon.contracts.columns import EVENT_ID, Dtype
from gnomon.contracts.offline_store import Commit
from gnomon.contracts.sources import DataSource, FieldSpec
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.push_batches import Push, PushReport
from gnomon.data.pushing import Pusher, PushLimits
from gnomon.errors import Conflict, InvalidInput, Overloaded, Unavailable
from gnomon.storage.delta_tables import DeltaTables

SOURCE = DataSource("events", path="*.jsonl", id="id", event_time="at", fields={"n": FieldSpec("int64", min=0)})
SCHEMA: dict[str, Dtype] = {"id": "string", "at": "timestamp", "n": "int64"}


def line(event_id: str | None, n: Any, at: str = "2025-06-01T00:00:00Z") -> dict[str, Any]:
    return {"id": event_id, "at": at, "n": n}


def push_of(*rows: dict[str, Any], batch_id: str = "") -> Push:
    return Push("".join(json.dumps(row) + "\n" for row in rows).encode(), batch_id)


class SlowTables(DeltaTables):
    """Waits before every commit to the source's table until it may go on."""

    may_commit = threading.Event()

    def append(self, table: str, *values: Any, **options: Any) -> Commit:
        if table == "events":
            assert self.may_commit.wait(30)
        return super().append(table, *values, **options)


@pytest.fixture
def made(offline: DeltaTables, clock: HandClock) -> Iterator[Callable[..., Pusher]]:
    pushers: list[Pusher] = []

    def make(store: DeltaTables = offline, **limits: Any) -> Pusher:
        pushers.append(Pusher(lambda name: (SOURCE, SCHEMA), store, clock, PushLimits(**limits)))
        return pushers[-1]

    yield make
    SlowTables.may_commit.set()
    for pusher in pushers:
        pusher.close()


def done(pusher: Pusher, push: Push) -> PushReport:
    return pusher.push("events", push).result(timeout=30)


def stored(offline: DeltaTables) -> list[tuple[str, int]]:
    rows = offline.read("events", columns=[EVENT_ID, "n"]).to_pylist()
    return sorted((row[EVENT_ID], row["n"]) for row in rows)


def test_rows_are_accepted_known_or_quarantined(made: Callable[..., Pusher], offline: DeltaTables) -> None:
    pusher = made()
    first = done(pusher, push_of(line("a", 1), line("b", -1), line("a", 1), line(None, 3), line("c", "x")))
    assert (first.accepted, first.duplicates, first.quarantined) == (1, 1, 3)
    assert [(r.line, r.rule) for r in first.rejects] == [(2, "min:n"), (4, "null_id"), (5, "type:n")]
    second = done(pusher, push_of(line("a", 1), line("a", 2), line("d", 4)))
    assert (second.accepted, second.duplicates, second.quarantined) == (2, 1, 0)
    assert stored(offline) == [("a", 1), ("a", 2), ("d", 4)]
    rejects = offline.read("events__quarantine").to_pylist()
    assert sorted((r["line"], r["file"]) for r in rejects) == [(2, "the push"), (4, "the push"), (5, "the push")]


def test_a_resend_is_answered_like_the_first_one(made: Callable[..., Pusher], offline: DeltaTables) -> None:
    push = push_of(line("a", 1), line("b", -1), batch_id="one")
    first = done(made(), push)
    again = done(made(), push)  # another process, as far as a pusher can tell
    assert (again.accepted, again.duplicates, again.quarantined, again.repeated) == (1, 0, 1, True)
    assert (again.rejects, again.version) == (first.rejects, first.version)
    assert (stored(offline), offline.read("events__quarantine").num_rows) == ([("a", 1)], 1)
    with pytest.raises(Conflict, match="pushed before with other rows"):
        done(made(), push_of(line("z", 1), batch_id="one"))


def test_those_that_wait_together_share_a_commit(made: Callable[..., Pusher], offline: DeltaTables) -> None:
    pusher = made(wait_s=0.5)
    sent = [push_of(line(f"e{n}", n), batch_id=f"b{n % 4}") for n in (1, 2, 3, 5)]
    answers = [pusher.push("events", push) for push in (*sent, sent[0], push_of(line("e0", 0)))]
    reports = [answer.exception(30) or answer.result() for answer in answers]
    assert offline.version("events") == 0
    assert isinstance(reports.pop(3), Conflict)  # b1 again, with other rows
    assert [(r.accepted, r.repeated) for r in reports if isinstance(r, PushReport)] == [
        (1, False), (1, False), (1, False), (1, True), (1, False),
    ]  # fmt: skip
    assert stored(offline) == [("e0", 0), ("e1", 1), ("e2", 2), ("e3", 3)]


def test_members_that_are_no_columns_are_named(made: Callable[..., Pusher], offline: DeltaTables) -> None:
    rows = [line("a", 1) | {"shop": "mill", "nn": 2}, line("b", 2) | {"till": 3}, line("c", 3)]
    report = done(made(), push_of(*rows, batch_id="one"))
    assert (report.accepted, report.undeclared) == (3, ("nn", "shop", "till"))
    assert done(made(), push_of(*rows, batch_id="one")).undeclared == ("nn", "shop", "till")
    broken = Push(json.dumps(line("d", 4)).encode() + b"\nno object\n[1]\n")
    assert done(made(), broken).undeclared == ()
    assert stored(offline) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_what_does_not_fit_the_queue_is_refused_whole(made: Callable[..., Pusher], tmp_path: Path) -> None:
    store = SlowTables(tmp_path / "slow")
    store.may_commit.clear()
    pusher = made(store, queued_rows=5)
    kept = [pusher.push("events", push_of(line("a", 1))), pusher.push("events", push_of(line("b", 2)))]
    with pytest.raises(Overloaded, match="rows"):
        pusher.push("events", push_of(*(line(f"c{n}", n) for n in range(5))))
    store.may_commit.set()
    assert [answer.result(timeout=30).accepted for answer in kept] == [1, 1]
    assert done(pusher, push_of(line("c", 3))).accepted == 1
    assert stored(store) == [("a", 1), ("b", 2), ("c", 3)]


def test_a_push_that_is_wrong_as_a_whole_harms_no_other(made: Callable[..., Pusher], offline: DeltaTables) -> None:
    pusher = made(wait_s=0.5)
    wrong = pusher.push("events", push_of(line("a", 1, at="2025-06-01T00:00:00")))
    right = pusher.push("events", push_of(line("b", 2)))
    with pytest.raises(InvalidInput, match="have no zone"):
        wrong.result(timeout=30)
    assert right.result(timeout=30).accepted == 1
    assert stored(offline) == [("b", 2)]


def test_files_and_pushes_know_each_others_rows(
    made: Callable[..., Pusher], take_in: Callable[..., IngestReport], root: Path, offline: DeltaTables
) -> None:  # fmt: skip
    done(made(), push_of(line("a", 1), line("b", 2)))
    (root / "late.jsonl").write_text(json.dumps(line("b", 2)) + "\n" + json.dumps(line("c", 3)) + "\n")
    report = take_in(SOURCE, schema=SCHEMA)
    assert (report.rows_added, report.duplicates) == (1, 1)
    assert done(made(), push_of(line("c", 3))).duplicates == 1
    assert stored(offline) == [("a", 1), ("b", 2), ("c", 3)]


def test_a_closed_pusher_has_committed_and_takes_no_more(made: Callable[..., Pusher], offline: DeltaTables) -> None:
    pusher = made(wait_s=0.5)
    answer = pusher.push("events", push_of(line("a", 1)))
    pusher.close()
    assert answer.result(timeout=0).accepted == 1
    with pytest.raises(Unavailable, match="stopping"):
        pusher.push("events", push_of(line("b", 2)))


def test_many_at_once_are_all_stored_once(made: Callable[..., Pusher], offline: DeltaTables) -> None:
    pusher = made(wait_s=0.005)
    accepted: list[int] = []

    def work(worker: int) -> None:
        for n in range(10):
            rows = [line(f"shared{n}", n), line(f"w{worker}-{n}", n)]
            accepted.append(done(pusher, push_of(*rows, batch_id=f"{worker}-{n}")).accepted)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(accepted), len(stored(offline))) == (90, 90)
    assert offline.version("events") < 79


def test_a_caller_that_leaves_does_not_end_the_thread_for_the_others(
    made: Callable[..., Pusher], offline: DeltaTables
) -> None:
    pusher = made(wait_s=0.2)
    left, stays = pusher.push("events", push_of(line("a", 1))), pusher.push("events", push_of(line("b", 2)))
    left.cancel()
    assert stays.result(timeout=30).accepted == 1
    assert done(pusher, push_of(line("c", 3))).accepted == 1
    assert stored(offline) == [("a", 1), ("b", 2), ("c", 3)]


def test_a_push_above_the_bound_has_its_turn_when_nothing_waits(made: Callable[..., Pusher]) -> None:
    assert done(made(queued_rows=2), push_of(*(line(f"e{n}", n) for n in range(5)))).accepted == 5
