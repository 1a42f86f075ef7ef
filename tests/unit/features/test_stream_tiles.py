"""What the stream holds of a busy entity's windows with tiles, and what brings the events of a tile back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.feature_world import hour, row
from tests.unit.features.streamed_views import Streamed, assert_equals_materialized

import gnomon as gn
from gnomon.errors import CorruptData
from gnomon.features import view_streams
from gnomon.features.view_streams import ViewStream

NOW = 100.0
HOURS, PER_HOUR = 48, 10
FEATURES = [
    gn.Aggregation("*", "count", window="40h", tile="1h"),
    gn.Aggregation("amount", "std", window="30h", tile="1h", lag="2h"),
    gn.Aggregation("amount", "sum", window="24h", tile="3h"),
    gn.Aggregation("note", "last_k", k=3, window="24h", tile="3h"),
    gn.Aggregation("note", "approx_count_distinct", window="40h", tile="1h"),
]
VIEWS = {"busy": {"features": FEATURES, "freshness": "1s"}}


@pytest.fixture
def streamed(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Streamed]:
    """Customer 1 with ten events an hour for two days, customer 2 with one a day; all taken in, and trimmed."""
    monkeypatch.setattr(view_streams, "_TRIM_EVERY_US", 0)
    made = Streamed(tmp_path, server, VIEWS)
    made.push(*(busy(n) for n in range(HOURS * PER_HOUR)), row("other", 2, NOW - 30, amount=5, note="z"))
    made.step()
    yield made
    made.close()


def busy(number: int, **values: Any) -> dict[str, Any]:
    return row(
        f"e{number}", 1, NOW - 0.05 - number / PER_HOUR, **{"amount": number, "note": f"n{number % 7}", **values}
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Versions of the table that were read from the offline store, beside the tail."""
    found: list[int] = []
    real = ViewStream._read_events

    def read(stream: ViewStream, version: int, as_of_us: int) -> pa.Table:
        found.append(version)
        return real(stream, version, as_of_us)

    monkeypatch.setattr(ViewStream, "_read_events", read)
    return found


def held(streamed: Streamed) -> tuple[int, int]:
    """Return the number of events and of tiles in memory."""
    cache = streamed.streams["busy"]._cache
    return cache._rows.num_rows, cache.rows - cache._rows.num_rows


def test_tiles_that_have_ended_are_held_as_partials(streamed: Streamed) -> None:
    events, tiles = held(streamed)
    # the tile of three hours that is open, the one before it, and what the lag of two hours keeps
    assert PER_HOUR * 3 <= events <= PER_HOUR * 7
    assert 40 <= tiles <= 60
    assert_equals_materialized(streamed, streamed.server, "busy")


def test_values_change_when_tiles_leave_and_not_between(streamed: Streamed, reads: list[int]) -> None:
    """Nothing new arrives: from step to step only time passes. The clock is at a full hour, as all tiles begin."""
    computed = []
    for minutes in (10, 50, 61, 119, 121):
        streamed.clock.set(hour(NOW + minutes / 60))
        computed.append(streamed.streams["busy"].step())
        assert_equals_materialized(streamed, streamed.server, "busy")
    # events cross the near edge of the lagged window; a full hour lets go of a tile of customer 1
    assert computed[0] == 1
    assert reads == []
    streamed.clock.set(hour(NOW + 60))
    streamed.step()
    assert_equals_materialized(streamed, streamed.server, "busy")
    assert held(streamed) == (0, 0)


def test_what_is_late_by_less_than_a_tile_is_taken_in_from_memory(streamed: Streamed, reads: list[int]) -> None:
    streamed.push(row("late", 1, NOW - 2.5, amount=999, note="late"))
    assert streamed.streams["busy"].step() == 1
    assert reads == []
    assert_equals_materialized(streamed, streamed.server, "busy")


@pytest.mark.parametrize(
    "news",
    [
        [row("late", 1, NOW - 20.5, amount=999, note="late")],
        [busy(200, amount=-7)],
        [row("e200", 2, NOW - 20.05, amount=3, note="moved to another")],
        [row("e200", 1, NOW - 10.05, amount=3, note="moved in time")],
        [row("e200", 1, NOW - 90, amount=3, note="moved out of all windows")],
        [row("e200", None, NOW - 20.05, amount=3, note="moved to nobody")],
        [row("late", 2, NOW - 30.2, amount=1, note="in the tile of its only event")],
    ],
    ids=["late", "corrected", "to another", "to another tile", "out of windows", "to nobody", "of a quiet entity"],
)
def test_news_of_a_folded_tile_unfold_it(streamed: Streamed, reads: list[int], news: list[dict[str, Any]]) -> None:
    before = held(streamed)
    streamed.push(*news)
    assert streamed.streams["busy"].step() >= 1
    assert len(reads) in (1, 2)
    assert_equals_materialized(streamed, streamed.server, "busy")
    assert sum(held(streamed)) <= sum(before) + 2, "what was read is folded again"
    streamed.clock.set(hour(NOW + 5))
    streamed.step()
    assert_equals_materialized(streamed, streamed.server, "busy")


def test_a_read_that_failed_while_a_tile_was_unfolded_is_made_up_for(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the tile would be taken for one with a single event."""
    streamed.push(row("late", 1, NOW - 20.5, amount=999, note="late"))

    def broken(stream: ViewStream, version: int, as_of_us: int) -> Any:
        raise CorruptData("the disk is gone for a moment")

    with monkeypatch.context() as patch:
        patch.setattr(ViewStream, "_read_events", broken)
        with pytest.raises(CorruptData):
            streamed.streams["busy"].step()
    streamed.step()
    assert_equals_materialized(streamed, streamed.server, "busy")


def test_evicted_entities_come_back_with_their_tiles(streamed: Streamed, reads: list[int]) -> None:
    """Room for the tiles of one entity only; both have tiles that leave windows while they are away."""
    cache = streamed.streams["busy"]._cache
    cache._limit_bytes = cache.size_bytes // 2
    for later in (1.5, 3, 6, 11, 14):
        streamed.push(row(f"at{later}", 1 if later < 6 else 2, NOW + later - 0.1, amount=1, note="new"))
        streamed.clock.set(hour(NOW + later))
        streamed.step()
        assert_equals_materialized(streamed, streamed.server, "busy")
    assert reads, "something was evicted, and came back"


def test_a_version_known_later_keeps_its_tile_from_being_folded(streamed: Streamed) -> None:
    streamed.push({**busy(200, amount=5000), "known": hour(NOW + 2).isoformat()})
    streamed.step()
    assert_equals_materialized(streamed, streamed.server, "busy")
    for later in (1.9, 2.0, 2.1, 30):
        streamed.clock.set(hour(NOW + later))
        streamed.step()
        assert_equals_materialized(streamed, streamed.server, "busy")


def test_a_restart_gives_the_same_values(streamed: Streamed) -> None:
    streamed.clock.set(hour(NOW + 3))
    streamed.restart()
    streamed.push(row("new", 1, NOW + 2.9, amount=1, note="new"))
    streamed.step()
    assert_equals_materialized(streamed, streamed.server, "busy")


def test_ids_of_events_that_have_left_are_forgotten(streamed: Streamed) -> None:
    distant = streamed.streams["busy"]._cache._distant
    assert distant.size_bytes > 16 * 300
    streamed.clock.set(hour(NOW + 60))
    streamed.step()
    assert distant.size_bytes == 0
