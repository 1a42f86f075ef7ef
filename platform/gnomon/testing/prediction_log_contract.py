"""What every PredictionLog must do; run by `tests/contract/test_prediction_log.py` for each implementation.

Subclass `PredictionLogContract` and override the fixture `log`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gnomon.contracts.predictions import Outcome, PredictionLog, PredictionPage, PredictionRecord
from gnomon.errors import InvalidInput

_INPUTS: Mapping[str, Any] = {"spend.mean": 1.5, "spend.city": "Bern", "amount": 2.0}


def record(
    prediction_id: str, time_us: int = 10, inputs: Mapping[str, Any] = _INPUTS, **changes: Any
) -> PredictionRecord:  # fmt: skip
    """Build a record of deployment `fraud`."""
    fields: dict[str, Any] = {
        "prediction_id": prediction_id, "deployment": "fraud", "model": "fraud_model", "version": 3,
        "variant": "champion", "time_us": time_us, "keys": {"customer_id": 42}, "inputs": inputs,
        "age_us": {"spend.mean": 7, "spend.city": -1}, "status": {"spend.mean": 0, "spend.city": 2},
        "output": 0.25, "latency_us": 180,
    }  # fmt: skip
    return PredictionRecord(**(fields | changes))


def _pages(log: PredictionLog, after_us: int, until_us: int, limit: int) -> Iterator[PredictionPage]:
    """Read page after page, each from where the one before ended."""
    before = None
    while True:
        page = log.page("fraud", after_us, until_us, limit=limit, before=before)
        yield page
        if page.is_last:
            return
        last = page.rows.to_pylist()[-1]
        before = (last["time_us"], last["prediction_id"])


class PredictionLogContract:
    """Batches, windows, outcomes that come early, late, twice and corrected."""

    @pytest.fixture
    def log(self) -> PredictionLog:
        """Return an empty log."""
        raise NotImplementedError

    def test_nothing_logged_is_an_empty_table(self, log: PredictionLog) -> None:
        found = log.read("fraud", 0, 100)
        assert found.num_rows == 0
        fixed = {"prediction_id", "version", "variant", "time_us", "output", "latency_us", "outcome"}
        assert fixed <= {*found.column_names}

    def test_a_prediction_comes_back_whole(self, log: PredictionLog) -> None:
        log.append("fraud", [record("a")], "b1")
        assert log.read("fraud", 0, 100).to_pylist() == [{
            "prediction_id": "a", "version": 3, "variant": "champion", "time_us": 10, "output": 0.25, "latency_us": 180,
            "outcome": None, "spend.mean": 1.5, "spend.city": "Bern", "amount": 2.0,
        }]  # fmt: skip

    def test_a_repeated_batch_adds_nothing(self, log: PredictionLog) -> None:
        log.append("fraud", [record("a")], "b1")
        log.append("fraud", [record("a")], "b1")
        log.append("other", [record("a")], "b1")
        assert log.read("fraud", 0, 100).num_rows == log.read("other", 0, 100).num_rows == 1

    def test_the_window_is_open_below_and_closed_above(self, log: PredictionLog) -> None:
        log.append("fraud", [record(f"p{t}", t) for t in (30, 10, 20, 40)], "b1")
        assert log.read("fraud", 10, 30)["time_us"].to_pylist() == [20, 30]

    def test_one_row_an_id_the_latest(self, log: PredictionLog) -> None:
        log.append("fraud", [record("a", 10, output=0.1)], "b1")
        log.append("fraud", [record("a", 20, output=0.2), record("b", 5)], "b2")
        found = log.read("fraud", 0, 100)
        assert found["prediction_id"].to_pylist() == ["b", "a"]
        assert found["output"].to_pylist() == [0.25, 0.2]

    def test_nulls_and_inputs_of_later_versions(self, log: PredictionLog) -> None:
        log.append("fraud", [record("a", 1, {"x": None, "city": None})], "b1")
        log.append("fraud", [record("b", 2, {"x": 1, "city": "Ünï", "new": math.nan})], "b2")
        found = log.read("fraud", 0, 100).to_pydict()
        assert (found["x"], found["city"], found["new"]) == ([None, 1.0], [None, "Ünï"], [None, None])

    def test_an_input_may_change_its_type(self, log: PredictionLog) -> None:
        log.append("fraud", [record("a", 1, {"x": 1.0})], "b1")
        log.append("fraud", [record("b", 2, {"x": "one"}), record("c", 3, {"x": "two"})], "b2")
        assert log.read("fraud", 0, 100)["x"].to_pylist() == [None, "one", "two"]
        assert log.read("fraud", 0, 1)["x"].to_pylist() == [1.0]

    def test_pages_are_the_period_newest_first(self, log: PredictionLog) -> None:
        log.append("fraud", [record(f"p{n}", 10 + n // 3) for n in (4, 2, 7, 1)], "b1")
        log.append("fraud", [record(f"p{n}", 10 + n // 3) for n in (0, 8, 3, 6, 5)], "b2")
        log.append("fraud", [record("p1", 13), record("early", 9), record("late", 14)], "b3")
        log.append_outcomes("fraud", [Outcome("p3", 1.0, 12)], "o1")
        whole = log.read("fraud", 9, 13).to_pylist()[::-1]
        pages = list(_pages(log, 9, 13, limit=2))
        assert [row for page in pages for row in page.rows.to_pylist()] == whole
        assert [row["prediction_id"] for row in whole] == ["p1", "p8", "p7", "p6", "p5", "p4", "p3", "p2", "p0"]
        assert [page.rows.num_rows for page in pages] == [2, 2, 2, 2, 1]
        assert {page.total for page in pages} == {9}
        assert [page.is_last for page in pages] == [False] * 4 + [True]

    def test_a_page_may_be_empty_or_hold_all(self, log: PredictionLog) -> None:
        nothing = log.page("fraud", 0, 100, limit=5)
        assert (nothing.rows.num_rows, nothing.total, nothing.is_last) == (0, 0, True)
        log.append("fraud", [record("a", 10), record("b", 10)], "b1")
        none = log.page("fraud", 0, 100, limit=0)
        assert (none.rows.num_rows, none.total, none.is_last) == (0, 2, False)
        both = log.page("fraud", 0, 100, limit=2)
        assert (both.rows["prediction_id"].to_pylist(), both.is_last) == (["b", "a"], True)
        assert log.page("fraud", 0, 100, limit=2, before=(10, "a")).rows.num_rows == 0
        assert log.page("fraud", 10, 100, limit=2).total == 0

    def test_what_is_logged_between_two_pages_moves_nothing(self, log: PredictionLog) -> None:
        log.append("fraud", [record(f"p{n}", 10) for n in range(4)], "b1")
        first = log.page("fraud", 0, 100, limit=2)
        log.append("fraud", [record("new", 20)], "b2")
        second = log.page("fraud", 0, 100, limit=2, before=(10, "p2"))
        found = [page.rows["prediction_id"].to_pylist() for page in (first, second)]
        assert found == [["p3", "p2"], ["p1", "p0"]]

    def test_outcomes_join_by_id(self, log: PredictionLog) -> None:
        assert log.append_outcomes("fraud", [Outcome("b", 1.0, 15), Outcome("unknown", 0.0, 15)], "o1") == 2
        log.append("fraud", [record("a", 10), record("b", 11)], "b1")
        assert log.append_outcomes("fraud", [Outcome("a", 0.0, 16)], "o2") == 1
        assert log.read("fraud", 0, 100)["outcome"].to_pylist() == [0.0, 1.0]

    def test_outcomes_known_later_are_not_seen(self, log: PredictionLog) -> None:
        log.append("fraud", [record("a", 10)], "b1")
        log.append_outcomes("fraud", [Outcome("a", 1.0, 50)], "o1")
        assert log.read("fraud", 0, 49)["outcome"].to_pylist() == [None]
        assert log.read("fraud", 0, 50)["outcome"].to_pylist() == [1.0]

    def test_the_latest_outcome_counts_in_whatever_order(self, log: PredictionLog) -> None:
        log.append("fraud", [record("a", 10)], "b1")
        log.append_outcomes("fraud", [Outcome("a", 1.0, 30), Outcome("a", 0.0, 20)], "o1")
        assert log.read("fraud", 0, 100)["outcome"].to_pylist() == [1.0]
        assert log.append_outcomes("fraud", [Outcome("a", 5.0, 25)], "o2") == 1
        assert log.read("fraud", 0, 100)["outcome"].to_pylist() == [1.0]
        assert log.append_outcomes("fraud", [Outcome("a", 7.0, 40)], "o3") == 1
        assert log.read("fraud", 0, 100)["outcome"].to_pylist() == [7.0]

    def test_repeated_outcomes_are_not_new(self, log: PredictionLog) -> None:
        batch = [Outcome("a", 1.0, 20), Outcome("b", 0.0, 20)]
        assert log.append_outcomes("fraud", batch, "o1") == 2
        assert log.append_outcomes("fraud", batch, "o1") == 0
        assert log.append_outcomes("fraud", [*batch, Outcome("c", 1.0, 30)], "o2") == 1

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_an_outcome_is_a_finite_number(self, log: PredictionLog, value: float) -> None:
        with pytest.raises(InvalidInput, match="'a'"):
            log.append_outcomes("fraud", [Outcome("a", value, 20)], "o1")
