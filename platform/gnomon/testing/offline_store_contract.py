"""What every OfflineStore must do; run by `tests/contract/test_offline_store.py` for each implementation.

Subclass `OfflineStoreContract` and override the fixture `store`.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnomon.contracts.columns import EVENT_TIME
from gnomon.contracts.offline_store import OfflineStore
from gnomon.errors import Conflict, InvalidInput, NotFound

TIME = pa.timestamp("us", tz="UTC")


def event_rows(times_us: Sequence[int], **columns: Sequence[object] | pa.Array) -> pa.Table:
    """Build rows with these event times, microseconds since the epoch, and these further columns."""
    return pa.table({EVENT_TIME: pa.array(times_us, pa.int64()).cast(TIME), **columns})


def event_times_us(rows: pa.Table) -> list[int]:
    """Return the event times of rows in ascending order, microseconds since the epoch."""
    return sorted(rows[EVENT_TIME].cast(pa.int64()).to_pylist())


class OfflineStoreContract:
    """Append, stage and commit, batch ids, versions, time ranges, schema growth, refusals."""

    @pytest.fixture
    def store(self) -> OfflineStore:
        """Return an empty store."""
        raise NotImplementedError

    def test_an_absent_table_has_version_minus_one(self, store: OfflineStore) -> None:
        assert store.version("payments") == -1
        assert store.tables() == []
        assert not store.contains("payments", "b1")
        assert store.committed("payments", "b1") is None

    @pytest.mark.parametrize("question", ["schema", "read", "files"])
    def test_an_absent_table_cannot_be_read(self, store: OfflineStore, question: str) -> None:
        store.append("payments", event_rows([1]), "b1")
        with pytest.raises(NotFound, match=r"paymets.*did you mean 'payments'"):
            getattr(store, question)("paymets")

    def test_append_creates_the_table_and_adds_versions(self, store: OfflineStore) -> None:
        first = store.append("payments", event_rows([3, 1]), "b1")
        second = store.append("payments", event_rows([2]), "b2")
        assert (first.version, first.rows, first.repeated) == (0, 2, False)
        assert (second.version, second.rows, second.repeated) == (1, 1, False)
        assert event_times_us(store.read("payments")) == [1, 2, 3]
        assert store.tables() == ["payments"]

    def test_a_resent_batch_adds_nothing_for_ever(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1, 2]), "b1")
        for number in range(5):
            store.append("payments", event_rows([10 + number]), f"other {number}")
        again = store.append("payments", event_rows([1, 2]), "b1")
        assert (again.version, again.rows, again.repeated) == (0, 2, True)
        assert store.contains("payments", "b1")
        assert not store.contains("payments", "b2")
        assert store.version("payments") == 5
        assert store.read("payments").num_rows == 7

    def test_a_note_is_kept_with_its_batch(self, store: OfflineStore) -> None:
        note = {"by": "ö", "rows": {"a": 1}}
        assert store.append("payments", event_rows([1, 2]), "b1", note=note).note == note
        assert store.append("payments", event_rows([1]), "b1", note={"by": "another"}).note == note
        store.commit("payments", event_rows([]).schema, [], "b2")
        kept, none = store.committed("payments", "b1"), store.committed("payments", "b2")
        assert kept is not None
        assert none is not None
        assert (kept.version, kept.rows, kept.repeated, kept.note) == (0, 2, True, note)
        assert (none.version, none.rows, none.repeated, none.note) == (1, 0, True, {})
        assert store.committed("payments", "b3") is None

    def test_a_commit_is_found_by_every_batch_that_it_is_made_of(self, store: OfflineStore) -> None:
        note = {"pushes": [1, 2]}
        store.append("payments", event_rows([1]), "b0", expected_version=-1)
        store.append(
            "payments", event_rows([2, 3]), "group", expected_version=0, note=note, further_ids=["b1", "b2"]
        )  # fmt: skip
        for batch_id in ("group", "b1", "b2"):
            found = store.committed("payments", batch_id)
            assert found is not None, batch_id
            assert (found.version, found.rows, found.note) == (1, 2, note)
        assert store.append("payments", event_rows([9]), "b2").repeated
        assert store.read("payments").num_rows == 3

    def test_batch_ids_belong_to_their_table(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1]), "b1")
        assert not store.append("refunds", event_rows([1]), "b1").repeated

    def test_a_batch_without_rows_is_remembered(self, store: OfflineStore) -> None:
        done = store.append("payments", event_rows([], amount=pa.array([], pa.float64())), "nothing")
        assert (done.version, done.rows) == (0, 0)
        assert store.contains("payments", "nothing")
        assert store.read("payments").schema.names == [EVENT_TIME, "amount"]

    def test_every_type_comes_back_as_it_was(self, store: OfflineStore) -> None:
        rows = event_rows(
            [-1, 0, 1_700_000_000_123_456],
            whole=pa.array([2**62, None, -1], pa.int64()),
            real=pa.array([0.1, None, float("inf")], pa.float64()),
            truth=pa.array([True, None, False]),
            text=pa.array(["ünï", None, ""]),
            moment=pa.array([1, None, 2], TIME),
            several=pa.array([[1.5], None, []], pa.list_(pa.float64())),
            nested=pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
        )
        store.append("payments", rows, "b1")
        found = store.read("payments")
        assert found.sort_by(EVENT_TIME).to_pylist() == rows.to_pylist()
        assert found.schema == rows.schema == store.schema("payments")

    def test_staged_rows_are_invisible_until_committed(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1]), "b1")
        staged = [store.stage("payments", event_rows([5, 9])), store.stage("payments", event_rows([7]))]
        assert store.read("payments").num_rows == 1
        assert (staged[0].rows, staged[0].min_event_us, staged[0].max_event_us) == (2, 5, 9)
        done = store.commit("payments", event_rows([]).schema, staged, "b2")
        assert (done.version, done.rows) == (1, 3)
        assert event_times_us(store.read("payments")) == [1, 5, 7, 9]

    def test_a_staged_file_is_committed_once(self, store: OfflineStore) -> None:
        staged = [store.stage("payments", event_rows([5]))]
        schema = event_rows([]).schema
        store.commit("payments", schema, staged, "b1")
        assert store.commit("payments", schema, staged, "b1").repeated
        with pytest.raises(Conflict, match="committed before"):
            store.commit("payments", schema, staged, "b2")
        assert store.read("payments").num_rows == 1

    def test_a_batch_id_alone_can_be_committed(self, store: OfflineStore) -> None:
        done = store.commit("payments", event_rows([]).schema, [], "done with file 7")
        assert (done.version, done.rows) == (0, 0)
        assert store.contains("payments", "done with file 7")

    @pytest.mark.parametrize(
        ("after_us", "until_us", "expected"),
        [
            (None, None, [10, 20, 30, 40]),
            (10, 30, [20, 30]),
            (9, 10, [10]),
            (40, None, []),
            (None, 9, []),
            (30, 30, []),
            (None, 10, [10]),
        ],
    )
    def test_ranges_exclude_their_start_and_include_their_end(
        self, store: OfflineStore, after_us: int | None, until_us: int | None, expected: list[int]
    ) -> None:
        store.append("payments", event_rows([10, 30]), "b1")
        store.append("payments", event_rows([20, 40]), "b2")
        found = store.read("payments", columns=[EVENT_TIME], after_us=after_us, until_us=until_us)
        assert event_times_us(found) == expected

    def test_files_are_pruned_by_event_time(self, store: OfflineStore) -> None:
        for start in (0, 100, 200):
            store.append("payments", event_rows([start + 1, start + 50]), f"from {start}")
        assert len(store.files("payments")) == 3
        (only,) = store.files("payments", after_us=50, until_us=150)
        assert event_times_us(pq.ParquetFile(only).read()) == [101, 150]
        assert store.files("payments", after_us=250) == []

    def test_a_range_without_files_still_has_the_columns(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1], amount=[1.5]), "b1")
        found = store.read("payments", columns=["amount"], after_us=50)
        assert found.schema == pa.schema({"amount": pa.float64()})
        assert found.num_rows == 0

    def test_columns_come_in_the_order_asked_for(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1, 2], a=[1, 2], b=["x", "y"]), "b1")
        assert store.read("payments", columns=["b", "a"], until_us=1).to_pylist() == [{"b": "x", "a": 1}]
        assert store.read("payments", columns=[]).num_rows == 2
        with pytest.raises(NotFound, match="amuont"):
            store.read("payments", columns=["amuont"])

    def test_older_versions_stay_readable(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1]), "b1")
        store.append("payments", event_rows([2], amount=[2.5]), "b2")
        assert event_times_us(store.read("payments", version=0)) == [1]
        assert store.schema("payments", version=0).names == [EVENT_TIME]
        assert len(store.files("payments", version=1)) == 2
        for absent in (2, -1):
            with pytest.raises(NotFound, match=f"version {absent} "):
                store.read("payments", version=absent)

    def test_columns_may_be_added_and_left_out(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1], a=[1]), "b1")
        store.append("payments", event_rows([2], b=["x"]), "b2")
        store.append("payments", event_rows([3], a=[3]), "b3")
        assert store.schema("payments").names == [EVENT_TIME, "a", "b"]
        found = store.read("payments", columns=["a", "b"]).to_pylist()
        assert sorted(map(str, found)) == sorted(
            map(str, [{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": 3, "b": None}])
        )

    def test_another_type_is_refused_with_both_named(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1], amount=[1.5]), "b1")
        with pytest.raises(InvalidInput, match=r"'amount' has type string.* it has type double"):
            store.append("payments", event_rows([2], amount=["1.5"]), "b2")
        staged = store.stage("payments", event_rows([2], amount=[1]))
        with pytest.raises(InvalidInput, match=r"'amount' has type int64"):
            store.commit("payments", event_rows([], amount=pa.array([], pa.int64())).schema, [staged], "b3")
        assert store.version("payments") == 0
        assert store.read("payments").num_rows == 1

    @pytest.mark.parametrize(
        ("rows", "complaint"),
        [
            (pa.table({"a": [1]}), "'_event_time' is missing"),
            (pa.table({EVENT_TIME: [1]}), "'_event_time' has type int64"),
            (pa.table({EVENT_TIME: pa.array([1, None], TIME)}), "1 of 2 rows have no '_event_time'"),
            (event_rows([1], moment=pa.array([1], pa.timestamp("us"))), "'moment' holds times without a zone"),
            (event_rows([1], empty=pa.nulls(1)), "'empty' has type null"),
            (event_rows([2**62]), "outside the years 1 to 9999"),
        ],
    )
    def test_rows_that_cannot_be_stored_are_refused(
        self, store: OfflineStore, rows: pa.Table, complaint: str
    ) -> None:  # fmt: skip
        with pytest.raises(InvalidInput, match=complaint):
            store.append("payments", rows, "b1")
        assert store.version("payments") == -1

    @pytest.mark.parametrize(
        "name", ["", "..", "../up", "/etc", "a/b", "A", "1a", "_a", "a.b", "a\0", "a\n", "ä", "a" * 300]
    )
    def test_names_that_are_no_table_names_are_refused(self, store: OfflineStore, name: str) -> None:
        for attempt in (store.version, store.read, store.files):
            with pytest.raises(InvalidInput, match="is no table name"):
                attempt(name)
        with pytest.raises(InvalidInput, match="is no table name"):
            store.append(name, event_rows([1]), "b1")

    def test_an_expected_version_is_kept(self, store: OfflineStore) -> None:
        with pytest.raises(Conflict, match="at version -1, expected 0"):
            store.append("payments", event_rows([1]), "b1", expected_version=0)
        assert store.version("payments") == -1
        store.append("payments", event_rows([1]), "b1", expected_version=-1)
        with pytest.raises(Conflict, match="at version 0, expected -1"):
            store.append("payments", event_rows([2]), "b2", expected_version=-1)
        store.append("payments", event_rows([2]), "b2", expected_version=0)
        assert store.append("payments", event_rows([2]), "b2", expected_version=0).repeated
        assert store.read("payments").num_rows == 2

    def test_an_empty_batch_id_is_refused(self, store: OfflineStore) -> None:
        with pytest.raises(InvalidInput, match="batch id"):
            store.append("payments", event_rows([1]), "")

    def test_concurrent_appends_all_arrive_and_resends_add_nothing(self, store: OfflineStore) -> None:
        batches = [f"b{number % 12}" for number in range(36)]
        with ThreadPoolExecutor(6) as pool:
            done = list(pool.map(lambda batch: store.append("payments", event_rows([int(batch[1:])]), batch), batches))
        assert sum(not commit.repeated for commit in done) == 12
        assert event_times_us(store.read("payments")) == list(range(12))
        assert store.version("payments") == 11

    def test_of_concurrent_writers_expecting_one_version_one_wins(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1]), "b")

        def attempt(number: int) -> bool:
            try:
                store.append("payments", event_rows([number]), f"b{number}", expected_version=0)
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(attempt, range(8))) == 1
        assert store.version("payments") == 1

    def test_the_store_travels_to_other_processes(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1]), "b1")
        elsewhere = pickle.loads(pickle.dumps(store))  # noqa: S301
        elsewhere.append("payments", event_rows([2]), "b2")
        assert store.read("payments").num_rows == 2

    def test_derived_data_is_no_part_of_a_table(self, store: OfflineStore) -> None:
        store.append("payments", event_rows([1]), "b1")
        folder = store.derived_folder("payments")
        if folder is None:
            return
        folder.mkdir(parents=True)
        (folder / "part-0.parquet").write_bytes(b"made from the table")
        assert store.tables() == ["payments"]
        assert event_times_us(store.read("payments")) == [1]
        assert pickle.loads(pickle.dumps(store)).derived_folder("payments") == folder  # noqa: S301
        assert store.derived_folder("others") != folder
