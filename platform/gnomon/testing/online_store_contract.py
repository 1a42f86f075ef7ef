"""The contract of `OnlineStore`: every implementation passes `OnlineStoreContract`, run from tests/contract.

A subclass overrides the fixture `make_store`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from gnomon.contracts.columns import Dtype
from gnomon.contracts.layouts import ViewLayout
from gnomon.contracts.online_store import OnlineStore, ReadPlan, Status, WriteResult
from gnomon.errors import InvalidInput
from gnomon.testing.online_deletion_contract import OnlineDeletionContract
from gnomon.testing.online_rows import NOW_US, layout_of, plan_of, read, table_of, values_of

MakeStore = Callable[[], OnlineStore]


def _write_in_process(make_store: MakeStore, layout: ViewLayout, rows: Sequence[Mapping[str, Any]]) -> None:
    store = make_store()
    for start in range(0, len(rows), 100):
        store.write(layout, table_of(layout, rows[start : start + 100]))


class OnlineStoreContract(OnlineDeletionContract):
    """What every online store does."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Return a picklable maker of stores that share one empty storage."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, make_store: MakeStore) -> OnlineStore:
        """Return a store."""
        return make_store()

    def test_values_of_every_type_come_back(self, store: OnlineStore) -> None:
        """Exact, with the ages of their rows."""
        layout = layout_of({"f": "float64", "i": "int64", "b": "bool", "s": "string", "t": "timestamp", "s2": "string"})
        rows: list[dict[str, Any]] = [
            {"id": 1, "at": NOW_US - 5, "f": -0.5, "i": 2**53 + 1, "b": True, "s": "añ\U0001f600", "t": 7, "s2": ""},
            {"id": 2, "at": NOW_US - 9, "f": None, "i": None, "b": None, "s": None, "t": None, "s2": "x"},
        ]
        assert store.write(layout, table_of(layout, rows)) == WriteResult(2, 0)
        found = read(store, [layout], 2, 1)
        assert values_of(found, "spend.f") == [None, -0.5]
        assert values_of(found, "spend.i") == [None, 2**53 + 1]
        assert values_of(found, "spend.b") == [None, True]
        assert values_of(found, "spend.s") == [None, "añ\U0001f600"]
        assert values_of(found, "spend.t") == [None, 7]
        assert values_of(found, "spend.s2") == ["x", ""]
        assert found.status.tolist() == [[Status.NULL] * 5 + [Status.PRESENT], [Status.PRESENT] * 6]
        assert found.age_us.tolist() == [[9] * 6, [5] * 6]

    def test_the_last_event_time_wins(self, store: OnlineStore) -> None:
        """In whatever order rows come, within one write and between writes."""
        layout = layout_of({"i": "int64"})
        rows = [{"id": 1, "at": at, "i": at} for at in (30, 10, 50, 20, 50)]
        assert store.write(layout, table_of(layout, rows)) == WriteResult(2, 3)
        assert store.write(layout, table_of(layout, rows)) == WriteResult(0, 5)
        assert store.write(layout, table_of(layout, [{"id": 1, "at": 49, "i": 49}])) == WriteResult(0, 1)
        assert values_of(read(store, [layout], 1), "spend.i") == [50]

    def test_ties_go_to_the_later_known_row(self, store: OnlineStore) -> None:
        """A correction of the same moment replaces what it corrects, and not the other way round."""
        layout = layout_of({"i": "int64"})
        for known, i, wins in ((10, 1, True), (12, 2, True), (11, 3, False), (12, 4, False)):
            result = store.write(layout, table_of(layout, [{"id": 1, "at": 5, "known": known, "i": i}]))
            assert result.written_rows == int(wins)
        assert values_of(read(store, [layout], 1), "spend.i") == [2]

    @pytest.mark.parametrize("older", [-(2**62), -1, 0, 2**32 - 1, 2**53, 2**61 + 1])
    def test_times_compare_exactly(self, store: OnlineStore, older: int) -> None:
        """One microsecond apart, before the epoch and beyond 2^53."""
        layout = layout_of({"i": "int64"})
        store.write(layout, table_of(layout, [{"id": 1, "at": older + 1, "i": 1}]))
        assert store.write(layout, table_of(layout, [{"id": 1, "at": older, "i": 2}])) == WriteResult(0, 1)
        assert store.write(layout, table_of(layout, [{"id": 1, "at": older + 2, "i": 3}])) == WriteResult(1, 0)

    def test_a_null_replaces_a_value(self, store: OnlineStore) -> None:
        """The newest row counts whole."""
        layout = layout_of({"i": "int64"})
        store.write(layout, table_of(layout, [{"id": 1, "at": 1, "i": 1}, {"id": 1, "at": 2, "i": None}]))
        found = read(store, [layout], 1)
        assert values_of(found, "spend.i") == [None]
        assert found.status.tolist() == [[Status.NULL]]

    def test_unknown_entities_and_missing_views_differ(self, store: OnlineStore) -> None:
        """Rows keep the order of the request, repeated entities included."""
        one, two = layout_of({"i": "int64"}), layout_of({"f": "float64"}, view="visits")
        store.write(one, table_of(one, [{"id": 1, "at": NOW_US, "i": 1}]))
        found = read(store, [one, two], 9, 1, 9, 1)
        missing, partial = [Status.MISSING_ENTITY] * 2, [Status.PRESENT, Status.MISSING_FEATURE]
        assert found.status.tolist() == [missing, partial, missing, partial]
        assert values_of(found, "spend.i") == [None, 1, None, 1]
        assert values_of(found, "visits.f") == [None] * 4
        assert found.age_us.tolist() == [[-1, -1], [0, -1], [-1, -1], [0, -1]]
        assert {name: len(column) for name, column in read(store, [one, two]).values.items()} == {
            "spend.i": 0,
            "visits.f": 0,
        }

    def test_an_expired_value_is_null(self, store: OnlineStore) -> None:
        """From the very age that the view names."""
        layout = layout_of({"i": "int64", "f": "float64"}, max_age_us=100)
        store.write(layout, table_of(layout, [{"id": n, "at": NOW_US - 98 - n, "i": n, "f": n} for n in (1, 2)]))
        found = read(store, [layout], 1, 2)
        assert values_of(found, "spend.i") == [1, None]
        assert values_of(found, "spend.f") == [1.0, None]
        assert found.status.tolist() == [[Status.PRESENT] * 2, [Status.EXPIRED] * 2]
        assert found.age_us.tolist() == [[99] * 2, [100] * 2]

    def test_an_expired_value_is_served_when_asked_for(self, store: OnlineStore) -> None:
        """And marked."""
        layout = layout_of({"i": "int64"}, max_age_us=100, on_expired="serve")
        store.write(layout, table_of(layout, [{"id": 1, "at": NOW_US - 500, "i": 7}]))
        found = read(store, [layout], 1, 2)
        assert values_of(found, "spend.i") == [7, None]
        assert found.status.tolist() == [[Status.EXPIRED], [Status.MISSING_ENTITY]]

    def test_defaults_stand_for_missing_and_expired_values(self, store: OnlineStore) -> None:
        """But not for a null that the newest row holds; a feature without a default stays null."""
        features: dict[str, Dtype] = {"i": "int64", "f": "float64", "s": "string", "b": "bool"}
        layout = layout_of(features, defaults={"i": -1, "f": 0, "s": "none"}, max_age_us=100, on_expired="default")
        old = {"id": 1, "at": NOW_US - 500, "i": 7, "f": 7.0, "s": "x", "b": True}
        store.write(layout, table_of(layout, [old, {"id": 2, "at": NOW_US}]))
        found = read(store, [layout], 1, 2, 3)
        assert values_of(found, "spend.i") == [-1, None, -1]
        assert values_of(found, "spend.f") == [0.0, None, 0.0]
        assert values_of(found, "spend.s") == ["none", None, "none"]
        assert values_of(found, "spend.b") == [None, None, None]
        assert found.status.tolist() == [
            [Status.DEFAULT] * 3 + [Status.EXPIRED], [Status.NULL] * 4, [Status.DEFAULT] * 3 + [Status.MISSING_ENTITY],
        ]  # fmt: skip

    def test_an_expired_value_is_refused_when_asked_for(self, store: OnlineStore) -> None:
        """The message names view and age; a missing value is no expired one."""
        layout = layout_of({"i": "int64"}, max_age_us=1_000_000, on_expired="reject")
        store.write(layout, table_of(layout, [{"id": 1, "at": NOW_US - 2_000_000, "i": 7}]))
        with pytest.raises(InvalidInput, match=r"spend.* 2 s"):
            read(store, [layout], 9, 1)
        assert read(store, [layout], 9).status.tolist() == [[Status.MISSING_ENTITY]]

    def test_versions_lie_side_by_side(self, store: OnlineStore) -> None:
        """Whatever is written to one, reads and writes of the other do not see it; each goes alone."""
        old = layout_of({"i": "int64"})
        new = layout_of({"s": "string", "f": "float64"}, version="11111111")
        store.write(old, table_of(old, [{"id": n, "at": 50, "i": n} for n in (1, 2)]))
        assert read(store, [new], 1).status.tolist() == [[Status.MISSING_FEATURE] * 2]
        assert store.write(new, table_of(new, [{"id": 1, "at": 10, "s": "x", "f": 1.5}])) == WriteResult(1, 0)
        assert values_of(read(store, [new], 1), "spend.s") == ["x"]
        assert values_of(read(store, [old], 1, 2), "spend.i") == [1, 2]
        assert store.drop_version(old) == 2
        assert store.drop_version(old) == 0
        assert read(store, [old], 1, 2).status.tolist() == [[Status.MISSING_FEATURE], [Status.MISSING_ENTITY]]
        assert values_of(read(store, [new], 1), "spend.s") == ["x"]
        store.write(old, table_of(old, [{"id": n, "at": 9, "i": n} for n in (1, 2)]))
        assert store.clear(new) == 2
        assert read(store, [old], 1, 2).status.tolist() == [[Status.MISSING_ENTITY]] * 2

    def test_clear_removes_one_view(self, store: OnlineStore) -> None:
        """And an entity without any view is unknown again."""
        one, two = layout_of({"i": "int64"}), layout_of({"f": "float64"}, view="visits")
        assert store.clear(one) == 0
        store.write(one, table_of(one, [{"id": n, "at": 1, "i": n} for n in range(2500)]))
        store.write(two, table_of(two, [{"id": 1, "at": 1, "f": 1.0}]))
        assert store.clear(one) == 2500
        assert store.clear(one) == 0
        found = read(store, [one, two], 1, 2)
        assert found.status.tolist() == [[Status.MISSING_FEATURE, Status.PRESENT], [Status.MISSING_ENTITY] * 2]

    def test_keys_never_collide(self, store: OnlineStore) -> None:
        """The number 1 and the text "1"; pairs whose parts join to the same text."""
        number, text = layout_of({"i": "int64"}), layout_of({"i": "int64"}, view="texts", keys=(("id", "string"),))
        pair = layout_of({"i": "int64"}, view="pairs", keys=(("a", "string"), ("b", "string")))
        store.write(number, table_of(number, [{"id": 1, "at": 1, "i": 10}]))
        store.write(text, table_of(text, [{"id": k, "at": 1, "i": n} for n, k in enumerate(["é:,\n", "", "i1", "i2"])]))
        pairs = [("a", "b"), ("a,s1:b", ""), ("ab", ""), ("", "ab"), ("a:", "b"), ("a", ":b")]
        store.write(pair, table_of(pair, [{"a": a, "b": b, "at": 1, "i": n} for n, (a, b) in enumerate(pairs)]))
        assert read(store, [text], "1").status.tolist() == [[Status.MISSING_ENTITY]]
        assert values_of(read(store, [text], "i2", "é:,\n", ""), "texts.i") == [3, 0, 1]
        found = store.read(plan_of(pair), [{"a": a, "b": b} for a, b in pairs], NOW_US)
        assert values_of(found, "pairs.i") == list(range(len(pairs)))

    def test_views_of_different_entities_in_one_plan(self, store: OnlineStore) -> None:
        """Each looks at its own key columns; features keep the order of the plan."""
        customer = layout_of({"i": "int64", "j": "int64"}, view="customers", keys=(("customer", "int64"),))
        terminal = layout_of({"i": "int64"}, view="terminals", keys=(("terminal", "string"),))
        store.write(customer, table_of(customer, [{"customer": c, "at": NOW_US - c, "i": c, "j": -c} for c in (1, 2)]))
        store.write(terminal, table_of(terminal, [{"terminal": t, "at": NOW_US, "i": n} for n, t in enumerate("ab")]))
        plan = ReadPlan((customer, terminal), ((0, 1), (1, 0), (0, 0)), ("customers.j", "terminals.i", "customers.i"))
        keys = [{"customer": 2, "terminal": "a"}, {"customer": 1, "terminal": "z"}, {"customer": 3, "terminal": "b"}]
        found = store.read(plan, keys, NOW_US)
        assert list(found.values) == ["customers.j", "terminals.i", "customers.i"]
        assert [values_of(found, n) for n in found.values] == [[-2, -1, None], [0, None, 1], [2, 1, None]]
        gone = Status.MISSING_ENTITY
        assert found.status.tolist() == [[0, 0, 0], [0, gone, 0], [gone, 0, gone]]
        assert found.age_us.tolist() == [[2, 0, 2], [1, -1, 1], [-1, 0, -1]]

    def test_a_plan_of_nothing_reads_nothing(self, store: OnlineStore) -> None:
        """And keeps the number of rows."""
        found = store.read(ReadPlan((), (), ()), [{"id": 1}, {"id": 2}], NOW_US)
        assert (dict(found.values), found.status.shape, found.age_us.shape) == ({}, (2, 0), (2, 0))

    def test_many_rows_in_one_request(self, store: OnlineStore) -> None:
        """In order, over every bound of a batch."""
        layout = layout_of({"i": "int64", "s": "string"})
        rows = 20_000
        store.write(layout, table_of(layout, [{"id": n, "at": n, "i": n, "s": str(n)} for n in range(rows)]))
        found = read(store, [layout], *range(rows, -1, -1))
        assert values_of(found, "spend.i") == [None, *range(rows - 1, -1, -1)]
        assert values_of(found, "spend.s") == [None, *map(str, range(rows - 1, -1, -1))]

    @pytest.mark.parametrize(
        ("keys", "named"),
        [([{}], "'id' is missing"), ([{"id": "1"}], "'1'"), ([{"id": None}], "None"), ([{"id": True}], "True"),
         ([{"id": 1.0}], "1.0"), ([{"id": 2**63}], "9223372036854775808")],
    )  # fmt: skip
    def test_a_wrong_key_is_named(self, store: OnlineStore, keys: list[dict[str, Any]], named: str) -> None:
        """With its column and value."""
        with pytest.raises(InvalidInput, match="id") as error:
            store.read(plan_of(layout_of({"i": "int64"})), keys, NOW_US)
        assert named in error.value.message

    def test_wrong_rows_are_refused_and_nothing_is_written(self, store: OnlineStore) -> None:
        """A missing column, another type, a null key."""
        layout = layout_of({"i": "int64"})
        good = table_of(layout, [{"id": 1, "at": 1, "i": 1}])
        other = layout_of({"i": "float64"})
        for bad, named in (
            (good.drop_columns(["i"]), "'i'"),
            (good.drop_columns(["id"]), "'id'"),
            (table_of(other, [{"id": 1, "at": 1, "i": 1.0}]), "'i' is double"),
            (table_of(layout, [{"id": None, "at": 1, "i": 1}]), "'id' is null"),
        ):
            with pytest.raises(InvalidInput) as error:
                store.write(layout, bad)
            assert named in error.value.message
            if "'i'" not in named:  # a deletion reads no features
                with pytest.raises(InvalidInput) as error:
                    store.delete(layout, bad)
                assert named in error.value.message
        assert read(store, [layout], 1).status.tolist() == [[Status.MISSING_ENTITY]]

    def test_concurrent_writers_leave_the_newest(self, make_store: MakeStore) -> None:
        """4 processes write the same entities with other times; every entity ends with its newest row."""
        layout = layout_of({"i": "int64"})
        entities, writers = 300, 4
        rows: list[list[dict[str, int]]] = [
            [
                {"id": e, "at": (e * 7 + w * 13 + n * 5) % 101, "known": w, "i": w}
                for n in range(8)
                for e in range(entities)
            ]
            for w in range(writers)
        ]
        newest: dict[int, tuple[int, int]] = {}
        for row in (row for mine in rows for row in mine):
            newest[row["id"]] = max(newest.get(row["id"], (-1, -1)), (row["at"], row["known"]))
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=_write_in_process, args=(make_store, layout, mine)) for mine in rows]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [p.exitcode for p in processes] == [0] * writers
        found = read(make_store(), [layout], *range(entities))
        times = (NOW_US - found.age_us[:, 0]).tolist()
        assert list(zip(times, found.values["spend.i"].tolist(), strict=True)) == [newest[e] for e in range(entities)]

    def test_a_server_that_is_there_answers(self, store: OnlineStore) -> None:
        """`ping` returns nothing."""
        store.ping()
