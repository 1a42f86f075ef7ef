"""The folder that a model version is stored as: `config.json` and `model.safetensors`; never a pickle.

`training` saves it, `serving` and the evaluation of a version load it. Loading believes nothing: the format's name and
version, the weights' size and digest, and each tensor's name, type, shape and finiteness are checked first.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from gnomon.contracts.predictors import Predictor
from gnomon.contracts.specs import Value
from gnomon.errors import CorruptData, NotFound
from gnomon.registry.model_inputs import Array
from gnomon.registry.tabular_mlp import TabularMLPDesign, TabularMLPPredictor

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_FORMAT: Literal["gnomon.tabular_mlp"] = "gnomon.tabular_mlp"
_VERSION: Literal[1] = 1
_CONFIG_LIMIT_BYTES = 256_000_000  # a vocabulary of some million words; anything above is no configuration of ours
_HEADER_LIMIT_BYTES = 1_000_000


class WeightsFile(Value):
    """What `model.safetensors` must be."""

    sha256: str
    size_bytes: int


class TabularMLPConfig(Value):
    """What `config.json` holds."""

    format: Literal["gnomon.tabular_mlp"] = _FORMAT
    version: Literal[1] = _VERSION
    design: TabularMLPDesign
    weights: WeightsFile


def save_tabular_mlp(folder: Path, design: TabularMLPDesign, parameters: Mapping[str, Array]) -> Path:
    """Write a model's folder; equal models give equal bytes, so that an artifact store keeps them once.

    Args:
        folder: Made if needed; files of an earlier save are replaced.
        design: Everything but the weights.
        parameters: An array for each of `design.parameter_shapes()`; stored as float32.

    Returns:
        The folder.

    Raises:
        CorruptData: The parameters do not fit the design, or one is not finite.
    """
    tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in sorted(parameters.items())}
    _check_tensors(tensors, design, "the parameters")
    weights = save_tensors(tensors)
    config = TabularMLPConfig(
        design=design, weights=WeightsFile(sha256=hashlib.sha256(weights).hexdigest(), size_bytes=len(weights))
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    text = json.dumps(config.as_json(), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    return folder


def load_predictor(folder: Path, manifest: Mapping[str, tuple[str, int]] | None = None) -> Predictor:
    """Load a model that `save_tabular_mlp` wrote, verified.

    Args:
        folder: The version's artifact.
        manifest: Relative path → (SHA-256 in hex, size in bytes) of every file, as in `contracts.artifact_store`.
            The weights are verified against the configuration in any case.

    Returns:
        The predictor; it holds all in memory, and the folder may go.

    Raises:
        NotFound: A file of the model is absent.
        CorruptData: The format or its version is unknown, a file is damaged, or a tensor is not what the design says.
    """
    if manifest is not None:
        for path, (digest, size_bytes) in manifest.items():
            _read(folder, path, size_bytes, digest)
    config = _parse_config(_read(folder, CONFIG_FILE), folder / CONFIG_FILE)
    design = config.design
    shapes = design.parameter_shapes()
    expected_bytes = 4 * sum(math.prod(shape) for shape in shapes.values())
    where = str(folder / WEIGHTS_FILE)
    if not expected_bytes <= config.weights.size_bytes <= expected_bytes + _HEADER_LIMIT_BYTES:
        raise CorruptData(f"{where} has {config.weights.size_bytes} bytes for {expected_bytes} bytes of parameters")
    content = _read(folder, WEIGHTS_FILE, config.weights.size_bytes, config.weights.sha256)
    try:
        tensors = load_tensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptData(f"{where} is no safetensors file: {error}", "restore the artifact") from error
    _check_tensors(tensors, design, where)
    return TabularMLPPredictor(design, tensors)


def _read(folder: Path, path: str, size_bytes: int | None = None, digest: str | None = None) -> bytes:
    file = folder / path
    if not file.is_file():
        raise NotFound(f"the model's file '{path}' is not in {folder}", "restore the artifact")
    found = file.stat().st_size
    if found > _CONFIG_LIMIT_BYTES if size_bytes is None else found != size_bytes:
        raise CorruptData(f"{file} has {found} bytes, expected {size_bytes or 'fewer'}", "restore the artifact")
    content = file.read_bytes()
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise CorruptData(f"{file} does not match its digest {digest[:12]}…", "restore the artifact")
    return content


def _parse_config(content: bytes, where: Path) -> TabularMLPConfig:
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CorruptData(f"{where} is not JSON: {error}", "restore the artifact") from error
    kind, version = (body.get("format"), body.get("version")) if isinstance(body, dict) else (None, None)
    if kind != _FORMAT or version != _VERSION:
        raise CorruptData(
            f"{where} has format {kind!r} version {version!r}; this Gnomon reads '{_FORMAT}' version {_VERSION}",
            "load it with the Gnomon that wrote it, or train again",
        )
    try:
        config = TabularMLPConfig.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CorruptData(f"{where}: {field}: {first['msg']}", "restore the artifact") from error
    preprocessing = config.design.preprocessing
    prepared = sorted([item.name for item in preprocessing.numeric] + [item.name for item in preprocessing.categorical])
    if prepared != sorted(item.name for item in config.design.signature.inputs):
        raise CorruptData(f"{where} prepares the inputs {prepared}, its signature has others", "restore the artifact")
    return config


def _check_tensors(tensors: Mapping[str, Array], design: TabularMLPDesign, where: str) -> None:
    shapes = design.parameter_shapes()
    if set(tensors) != set(shapes):
        odd = sorted(set(tensors) ^ set(shapes))
        raise CorruptData(f"{where}: tensors missing or not known: {odd[:8]}")
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.dtype != np.float32:
            raise CorruptData(f"{where}: '{name}' is {tensor.dtype} {tensor.shape}, expected float32 {shape}")
        if not np.isfinite(tensor).all():
            raise CorruptData(f"{where}: '{name}' has values that are not finite")
