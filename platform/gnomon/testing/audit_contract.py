"""What every `AuditTrail` must do. A test class derives from this one and overrides `open_trail` and `tamper`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from gnomon.contracts.platform_state import AuditTrail
from gnomon.errors import CorruptData
from gnomon.testing.races import race

RACERS = 4

TrailOpener = Callable[[], AbstractContextManager[AuditTrail]]


class AuditTrailContract:
    """The contract of `AuditTrail`."""

    @pytest.fixture
    def open_trail(self) -> TrailOpener:
        """Return a picklable opener of one empty trail, shared by all who open it."""
        raise NotImplementedError

    @pytest.fixture
    def tamper(self) -> Callable[[str, int], None]:
        """Return a function that, behind the trail's back, does `change`, `remove` or `renumber` to an entry."""
        raise NotImplementedError

    @pytest.fixture
    def trail(self, open_trail: TrailOpener) -> Iterator[AuditTrail]:
        """The trail, opened in this process."""
        with open_trail() as trail:
            yield trail

    def test_entry_comes_back(self, trail: AuditTrail, open_trail: TrailOpener) -> None:
        entry = trail.record("ann", "promote", "fraud", {"version": 3, "why": "AUC 0.91 → 0.93"})
        assert (entry.number, entry.actor, entry.action, entry.target) == (1, "ann", "promote", "fraud")
        assert entry.time.utcoffset() is not None
        with open_trail() as other:
            assert other.entries() == [entry]

    def test_entries_are_newest_first_by_target_and_limited(self, trail: AuditTrail) -> None:
        for i in range(6):
            trail.record("ann", "apply", "ab"[i % 2], {"i": i})
        assert [e.number for e in trail.entries()] == [6, 5, 4, 3, 2, 1]
        assert [e.number for e in trail.entries(target="a", limit=2)] == [5, 3]
        assert trail.entries(target="c") == []

    def test_whole_chain_is_counted(self, trail: AuditTrail) -> None:
        assert trail.verify() == 0
        for i in range(5):
            trail.record("ann", "apply", "fraud", {"i": i})
        assert trail.verify() == 5

    @pytest.mark.parametrize("how", ["change", "remove", "renumber"])
    @pytest.mark.parametrize("number", [1, 3, 5])
    def test_tampering_is_noticed(
        self, trail: AuditTrail, tamper: Callable[[str, int], None], how: str, number: int
    ) -> None:
        for i in range(5):
            trail.record("ann", "apply", "fraud", {"i": i})
        tamper(how, number)
        with pytest.raises(CorruptData, match=f"audit entry {number} "):
            trail.verify()

    def test_concurrent_entries_make_one_chain(self, trail: AuditTrail, open_trail: TrailOpener) -> None:
        answers = race(open_trail, _record, racers=RACERS, rounds=10)
        assert sorted(n for of_round in answers for n in of_round) == list(range(1, 10 * RACERS + 1))
        assert trail.verify() == 10 * RACERS


def _record(trail: AuditTrail, number: int, racer: int) -> int:
    return trail.record(f"racer-{racer}", "race", "fraud", {"round": number}).number
