"""Functions of on-demand views, called with what Gnomon gives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gnomon.importing.on_demand_calls import call_pandas, call_python, call_single

READS = {"n": "int64", "x": "float64", "yes": "bool", "word": "string", "at": "timestamp"}
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
COLUMNS = (
    np.array([1.0, 2.0]), np.array([0.5, np.nan]), np.array([1.0, 0.0]), np.array(["a", None], object),
    np.array([MOMENT.timestamp() * 1e6, np.nan]),
)  # fmt: skip


def test_a_data_frame_has_the_declared_types() -> None:
    seen: dict[str, Any] = {}

    def function(frame: pd.DataFrame) -> pd.DataFrame:
        seen.update({name: (str(frame[name].dtype), frame[name][0]) for name in frame})
        return frame

    assert call_pandas(function, READS, "n", COLUMNS).tolist() == [1, 2]
    assert seen["n"] == ("int64", 1)
    assert seen["yes"][0] == "bool"
    assert seen["at"][1] == pd.Timestamp(MOMENT)
    assert call_pandas(function, READS, "word", COLUMNS).tolist() == ["a", None]
    assert call_pandas(function, READS, "at", COLUMNS).tolist() == [MOMENT, None]
    assert call_pandas(function, READS, "yes", COLUMNS).tolist() == [True, False]
    assert np.isnan(call_pandas(function, READS, "x", COLUMNS)[1])


def test_whole_numbers_with_nulls_are_floats_as_in_feast() -> None:
    found = call_pandas(lambda frame: frame, {"n": "int64"}, "n", (np.array([1.0, np.nan]),))
    assert found.dtype == np.float64


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int64", np.array([3.0, np.nan, 5.0])),
        ("bool", np.array([1.0, np.nan, 0.0])),
        ("float64", np.array([0.5, np.nan, 2.0])),
        ("string", np.array(["a", None, "b"], object)),
        ("timestamp", np.array([MOMENT.timestamp() * 1e6, np.nan, 0.0])),
    ],
)
def test_a_row_alone_is_what_it_is_among_others(dtype: str, values: np.ndarray[Any, Any]) -> None:
    reads = {"n": dtype, "other": "int64"}
    others = np.array([1.0, 2.0, np.nan])

    def function(frame: pd.DataFrame) -> pd.DataFrame:
        frame["text"] = [f"{frame[name].dtype} {value!r}" for name in ("n",) for value in frame[name].tolist()]
        return frame

    together = call_pandas(function, reads, "text", (values, others)).tolist()
    rows = [slice(n, n + 1) for n in range(3)]
    alone = [call_pandas(function, reads, "text", (values[n], others[n])).item() for n in rows]
    assert together == alone
    assert together[0] == {"int64": "int64 3", "bool": "bool True"}.get(dtype, together[0])


def test_results_of_several_calls_come_in_the_order_of_the_rows() -> None:
    columns = (np.array([np.nan, 1.0, np.nan, 2.0]), np.array([10.0, 20.0, 30.0, 40.0]))
    reads = {"n": "int64", "x": "float64"}
    assert call_pandas(lambda frame: frame, reads, "x", columns).tolist() == [10.0, 20.0, 30.0, 40.0]
    texts = call_pandas(lambda frame: frame.assign(t=frame["n"].astype(str)), reads, "t", columns)
    assert [text for text in texts if text is not None and text != "nan"] == ["1", "2"]
    none = call_pandas(lambda frame: frame, reads, "n", (np.array([]), np.array([])))
    assert none.tolist() == []
    short = call_pandas(lambda frame: frame[:1], reads, "x", columns)
    assert len(short) == 2  # and so it is refused, as a column of another length is


def test_lists_and_single_values_have_pythons_types() -> None:
    expected = {"n": [1, 2], "x": [0.5, None], "yes": [True, False], "word": ["a", None], "at": [MOMENT, None]}
    lists: list[dict[str, Any]] = []

    def all_rows(inputs: dict[str, Any]) -> dict[str, Any]:
        lists.append(inputs)
        return inputs

    assert call_python(all_rows, READS, "x", COLUMNS).tolist() == [0.5, None]
    assert lists == [expected]
    assert [type(value) for value in lists[0]["n"]] == [int, int]
    rows: list[dict[str, Any]] = []

    def one_row(inputs: dict[str, Any]) -> dict[str, Any]:
        rows.append(inputs)
        return {"y": float("nan") if inputs["x"] is None else inputs["x"]}

    assert call_single(one_row, READS, "y", COLUMNS).tolist() == [0.5, None]
    assert rows == [{name: values[i] for name, values in expected.items()} for i in range(2)]
