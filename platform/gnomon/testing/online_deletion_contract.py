"""What deletions do in every `OnlineStore`; a part of `online_store_contract`, which brings the fixture `store`."""

from __future__ import annotations

from gnomon.contracts.online_store import OnlineStore, Status, WriteResult
from gnomon.testing.online_rows import NOW_US, layout_of, read, table_of, values_of


class OnlineDeletionContract:
    """How deletions meet rows that are older, newer, or of another layout version."""

    def test_a_deleted_row_is_gone(self, store: OnlineStore) -> None:
        """Without a trace for readers: an entity whose rows are all deleted is unknown, other views stay."""
        one, two = layout_of({"i": "int64"}), layout_of({"f": "float64"}, view="visits")
        store.write(one, table_of(one, [{"id": n, "at": 5, "i": n} for n in (1, 2, 3)]))
        store.write(two, table_of(two, [{"id": 1, "at": 5, "f": 0.5}]))
        assert store.delete(one, table_of(one, [{"id": 1, "at": 6}, {"id": 2, "at": 6}])) == WriteResult(2, 0)
        found = read(store, [one, two], 1, 2, 3)
        missing, unknown = Status.MISSING_FEATURE, Status.MISSING_ENTITY
        assert found.status.tolist() == [[missing, Status.PRESENT], [unknown] * 2, [Status.PRESENT, missing]]
        assert values_of(found, "spend.i") == [None, None, 3]
        assert found.age_us[:, 0].tolist() == [-1, -1, NOW_US - 5]
        assert store.delete(two, table_of(two, [{"id": 1, "at": 6}])) == WriteResult(1, 0)
        assert read(store, [one, two], 1).status.tolist() == [[unknown] * 2]
        assert (store.clear(one), store.clear(two)) == (1, 0)

    def test_a_late_row_does_not_come_back_from_a_deletion(self, store: OnlineStore) -> None:
        """Deletions and rows compare by (event time, known time); of equal ones the deletion wins, in either order."""
        layout = layout_of({"i": "int64"})
        one = [{"id": 1, "at": 5, "known": 9}]
        assert store.delete(layout, table_of(layout, one)) == WriteResult(1, 0)
        assert store.delete(layout, table_of(layout, one)) == WriteResult(0, 1)
        late = [{"id": 1, "at": at, "known": known, "i": 1} for at, known in ((4, 99), (5, 8), (5, 9))]
        assert store.write(layout, table_of(layout, late)) == WriteResult(0, 3)
        assert read(store, [layout], 1).status.tolist() == [[Status.MISSING_ENTITY]]
        assert store.write(layout, table_of(layout, [{"id": 1, "at": 5, "known": 10, "i": 2}])) == WriteResult(1, 0)
        assert store.delete(layout, table_of(layout, one)) == WriteResult(0, 1)
        assert values_of(read(store, [layout], 1), "spend.i") == [2]
        assert store.delete(layout, table_of(layout, [{"id": 1, "at": 5, "known": 10}])) == WriteResult(1, 0)
        assert read(store, [layout], 1).status.tolist() == [[Status.MISSING_ENTITY]]

    def test_a_deletion_holds_for_every_layout_version(self, store: OnlineStore) -> None:
        """A view that was defined anew does not bring back what was deleted before."""
        old, new = layout_of({"i": "int64"}), layout_of({"s": "string"}, version="11111111")
        store.write(old, table_of(old, [{"id": 1, "at": 5, "i": 1}, {"id": 2, "at": 50, "i": 2}]))
        assert store.delete(new, table_of(new, [{"id": 1, "at": 9}, {"id": 2, "at": 9}])) == WriteResult(1, 1)
        assert values_of(read(store, [old], 1, 2), "spend.i") == [None, 2]
        rows = [{"id": n, "at": at, "s": "x"} for n in (1, 2) for at in (8, 9)]
        assert store.write(new, table_of(new, rows)) == WriteResult(0, 4)
        assert store.write(new, table_of(new, [{"id": 1, "at": 10, "s": "x"}])) == WriteResult(1, 0)
        assert store.write(old, table_of(old, [{"id": 1, "at": 9, "i": 1}])) == WriteResult(0, 1)
        assert values_of(read(store, [new], 1, 2), "spend.s") == ["x", None]
        assert store.drop_version(new) == 1
        assert store.write(old, table_of(old, [{"id": 1, "at": 9, "i": 1}])) == WriteResult(0, 1)
