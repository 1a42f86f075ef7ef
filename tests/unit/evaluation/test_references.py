"""The monitoring reference: a faithful, repeatable sample."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from gnomon.errors import CorruptData, InvalidInput
from gnomon.evaluation.references import build_reference, read_reference


def inputs(rows: int) -> pa.Table:
    return pa.table({"v.x": np.arange(rows), "word": pa.array([None, *(f"w{i % 3}" for i in range(1, rows))])})


def test_few_rows_are_all_kept() -> None:
    table = read_reference(build_reference(inputs(40), np.linspace(0, 1, 40)))
    assert table.drop_columns("_score").equals(inputs(40))
    np.testing.assert_array_equal(table["_score"], np.linspace(0, 1, 40))


def test_many_rows_are_sampled_evenly_and_repeatably() -> None:
    scores = np.arange(50_000) / 50_000
    content = build_reference(inputs(50_000), scores, seed=3)
    table = read_reference(content)
    assert table.num_rows == 5_000
    np.testing.assert_allclose(table["_score"].to_numpy(), table["v.x"].to_numpy() / 50_000)
    assert abs(float(np.mean(table["_score"])) - 0.5) < 0.02
    assert np.all(np.diff(table["v.x"].to_numpy()) > 0)
    assert content == build_reference(inputs(50_000), scores, seed=3)
    assert content != build_reference(inputs(50_000), scores, seed=4)


def test_what_makes_no_reference_is_refused() -> None:
    with pytest.raises(InvalidInput, match="3 rows of inputs and 2 scores"):
        build_reference(inputs(3), np.zeros(2))
    with pytest.raises(InvalidInput, match="0 rows"):
        build_reference(inputs(3).slice(0, 0), np.zeros(0))
    with pytest.raises(InvalidInput, match="_score"):
        build_reference(pa.table({"_score": [1.0]}), np.zeros(1))


def test_damage_is_seen() -> None:
    content = build_reference(inputs(40), np.zeros(40))
    for damaged in (b"", content[: len(content) // 2], b"no parquet at all"):
        with pytest.raises(CorruptData):
            read_reference(damaged)
