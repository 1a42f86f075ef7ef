"""The stored model: round trip, equality with torch, and everything that loading must refuse."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.errors import CorruptData, GnomonError, InvalidInput, NotFound
from gnomon.registry.model_formats import load_predictor, save_tabular_mlp
from gnomon.registry.model_inputs import CategoricalInput, Encoder, NumericInput, Preprocessing, model_columns
from gnomon.registry.tabular_mlp import TabularMLPDesign

INPUTS = (
    ModelInput(name="v.amount", dtype="float64", origin="view"),
    ModelInput(name="v.count", dtype="int64", origin="view"),
    ModelInput(name="country", dtype="string", origin="request"),
)
PREPROCESSING = Preprocessing(
    numeric=(
        NumericInput(name="v.amount", fill=20.0, compress_scale=20.0, mean=0.7, std=0.5, missing_flag=True),
        NumericInput(name="v.count", fill=3.0, mean=3.0, std=2.0, missing_flag=False),
    ),
    categorical=(CategoricalInput(name="country", vocabulary=("de", "fr"), embedding=3),),
)


def design(task: str = "binary", hidden: tuple[int, ...] = (8, 4)) -> TabularMLPDesign:
    signature = Signature(
        keys={}, request={"country": "string"}, inputs=INPUTS, lookups=(), request_features=(), task=task
    )
    scale = {} if task == "binary" else {"target_mean": 100.0, "target_std": 7.0}
    return TabularMLPDesign(signature=signature, preprocessing=PREPROCESSING, hidden=hidden, **scale)


def weights(of: TabularMLPDesign, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {n: random.normal(0, 0.5, shape).astype(np.float32) for n, shape in of.parameter_shapes().items()}


def columns(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    amount, count = np.exp(random.normal(3, 2, rows)), random.poisson(3, rows).astype(float)
    amount[random.random(rows) < 0.2] = np.nan
    country = random.choice(np.array(["de", "fr", "xx", None], object), rows)
    return {"v.amount": amount, "v.count": count, "country": country}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tabular_mlp(tmp_path / "model", design(), weights(design()))


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("hidden", [(), (8,), (64, 32)])
def test_the_loaded_predictor_equals_the_torch_network(tmp_path: Path, task: str, hidden: tuple[int, ...]) -> None:
    import torch

    from gnomon.training.network import TabularNetwork

    of = design(task, hidden)
    predictor = load_predictor(save_tabular_mlp(tmp_path, of, weights(of)))
    network = TabularNetwork(of, dropout=0.5).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights(of).items()})
    data = columns(40_000)
    dense, codes = Encoder(of.preprocessing).encode(data)
    with torch.inference_mode():
        raw = network(torch.from_numpy(dense), torch.from_numpy(codes.astype(np.int64))).double()
        expected = (torch.sigmoid(raw) if task == "binary" else raw * 7.0 + 100.0).numpy()
    got = predictor.predict(data)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 if task == "binary" else 2e-4)
    one = np.concatenate([predictor.predict({n: v[i : i + 1] for n, v in data.items()}) for i in range(200)])
    np.testing.assert_allclose(one, got[:200], rtol=0, atol=1e-6 if task == "binary" else 2e-4)


def test_saving_equal_models_gives_equal_bytes(tmp_path: Path, folder: Path) -> None:
    again = save_tabular_mlp(tmp_path / "again", design(), dict(reversed(weights(design()).items())))
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_nulls_unknown_words_and_huge_numbers_get_finite_answers(folder: Path) -> None:
    numbers = [np.nan, np.inf, -np.inf, 1e308, -1e308, 0.0, 5e-324]
    data = {
        "v.amount": np.array(numbers),
        "v.count": np.array(numbers[::-1]),
        "country": np.array([None, "de", "xx", "", "de", "\x00", "fr"], object),
    }
    answers = load_predictor(folder).predict(data)
    assert np.isfinite(answers).all()
    assert ((answers >= 0) & (answers <= 1)).all()


def test_no_rows_give_no_answers(folder: Path) -> None:
    assert load_predictor(folder).predict(columns(0)).shape == (0,)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_preprocessing_equals_its_definition_row_by_row(data: st.DataObject) -> None:
    any_float = st.floats(width=64) | st.just(float("nan"))
    rows = data.draw(st.lists(st.tuples(any_float, any_float, st.sampled_from(["de", "fr", "q", None])), min_size=1))
    dense, codes = Encoder(PREPROCESSING).encode(
        {
            "v.amount": np.array([r[0] for r in rows]),
            "v.count": np.array([r[1] for r in rows]),
            "country": np.array([r[2] for r in rows], object),
        }
    )
    for i, (amount, count, country) in enumerate(rows):
        filled = amount if np.isfinite(amount) else 20.0
        compressed = np.sign(filled) * np.log1p(abs(np.longdouble(filled)) / 20.0)
        expected = [
            float(np.clip((compressed - 0.7) / 0.5, -10, 10)),
            float(np.clip(((np.longdouble(count) if np.isfinite(count) else 3.0) - 3.0) / 2.0, -10, 10)),
            float(not np.isfinite(amount)),
        ]
        np.testing.assert_allclose(dense[i], expected, rtol=1e-5, atol=1e-6)
        assert codes[i, 0] == {"de": 2, "fr": 3, None: 1}.get(country, 0)


def test_a_missing_input_is_named_with_the_nearest_one(folder: Path) -> None:
    data = columns(3)
    data["v.amuont"] = data.pop("v.amount")
    with pytest.raises(InvalidInput, match=r"'v\.amount' is missing.*did you mean 'v\.amuont'"):
        load_predictor(folder).predict(data)


@pytest.mark.parametrize(
    "bad",
    [
        {"v.count": np.zeros(1)},
        {"v.amount": np.zeros((3, 1))},
        {"v.amount": np.array([1.0, "x", 2.0], object)},
        {"country": np.array([[1], "de", "de"], object)},
    ],
)
def test_columns_that_do_not_fit_are_refused(folder: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(bad))):
        load_predictor(folder).predict({**columns(3), **bad})


def edit_config(folder: Path, change: Any) -> None:
    body = json.loads((folder / "config.json").read_text())
    change(body)
    (folder / "config.json").write_text(json.dumps(body))


def replace_weights(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    digest = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    edit_config(folder, lambda body: body.update(weights=digest))


def test_a_version_from_the_future_is_refused(folder: Path) -> None:
    edit_config(folder, lambda body: body.update(version=2))
    with pytest.raises(CorruptData, match="version 2; this Gnomon reads"):
        load_predictor(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(format="pickle"),
        lambda body: body.pop("design"),
        lambda body: body.update(extra=1),
        lambda body: body["design"].update(hidden=[0]),
        lambda body: body["design"].update(hidden=[9, 4]),
        lambda body: body["design"].update(target_std=0.0),
        lambda body: body["design"]["preprocessing"]["numeric"].pop(),
        lambda body: body["design"]["preprocessing"]["numeric"][0].update(std=-1.0),
        lambda body: body["design"]["preprocessing"]["numeric"][0].update(mean=float("nan")),
        lambda body: body["design"]["preprocessing"]["numeric"][0].update(name="other"),
        lambda body: body["weights"].update(sha256="0" * 64),
        lambda body: body["weights"].update(size_bytes=10**15),
    ],
)
def test_a_changed_configuration_is_refused(folder: Path, change: Any) -> None:
    edit_config(folder, change)
    with pytest.raises(CorruptData):
        load_predictor(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "[" * 100_000, "\x00"])
def test_a_configuration_that_is_none_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CorruptData):
        load_predictor(folder)


def test_every_cut_and_every_flipped_byte_of_the_weights_is_seen(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", whole + b"\0", whole[:-3] + b"\xff" + whole[-2:]):
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(CorruptData, match="restore the artifact"):
            load_predictor(folder)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, poison: float) -> None:
    from safetensors.numpy import save

    tensors = weights(design())
    tensors["layers.0.bias"][0] = poison
    with pytest.raises(CorruptData, match="not finite"):
        save_tabular_mlp(folder, design(), tensors)
    replace_weights(folder, save(tensors))
    with pytest.raises(CorruptData, match="not finite"):
        load_predictor(folder)


def test_tensors_of_other_names_shapes_and_types_are_refused(folder: Path) -> None:
    from safetensors.numpy import save

    good = weights(design())
    for tensors in (
        {**good, "layers.0.bias": good["layers.0.bias"].reshape(1, -1)},
        {**good, "layers.0.bias": good["layers.0.bias"].astype(np.int32)},
        {("x" if name == "layers.0.bias" else name): value for name, value in good.items()},
        {**good, "more": np.zeros(1, np.float32)},
    ):
        replace_weights(folder, save(tensors))
        with pytest.raises(CorruptData):
            load_predictor(folder)


def test_a_header_that_lies_about_its_length_is_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    replace_weights(folder, struct.pack("<Q", 2**60) + whole[8:])
    with pytest.raises(CorruptData, match="no safetensors file"):
        load_predictor(folder)


def test_a_pickle_in_place_of_the_weights_is_not_run(folder: Path, tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Any]]:
            return (Path.touch, (tmp_path / "owned",))

    size = (folder / "model.safetensors").stat().st_size
    replace_weights(folder, pickle.dumps(Trap()).ljust(size, b"\0"))
    with pytest.raises(CorruptData):
        load_predictor(folder)
    assert not (tmp_path / "owned").exists()


def test_the_manifest_is_checked_first(folder: Path) -> None:
    entry = {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size) for path in folder.iterdir()
    }
    load_predictor(folder, entry)
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes() + b" ")
    load_predictor(folder)
    with pytest.raises(CorruptData, match=r"config\.json"):
        load_predictor(folder, entry)
    with pytest.raises(NotFound, match="absent"):
        load_predictor(folder, {"absent": ("0" * 64, 1)})


def test_a_folder_without_a_model_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"config\.json"):
        load_predictor(tmp_path)


def test_arrow_columns_become_model_columns() -> None:
    inputs = [
        ModelInput(name=name, dtype=dtype, origin="view")
        for name, dtype in [("i", "int64"), ("b", "bool"), ("t", "timestamp"), ("s", "string"), ("n", "float64")]
    ]
    table = pa.table(
        {
            "t": pa.array([None, 5], pa.timestamp("ms", tz="UTC")),
            "i": pa.array([3, None]),
            "b": pa.array([True, None]),
            "s": pa.array(["a", None]).dictionary_encode(),
            "n": pa.nulls(2),
        }
    )
    for source in (table, table.to_batches()[0]):
        got = model_columns(source, inputs)
        assert list(got) == ["i", "b", "t", "s", "n"]
        np.testing.assert_array_equal(got["i"], [3.0, np.nan])
        np.testing.assert_array_equal(got["b"], [1.0, np.nan])
        np.testing.assert_array_equal(got["t"], [np.nan, 5000.0])
        assert got["s"].tolist() == ["a", None]
        assert np.isnan(got["n"]).all()


def test_arrow_columns_of_the_wrong_type_are_refused() -> None:
    number = ModelInput(name="x", dtype="float64", origin="view")
    word = ModelInput(name="x", dtype="string", origin="view")
    for item, values in ((number, ["1"]), (word, [1]), (number, [[1]])):
        with pytest.raises(GnomonError, match="'x' has type"):
            model_columns(pa.table({"x": values}), [item])
    with pytest.raises(InvalidInput, match="'x' is missing"):
        model_columns(pa.table({"y": [1]}), [number])
