"""What every `RunTracker` must do. A test class derives from this one and overrides `open_tracker`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from gnomon.contracts.registry import RunTracker
from gnomon.errors import Conflict, NotFound
from gnomon.testing.races import race

RACERS = 4

TrackerOpener = Callable[[], AbstractContextManager[RunTracker]]


class RunTrackerContract:
    """The contract of `RunTracker`."""

    @pytest.fixture
    def open_tracker(self) -> TrackerOpener:
        """Return a picklable opener of one empty tracker, shared by all who open it."""
        raise NotImplementedError

    @pytest.fixture
    def tracker(self, open_tracker: TrackerOpener) -> Iterator[RunTracker]:
        """The tracker, opened in this process."""
        with open_tracker() as tracker:
            yield tracker

    def test_run_comes_back(self, tracker: RunTracker, open_tracker: TrackerOpener) -> None:
        run = tracker.start("r1", "fraud", {"hidden": [64, 32], "learning_rate": 2e-3})
        assert (run.state, run.finished, run.metrics, run.error) == ("running", None, {}, "")
        assert run.started.utcoffset() is not None
        with open_tracker() as other:
            assert other.runs() == [run]

    def test_finish_records_metrics(self, tracker: RunTracker) -> None:
        tracker.start("r1", "fraud", {})
        run = tracker.finish("r1", {"roc_auc": 0.91, "log_loss": 0.2})
        assert (run.state, run.metrics) == ("finished", {"roc_auc": 0.91, "log_loss": 0.2})
        assert run.finished is not None
        assert tracker.finish("r1", {"roc_auc": 0.91, "log_loss": 0.2}).metrics == run.metrics

    def test_error_is_a_failure(self, tracker: RunTracker) -> None:
        tracker.start("r1", "fraud", {})
        run = tracker.finish("r1", {}, error="worker 1 died")
        assert (run.state, run.error) == ("failed", "worker 1 died")

    def test_starting_again_keeps_the_series(self, tracker: RunTracker) -> None:
        first = tracker.start("r1", "fraud", {"seed": 1})
        tracker.log("r1", 1, {"loss": 0.5})
        tracker.finish("r1", {"roc_auc": 0.5}, error="died")
        again = tracker.start("r1", "fraud", {"seed": 1})
        assert again == first
        assert tracker.series("r1", "loss") == [(1, 0.5)]
        assert len(tracker.runs()) == 1

    def test_run_of_another_model_conflicts(self, tracker: RunTracker) -> None:
        tracker.start("r1", "fraud", {})
        with pytest.raises(Conflict, match="trains model 'fraud', not 'churn'"):
            tracker.start("r1", "churn", {})

    def test_series_is_by_step_and_repeats_replace(self, tracker: RunTracker) -> None:
        tracker.start("r1", "fraud", {})
        for step in (10, 2, 1):
            tracker.log("r1", step, {"loss": 1 / step, "rate": 0.1})
        tracker.log("r1", 2, {"loss": 7})
        assert tracker.series("r1", "loss") == [(1, 1.0), (2, 7.0), (10, 0.1)]
        assert tracker.series("r1", "rate") == [(1, 0.1), (2, 0.1), (10, 0.1)]
        assert tracker.series("r1", "never") == []
        tracker.log("r1", 3, {})

    def test_diverged_numbers_are_kept(self, tracker: RunTracker) -> None:
        tracker.start("r1", "fraud", {})
        tracker.log("r1", 1, {"loss": math.nan, "norm": math.inf})
        run = tracker.finish("r1", {"roc_auc": math.nan})
        [(_, loss)], [(_, norm)] = tracker.series("r1", "loss"), tracker.series("r1", "norm")
        assert math.isnan(loss)
        assert norm == math.inf
        assert math.isnan(run.metrics["roc_auc"])

    def test_runs_are_newest_first_by_model(self, tracker: RunTracker) -> None:
        for i, model in enumerate(("fraud", "churn", "fraud")):
            tracker.start(f"r{i}", model, {})
        assert [r.run_id for r in tracker.runs()] == ["r2", "r1", "r0"]
        assert [r.run_id for r in tracker.runs("fraud")] == ["r2", "r0"]
        assert tracker.runs("none") == []

    def test_unknown_run_is_not_found(self, tracker: RunTracker) -> None:
        tracker.start("run-1", "fraud", {})
        calls: list[Callable[[], object]] = [
            lambda: tracker.log("run-2", 1, {"loss": 1}),
            lambda: tracker.finish("run-2", {}),
            lambda: tracker.series("run-2", "loss"),
        ]
        for call in calls:
            with pytest.raises(NotFound, match="did you mean 'run-1'"):
                call()

    def test_concurrent_workers_lose_no_step(self, tracker: RunTracker, open_tracker: TrackerOpener) -> None:
        tracker.start("r1", "fraud", {})
        race(open_tracker, _log, racers=RACERS, rounds=10)
        assert [step for step, _ in tracker.series("r1", "loss")] == list(range(10))
        assert all(len(tracker.series("r1", f"loss_{racer}")) == 10 for racer in range(RACERS))


def _log(tracker: RunTracker, number: int, racer: int) -> None:
    tracker.log("r1", number, {"loss": racer, f"loss_{racer}": racer})
