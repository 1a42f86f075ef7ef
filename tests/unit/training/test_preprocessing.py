"""What is learned from training rows, and that streaming and sampling do not change it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.errors import CorruptData, InvalidInput, NotFound
from gnomon.registry.model_inputs import Encoder, model_columns
from gnomon.registry.tabular_mlp import TabularMLPDesign
from gnomon.training.preprocessing import learn_preprocessing
from gnomon.training.shards import encode_shard

RANDOM = np.random.default_rng(0)


def signature(task: str = "binary", **dtypes: Any) -> Signature:
    inputs = tuple(ModelInput(name=name, dtype=dtype, origin="view") for name, dtype in dtypes.items())
    return Signature(keys={}, request={}, inputs=inputs, lookups=(), request_features=(), task=task)


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_each_type_of_input_gets_what_suits_it(tmp_path: Path) -> None:
    rows = 4_000
    normal, heavy = RANDOM.normal(5, 2, rows), np.exp(RANDOM.normal(3, 1.5, rows))
    holes = np.where(RANDOM.random(rows) < 0.25, np.nan, normal)
    words = np.array(["a"] * 3_000 + ["b"] * 990 + [f"rare{i}" for i in range(6)] + [None] * 4, object)
    train = write(
        tmp_path / "t.parquet",
        {
            "word": words,
            "v.normal": normal,
            "v.heavy": heavy,
            "v.signed": heavy * np.where(RANDOM.random(rows) < 0.5, -1, 1),
            "v.holes": pa.array(holes, from_pandas=True),
            "v.constant": np.full(rows, 7),
            "v.empty": pa.nulls(rows, pa.float64()),
            "v.flag": RANDOM.random(rows) < 0.01,
            "when": pa.array(np.arange(rows) * 1_000_000, pa.timestamp("us", tz="UTC")),
            "label": (normal > 5).astype(float),
        },
    )
    dtypes = {
        "word": "string", "v.normal": "float64", "v.heavy": "float64", "v.signed": "float64", "v.holes": "float64",
        "v.constant": "int64", "v.empty": "float64", "v.flag": "bool", "when": "timestamp",
    }  # fmt: skip
    learned, target = learn_preprocessing(train, signature(**dtypes), seed=0)
    of = {item.name: item for item in learned.numeric}
    assert of["v.normal"].compress_scale is None
    assert of["v.normal"].mean == pytest.approx(normal.mean())
    assert of["v.normal"].std == pytest.approx(normal.std())
    assert of["v.heavy"].compress_scale == pytest.approx(np.median(heavy))
    assert of["v.signed"].compress_scale is not None
    assert of["v.holes"].fill == pytest.approx(np.nanmedian(holes))
    assert [item.name for item in learned.numeric if item.missing_flag] == ["v.holes"]
    assert of["v.constant"].std == 1.0
    assert of["v.empty"].fill == 0.0
    assert of["v.flag"].compress_scale is None
    assert learned.categorical[0].vocabulary == ("a", "b")
    assert (target.rows, target.mean) == (rows, pytest.approx((normal > 5).mean()))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_shards_together_are_the_whole_file_in_any_row_grouping(tmp_path: Path, workers: int) -> None:
    rows = 1_000
    columns = {
        "x": RANDOM.normal(size=rows),
        "word": RANDOM.choice(np.array(["a", "b", None], object), rows),
        "label": RANDOM.normal(50, 9, rows),
    }
    of = signature("regression", x="float64", word="string")
    train = write(tmp_path / "t.parquet", columns, row_group_size=97)
    learned, target = learn_preprocessing(train, of, seed=0)
    design = TabularMLPDesign(
        signature=of, preprocessing=learned, hidden=(4,), target_mean=target.mean, target_std=target.std
    )
    dense, codes = Encoder(learned).encode(model_columns(pa.table(columns), of.inputs))
    shards = [encode_shard(train, design, rank, workers) for rank in range(workers)]
    for rank, shard in enumerate(shards):
        np.testing.assert_array_equal(shard.dense, dense[rank::workers])
        np.testing.assert_array_equal(shard.codes, codes[rank::workers])
        expected = ((columns["label"] - target.mean) / target.std)[rank::workers]
        np.testing.assert_allclose(shard.targets, expected, rtol=1e-5)
        steps = [len(batch[2]) for batch in shard.batches(64, np.random.SeedSequence(1))]
        assert sum(steps) == -(-rows // workers)
        assert len(steps) == -(-sum(steps) // 64)


def test_an_epoch_visits_every_row_once_in_an_order_of_its_seed(tmp_path: Path) -> None:
    of = signature(x="float64")
    train = write(tmp_path / "t.parquet", {"x": np.arange(500.0), "label": np.arange(500) % 2 * 1.0})
    learned, _ = learn_preprocessing(train, of, seed=0)
    shard = encode_shard(train, TabularMLPDesign(signature=of, preprocessing=learned, hidden=()), 0, 1)

    def order(*seed: int) -> list[float]:
        return [x for dense, _, _ in shard.batches(33, np.random.SeedSequence(seed)) for x in dense[:, 0].tolist()]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == sorted(shard.dense[:, 0].tolist())


def test_a_file_larger_than_the_sample_is_learned_alike(tmp_path: Path) -> None:
    rows = 400_000
    x = RANDOM.normal(3, 2, rows)
    train = write(tmp_path / "t.parquet", {"x": x, "label": (x > 3) * 1.0})
    learned, target = learn_preprocessing(train, signature(x="float64"), seed=1)
    assert target.rows == rows
    assert learned.numeric[0].mean == pytest.approx(3, abs=0.03)
    assert learned.numeric[0].std == pytest.approx(2, abs=0.03)
    assert learned == learn_preprocessing(train, signature(x="float64"), seed=1)[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1.0], "label": [1.0]}, "all 1 training rows have the label 1"),
        ({"x": [1.0, 2.0], "label": [0.0, 2.0]}, "a binary label is 0 or 1, a training row has 2.0"),
        ({"x": [1.0, 2.0], "label": [0.0, None]}, "1 training rows have no finite label"),
        ({"x": pa.array([], pa.float64()), "label": pa.array([], pa.float64())}, "no rows"),
        ({"x": [1.0], "y": [1.0]}, "no column 'label'"),
        ({"z": [1.0], "label": [1.0]}, "no column 'x'"),
        ({"x": ["a", "b"], "label": [0.0, 1.0]}, "'x' has type string"),
    ],
)
def test_a_training_set_that_teaches_nothing_is_refused(tmp_path: Path, columns: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        learn_preprocessing(write(tmp_path / "t.parquet", columns), signature(x="float64"), seed=0)


def test_a_file_that_is_absent_or_cut_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        learn_preprocessing(tmp_path / "absent", signature(x="float64"), seed=0)
    whole = write(tmp_path / "t.parquet", {"x": np.arange(100.0), "label": np.arange(100) % 2 * 1.0})
    whole.write_bytes(whole.read_bytes()[:-50])
    with pytest.raises(CorruptData, match="cannot be read as Parquet"):
        learn_preprocessing(whole, signature(x="float64"), seed=0)
