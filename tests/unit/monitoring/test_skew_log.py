"""The log is read in stretches: every prediction once, in order, and not many at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnomon.contracts.clocks import to_us
from gnomon.contracts.columns import EVENT_ID, EVENT_TIME
from gnomon.contracts.predictions import PredictionRecord
from gnomon.monitoring.skew_log import log_slices, logged_input, logged_requests, logged_whole
from gnomon.serving.prediction_log import OfflinePredictionLog, predictions_table
from gnomon.storage.delta_tables import DeltaTables

TABLE = predictions_table("d")
_TIME = pa.timestamp("us", tz="UTC")


class Times:
    """An offline store of one table with the given event times, for thousands of examples."""

    def __init__(self, times: list[int]) -> None:
        self._times = times
        self.most_rows = 0

    def version(self, table: str) -> int:
        return 0 if self._times else -1

    def read(
        self, table: str, *, columns: list[str] | None = None, after_us: int, until_us: int, version: int
    ) -> pa.Table:
        ids = [i for i, t in enumerate(self._times) if after_us < t <= until_us]
        rows = pa.table({
            EVENT_ID: pa.array([f"{i:06}" for i in ids], pa.string()),
            EVENT_TIME: pa.array([self._times[i] for i in ids], pa.int64()).cast(_TIME),
        })  # fmt: skip
        return rows.select(columns or rows.column_names)


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 10), st.integers(0, 10**9), st.integers(0, 10**14)), max_size=60),
    st.integers(1, 20), st.integers(-1, 10**10), st.integers(0, 2 * 10**14),
)  # fmt: skip
@example([0, 10**14], 1, -1, 2 * 10**14)
def test_every_prediction_of_the_period_comes_once_and_in_order(
    times: list[int], slice_rows: int, after_us: int, until_us: int
) -> None:
    slices = list(log_slices(Times(times), TABLE, after_us, until_us, slice_rows))  # type: ignore[arg-type]
    found = [
        (t.as_py(), i.as_py())
        for rows in slices
        for t, i in zip(rows[EVENT_TIME].cast(pa.int64()), rows[EVENT_ID], strict=True)
    ]
    wanted = sorted((t, f"{i:06}") for i, t in enumerate(times) if after_us < t <= until_us)
    assert found == wanted
    for rows in slices:
        assert rows.num_rows <= 2 * slice_rows or len(rows[EVENT_TIME].unique()) == 1
        assert rows.num_rows


def record(number: int, inputs: dict[str, object], **keys: object) -> PredictionRecord:
    age = {} if "v.x" not in inputs else {"v.x": 5}
    status = {} if "v.x" not in inputs else {"v.x": 1}
    return PredictionRecord(f"p{number}", "d", "m", 1, "champion", 1000 + number, keys, inputs, age, status, 0.5, 1)


def test_columns_come_as_they_were_logged(tmp_path: Path) -> None:
    store = DeltaTables(tmp_path)
    log = OfflinePredictionLog(store)
    moment = to_us(datetime(2026, 3, 1, tzinfo=UTC))
    log.append("d", [record(1, {"v.x": 2**53 + 1, "v.s": None}, k=7, n="ü", ts=moment)], "a")
    log.append("d", [record(2, {"v.x": None, "v.s": "text"}, k=-(2**63), n="", ts=-1), record(3, {}, k=1, n="a")], "b")
    (rows,) = log_slices(store, TABLE, 0, 10_000, 100)
    assert logged_input(rows, "v.x", "int64").to_pylist() == [2.0**53, None, None]
    assert logged_input(rows, "v.s", "string").to_pylist() == [None, "text", None]
    assert logged_input(rows, "never", "bool").to_pylist() == [None] * 3
    assert logged_whole(rows, "age_us", "v.x", -1).tolist() == [5, 5, -1]
    assert logged_whole(rows, "status", "never", -9).tolist() == [-9] * 3
    asked = logged_requests(rows, {"k": "int64", "n": "string", "ts": "timestamp"}, np.array([1, 2, 3]))
    assert asked.select(["k", "n", "_t"]).to_pylist() == [
        {"k": 7, "n": "ü", "_t": 1}, {"k": -(2**63), "n": "", "_t": 2}, {"k": 1, "n": "a", "_t": 3}
    ]  # fmt: skip
    assert asked["ts"].cast(pa.int64()).to_pylist() == [moment, -1, None]


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_logged_gives_no_stretch(tmp_path: Path, rows: int) -> None:
    store = DeltaTables(tmp_path)
    if rows:
        OfflinePredictionLog(store).append("d", [record(1, {})], "a")
    assert list(log_slices(store, TABLE, 5000, 10_000, 100)) == []
