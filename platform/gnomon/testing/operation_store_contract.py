"""What every `OperationStore` must do. A test class derives from this one and overrides `open_store`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from gnomon.contracts.operations import FINAL, OperationStore
from gnomon.errors import Conflict, InvalidInput, NotFound
from gnomon.testing.races import race

RACERS = 4


class OperationStoreContract:
    """The contract of `OperationStore`."""

    @pytest.fixture
    def open_store(self) -> Callable[[], AbstractContextManager[OperationStore]]:
        """Return a picklable opener of one empty store, shared by all who open it."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: Callable[[], AbstractContextManager[OperationStore]]) -> Iterator[OperationStore]:
        """The store, opened in this process."""
        with open_store() as store:
            yield store

    def test_submit_stores_the_intent(self, store: OperationStore) -> None:
        made = store.submit("train", "fraud", {"seed": 7, "of": ["a", None]}, actor="ann")
        assert store.get(made.id) == made
        assert (made.state, made.lease, made.attempts, made.actor) == ("pending", 0, 0, "ann")
        assert made.arguments == {"seed": 7, "of": ["a", None]}
        assert made.created is not None
        assert made.created == made.updated
        assert made.created.utcoffset() is not None

    def test_made_ids_are_unique_and_sort_by_time(self, store: OperationStore) -> None:
        ids = [store.submit("train", "fraud", {}, actor="ann").id for _ in range(20)]
        assert len(set(ids)) == 20
        assert {len(i) for i in ids} == {26}
        assert {i[:10] for i in ids} == {min(ids)[:10]} or sorted(ids, key=lambda i: i[:10]) == ids

    def test_same_id_and_content_is_the_same_operation(self, store: OperationStore) -> None:
        first = store.submit("ingest", "payments", {"a": 1, "b": 2}, actor="ann", operation_id="mine")
        again = store.submit("ingest", "payments", {"b": 2, "a": 1}, actor="bob", operation_id="mine")
        assert again == first
        assert len(store.list()) == 1

    def test_repeat_after_the_end_returns_the_end(self, store: OperationStore) -> None:
        store.submit("train", "fraud", {}, actor="ann", operation_id="mine")
        store.lease("mine", 0)
        store.finish("mine", 1, result={"version": 3})
        assert store.submit("train", "fraud", {}, actor="ann", operation_id="mine").result == {"version": 3}

    @pytest.mark.parametrize(
        ("kind", "target", "arguments"),
        [("train", "payments", {"a": 1}), ("ingest", "other", {"a": 1}), ("ingest", "payments", {"a": 2})],
    )
    def test_same_id_other_content_conflicts(self, store: OperationStore, kind, target, arguments) -> None:  # type: ignore[no-untyped-def]
        first = store.submit("ingest", "payments", {"a": 1}, actor="ann", operation_id="mine")
        with pytest.raises(Conflict, match="mine"):
            store.submit(kind, target, arguments, actor="ann", operation_id="mine")
        assert store.list() == [first]

    @pytest.mark.parametrize("value", [float("nan"), object(), {1: 2, "a": 3}])
    def test_what_is_not_json_is_refused(self, store: OperationStore, value: object) -> None:
        with pytest.raises(InvalidInput, match="not JSON"):
            store.submit("train", "fraud", {"x": value}, actor="ann")
        assert store.list() == []

    def test_unknown_kind_is_refused_with_a_hint(self, store: OperationStore) -> None:
        with pytest.raises(InvalidInput, match="did you mean 'train'"):
            store.submit("trian", "fraud", {}, actor="ann")  # type: ignore[arg-type]

    def test_unknown_id_is_not_found(self, store: OperationStore) -> None:
        store.submit("train", "fraud", {}, actor="ann", operation_id="mine-1")
        calls: list[Callable[[], object]] = [
            lambda: store.get("mine-2"),
            lambda: store.lease("mine-2", 0),
            lambda: store.report("mine-2", 1, ""),
            lambda: store.finish("mine-2", 1),
            lambda: store.cancel("mine-2"),
        ]
        for call in calls:
            with pytest.raises(NotFound, match="did you mean 'mine-1'"):
                call()

    def test_list_is_newest_first_by_state_and_limited(self, store: OperationStore) -> None:
        for i in range(5):
            store.submit("train", "fraud", {"i": i}, actor="ann", operation_id=str(i))
        store.lease("1", 0)
        store.cancel("2")
        assert [o.id for o in store.list()] == ["4", "3", "2", "1", "0"]
        assert [o.id for o in store.list(limit=2)] == ["4", "3"]
        assert [o.id for o in store.list(states=["running", "pending"])] == ["4", "3", "1", "0"]
        assert store.list(limit=0) == []

    def test_lease_starts_the_next_attempt(self, store: OperationStore) -> None:
        store.submit("train", "fraud", {}, actor="ann", operation_id="mine")
        first = store.lease("mine", 0)
        assert first is not None
        assert (first.state, first.lease, first.attempts) == ("running", 1, 1)
        assert store.lease("mine", 0) is None
        second = store.lease("mine", 1)
        assert second is not None
        assert (second.lease, second.attempts) == (2, 2)
        assert store.get("mine") == second

    def test_only_the_current_lease_writes(self, store: OperationStore) -> None:
        store.submit("train", "fraud", {}, actor="ann", operation_id="mine")
        assert not store.report("mine", 0, "before any attempt")
        assert not store.finish("mine", 0)
        store.lease("mine", 0)
        store.lease("mine", 1)
        before = store.get("mine")
        assert not store.report("mine", 1, "old")
        assert not store.finish("mine", 1, result={"old": True})
        assert store.get("mine") == before
        assert store.report("mine", 2, "epoch 3 of 5")
        assert store.get("mine").progress == "epoch 3 of 5"
        assert store.finish("mine", 2, result={"version": 1})
        assert store.get("mine").result == {"version": 1}

    @pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
    def test_final_states_never_change(self, store: OperationStore, end: str) -> None:
        store.submit("train", "fraud", {}, actor="ann", operation_id="mine")
        store.lease("mine", 0)
        if end == "cancelled":
            store.cancel("mine")
        else:
            assert store.finish("mine", 1, error={"code": "unavailable"} if end == "failed" else None)
        final = store.get("mine")
        assert final.state == end
        assert final.state in FINAL
        assert store.lease("mine", 1) is None
        assert not store.report("mine", 1, "late")
        assert not store.finish("mine", 1, result={})
        assert store.cancel("mine") == final
        assert store.get("mine") == final

    def test_empty_error_is_a_failure(self, store: OperationStore) -> None:
        store.submit("train", "fraud", {}, actor="ann", operation_id="mine")
        store.lease("mine", 0)
        store.finish("mine", 1, error={})
        assert (store.get("mine").state, store.get("mine").error) == ("failed", {})

    def test_survives_reopening(
        self, store: OperationStore, open_store: Callable[[], AbstractContextManager[OperationStore]]
    ) -> None:
        made = store.submit("train", "fraud", {"text": "Zoë ☀ \x00"}, actor="ann")
        with open_store() as other:
            assert other.get(made.id) == made

    def test_one_process_wins_each_lease_and_each_end(
        self, store: OperationStore, open_store: Callable[[], AbstractContextManager[OperationStore]]
    ) -> None:
        rounds = 10
        for i in range(rounds):
            store.submit("train", "fraud", {}, actor="ann", operation_id=f"lease-{i}")
            store.submit("train", "fraud", {}, actor="ann", operation_id=f"end-{i}")
            store.lease(f"end-{i}", 0)
        answers = race(open_store, _lease_and_end, racers=RACERS, rounds=rounds)
        for i, of_round in enumerate(answers):
            leased, ended = zip(*of_round, strict=True)
            assert sum(leased) == 1
            assert sum(ended) == 1
            assert store.get(f"lease-{i}").attempts == 1
            assert store.get(f"end-{i}").result == {"racer": ended.index(True)}

    def test_one_request_sent_by_many_is_one_operation(
        self, store: OperationStore, open_store: Callable[[], AbstractContextManager[OperationStore]]
    ) -> None:
        answers = race(open_store, _submit_same, racers=RACERS, rounds=5)
        assert all(len(set(of_round)) == 1 for of_round in answers)
        assert len(store.list()) == 5


def _lease_and_end(store: OperationStore, number: int, racer: int) -> tuple[bool, bool]:
    leased = store.lease(f"lease-{number}", 0) is not None
    return leased, store.finish(f"end-{number}", 1, result={"racer": racer})


def _submit_same(store: OperationStore, number: int, racer: int) -> str:
    made = store.submit("train", "fraud", {"round": number}, actor=f"racer-{racer}", operation_id=f"same-{number}")
    return made.actor
