"""Work whose lease is no longer current ends at its next report, and leaves the operation as it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gnomon import composition
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.operation_work import run_operation
from gnomon.control_plane.parts import Parts
from gnomon.runtime.stop_requests import stop_requested, stoppable


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """The platform's own parts, with an app applied and an ingest running under lease 1."""
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GNOMON_ONLINE_URL", "redis://127.0.0.1:1/0")  # never asked: ingest does not need it
    made = composition.parts.__wrapped__()
    (tmp_path / "events.csv").write_text("id,at\n" + "".join(f"{n},2026-01-01T00:00:0{n}Z\n" for n in range(5)))
    app = App.of("app", [DataSource("events", path="events.csv", id="id", event_time="at")], root=str(tmp_path))
    made.definitions.apply(app.with_schemas({"events": {"id": "string", "at": "timestamp"}}), actor="me")
    made.operations.submit("ingest", "events", {}, actor="me", operation_id="op")
    made.operations.lease("op", 0)
    return made


class ClockThatInterferes(SystemClock):
    """Lets something happen once, when the work reads the time: after its start and before its first report."""

    def __init__(self, interfere: Callable[[], object]) -> None:
        self._interfere: Callable[[], object] | None = interfere

    def now_us(self) -> int:
        interfere, self._interfere = self._interfere, None
        if interfere is not None:
            interfere()
        return super().now_us()


def test_work_under_the_current_lease_is_finished(parts: Parts) -> None:
    run_operation("op", 1, parts)
    done = parts.operations.get("op")
    assert (done.state, dict(done.result or {})["rows_added"]) == ("succeeded", 5)
    assert parts.states.get("ingest", "events") is not None


def test_cancelled_work_ends_at_its_next_report(parts: Parts) -> None:
    run_operation("op", 1, replace(parts, clock=ClockThatInterferes(lambda: parts.operations.cancel("op"))))
    left = parts.operations.get("op")
    assert (left.state, left.result, left.error) == ("cancelled", None, None)
    assert parts.states.get("ingest", "events") is None, "the work went on after its report"


def test_work_of_an_older_lease_ends_at_its_next_report(parts: Parts) -> None:
    run_operation("op", 1, replace(parts, clock=ClockThatInterferes(lambda: parts.operations.lease("op", 1))))
    left = parts.operations.get("op")
    assert (left.state, left.lease, left.result, left.error) == ("running", 2, None, None)
    assert parts.states.get("ingest", "events") is None
    run_operation("op", 2, parts)
    assert parts.operations.get("op").state == "succeeded"


def test_ingest_whose_worker_died_at_its_end_reports_what_it_had_added(parts: Parts) -> None:
    class Dies:
        def get(self, kind: str, name: str) -> None:
            return None

        def put(self, kind: str, name: str, document: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_operation("op", 1, replace(parts, states=Dies()))
    parts.operations.lease("op", 1)
    run_operation("op", 2, parts)
    result = parts.operations.get("op").result
    assert result is not None
    assert (result["rows_read"], result["rows_added"]) == (5, 5)


def test_work_that_is_asked_to_stop_ends_at_its_next_report(parts: Parts) -> None:
    request = threading.Event()
    request.set()
    with stoppable(request):
        run_operation("op", 1, parts)
    left = parts.operations.get("op")
    assert (left.state, left.progress, left.error) == ("running", "", None)
    assert parts.states.get("ingest", "events") is None


def test_stop_requests_are_seen_by_their_own_thread_only() -> None:
    request, seen = threading.Event(), []
    request.set()
    with stoppable(request):
        other = threading.Thread(target=lambda: seen.append(stop_requested()))
        other.start()
        other.join()
        assert stop_requested()
    assert seen == [False]
    assert not stop_requested()
