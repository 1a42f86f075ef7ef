"""What every `DefinitionStore` and `StateStore` must do. Test classes derive from these and override `open_store`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, cast

import pytest

from gnomon.contracts.apps import App
from gnomon.contracts.columns import Dtype
from gnomon.contracts.entities import Entity
from gnomon.contracts.features import Aggregation, FeatureView
from gnomon.contracts.platform_state import DefinitionStore, StateStore
from gnomon.contracts.sources import DataSource
from gnomon.errors import Conflict, InvalidInput, NotFound
from gnomon.testing.races import race

RACERS = 4

DefinitionsOpener = Callable[[], AbstractContextManager[DefinitionStore]]
StatesOpener = Callable[[], AbstractContextManager[StateStore]]


def small_app(name: str, window: str = "7d", prefix: str = "") -> App:
    """Return an app of one entity, source and view, with its column types."""
    # Definitions take short forms (a spec for its name, "7d" for a duration) that a type checker does not know.
    entity, source, view, aggregation = (cast(Any, kind) for kind in (Entity, DataSource, FeatureView, Aggregation))
    customer = entity(f"{prefix}customer", key="customer_id")
    payments = source(f"{prefix}payments", path="payments.parquet", id="tx_id", event_time="paid_at")
    mean = aggregation("amount", "mean", window=window)
    spend = view(f"{prefix}spend", entity=customer, source=payments, features=[mean])
    schema: dict[str, Dtype] = {"tx_id": "int64", "paid_at": "timestamp", "customer_id": "string", "amount": "float64"}
    return App.of(name, [spend], code="c" * 64, root="/apps").with_schemas({payments.name: schema})


class DefinitionStoreContract:
    """The contract of `DefinitionStore`."""

    @pytest.fixture
    def open_store(self) -> DefinitionsOpener:
        """Return a picklable opener of one empty store, shared by all who open it."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: DefinitionsOpener) -> Iterator[DefinitionStore]:
        """The store, opened in this process."""
        with open_store() as store:
            yield store

    def test_nothing_is_applied_at_first(self, store: DefinitionStore) -> None:
        assert store.current("fraud") is None
        assert store.apps() == []

    def test_app_comes_back_whole(self, store: DefinitionStore, open_store: DefinitionsOpener) -> None:
        app = small_app("fraud")
        applied = store.apply(app, actor="ann")
        assert (applied.revision, applied.app, applied.app_hash) == (1, app, app.content_hash())
        with open_store() as other:
            assert other.current("fraud") == applied
            assert other.revision(applied.app_hash) == applied
        current = store.current("fraud")
        assert current is not None
        assert current.app.content_hash() == applied.app_hash

    def test_equal_app_keeps_its_revision(self, store: DefinitionStore) -> None:
        first = store.apply(small_app("fraud"), actor="ann")
        assert store.apply(small_app("fraud"), actor="bob", expected_revision=0) == first
        assert store.apps() == [first]

    def test_moved_app_file_keeps_its_revision_and_gets_its_root(self, store: DefinitionStore) -> None:
        store.apply(small_app("fraud"), actor="ann")
        moved = replace(small_app("fraud"), root="/elsewhere")
        assert store.apply(moved, actor="ann").revision == 1
        current = store.current("fraud")
        assert current is not None
        assert (current.revision, current.app.root) == (1, "/elsewhere")

    def test_change_is_the_next_revision(self, store: DefinitionStore) -> None:
        first = store.apply(small_app("fraud"), actor="ann")
        second = store.apply(small_app("fraud", "1d"), actor="ann", expected_revision=1)
        assert second.revision == 2
        assert store.current("fraud") == second
        assert store.revision(first.app_hash) == first
        third = store.apply(small_app("fraud"), actor="ann")
        assert third.revision == 3
        assert store.revision(first.app_hash).revision == 3

    @pytest.mark.parametrize("expected", [0, 2])
    def test_other_revision_than_expected_conflicts(self, store: DefinitionStore, expected: int) -> None:
        first = store.apply(small_app("fraud"), actor="ann")
        with pytest.raises(Conflict, match="revision 1, not"):
            store.apply(small_app("fraud", "1d"), actor="ann", expected_revision=expected)
        assert store.current("fraud") == first

    def test_name_of_another_app_conflicts_and_changes_nothing(self, store: DefinitionStore) -> None:
        store.apply(small_app("fraud"), actor="ann")
        with pytest.raises(Conflict, match=r"'customer' is already defined by app 'fraud'"):
            store.apply(small_app("churn"), actor="bob")
        assert [a.app.name for a in store.apps()] == ["fraud"]
        store.apply(small_app("churn", prefix="c_"), actor="bob")
        assert [a.app.name for a in store.apps()] == ["churn", "fraud"]

    def test_dropped_name_is_free_again(self, store: DefinitionStore) -> None:
        store.apply(small_app("fraud"), actor="ann")
        store.apply(small_app("fraud", prefix="f_"), actor="ann")
        assert store.apply(small_app("churn"), actor="bob").revision == 1

    def test_revisions_are_kept_newest_first(self, store: DefinitionStore) -> None:
        assert store.revisions("fraud") == []
        windows = ["7d", "1d", "7d"]
        for window in windows:
            store.apply(small_app("fraud", window), actor="ann")
        store.apply(small_app("churn", prefix="c_"), actor="ann")
        found = store.revisions("fraud")
        assert [applied.revision for applied in found] == [3, 2, 1]
        assert [applied.app for applied in found] == [small_app("fraud", window) for window in reversed(windows)]

    def test_unknown_hash_is_not_found(self, store: DefinitionStore) -> None:
        with pytest.raises(NotFound, match="0000"):
            store.revision("0" * 64)

    def test_one_process_wins_each_revision(self, store: DefinitionStore, open_store: DefinitionsOpener) -> None:
        answers = race(open_store, _apply_next, racers=RACERS, rounds=5)
        assert [sum(of_round) for of_round in answers] == [1] * 5
        current = store.current("fraud")
        assert current is not None
        assert current.revision == 5


def _apply_next(store: DefinitionStore, number: int, racer: int) -> bool:
    try:
        store.apply(small_app("fraud", f"{number * RACERS + racer + 1}h"), actor=str(racer), expected_revision=number)
    except Conflict:
        return False
    return True


class StateStoreContract:
    """The contract of `StateStore`."""

    @pytest.fixture
    def open_store(self) -> StatesOpener:
        """Return a picklable opener of one empty store, shared by all who open it."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, open_store: StatesOpener) -> Iterator[StateStore]:
        """The store, opened in this process."""
        with open_store() as store:
            yield store

    def test_absent_is_none(self, store: StateStore) -> None:
        assert store.get("monitor", "fraud") is None
        assert store.all("monitor") == {}

    def test_put_replaces_whole_documents(self, store: StateStore, open_store: StatesOpener) -> None:
        store.put("monitor", "fraud", {"a": 1, "deep": {"b": [1.5, None, True, "ü"]}})
        store.put("monitor", "fraud", {"c": 2**60})
        with open_store() as other:
            assert other.get("monitor", "fraud") == {"c": 2**60}

    def test_kinds_are_apart_and_names_sorted(self, store: StateStore) -> None:
        for kind, name in (("monitor", "b"), ("monitor", "a"), ("deployment", "a")):
            store.put(kind, name, {"of": f"{kind} {name}"})
        assert list(store.all("monitor").items()) == [("a", {"of": "monitor a"}), ("b", {"of": "monitor b"})]
        assert store.get("deployment", "a") == {"of": "deployment a"}

    def test_what_is_not_json_is_refused(self, store: StateStore) -> None:
        store.put("monitor", "fraud", {"a": 1})
        with pytest.raises(InvalidInput, match="use null"):
            store.put("monitor", "fraud", {"psi": float("nan")})
        assert store.get("monitor", "fraud") == {"a": 1}

    def test_concurrent_puts_leave_one_whole_document(self, store: StateStore, open_store: StatesOpener) -> None:
        race(open_store, _put_same, racers=RACERS, rounds=5)
        document = store.get("monitor", "fraud")
        assert document is not None
        assert document["a"] == document["b"]

    def test_what_is_taken_is_gone(self, store: StateStore) -> None:
        for kind in ("code", "monitor"):
            store.put(kind, "a", {"of": kind})
        assert store.take("code", "a") == {"of": "code"}
        assert store.take("code", "a") is None
        assert store.get("code", "a") is None
        assert store.get("monitor", "a") == {"of": "monitor"}

    def test_one_taker_gets_it(self, store: StateStore, open_store: StatesOpener) -> None:
        for number in range(5):
            store.put("code", str(number), {"number": number})
        answers = race(open_store, _take, racers=RACERS, rounds=5)
        assert [sum(of_round) for of_round in answers] == [1] * 5


def _put_same(store: StateStore, number: int, racer: int) -> None:
    store.put("monitor", "fraud", {"a": racer, "b": racer, "round": number})


def _take(store: StateStore, number: int, racer: int) -> bool:
    return store.take("code", str(number)) is not None
