"""The tabular multi-layer perceptron as it is stored and served: numpy only, so that a replica never imports torch.

`training` writes a `TabularMLPDesign` and trains the torch twin of this network; `registry.model_formats` stores and
loads both. The tests hold the two networks equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field

from gnomon.contracts.predictors import Columns
from gnomon.contracts.signatures import Signature
from gnomon.contracts.specs import Value
from gnomon.registry.model_inputs import Array, Encoder, Finite, Positive, Preprocessing

_CHUNK_ROWS = 16_384  # bounds memory, and keeps a chunk's activations inside the processor's cache


class TabularMLPDesign(Value):
    """Everything but the weights.

    Attributes:
        signature: Inputs and task.
        preprocessing: How the inputs become numbers.
        hidden: Width of each hidden layer; a rectifier follows each.
        target_mean: The network's output times `target_std` plus this is a regression's answer; 0 for binary tasks.
        target_std: 1 for binary tasks, whose answer is the logistic function of the output.
    """

    signature: Signature
    preprocessing: Preprocessing
    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(max_length=64)]
    target_mean: Finite = 0.0
    target_std: Positive = 1.0

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every parameter: embeddings by categorical input, then layers in order."""
        shapes: dict[str, tuple[int, ...]] = {}
        width = self.preprocessing.dense_width
        for place, item in enumerate(self.preprocessing.categorical):
            shapes[f"embeddings.{place}.weight"] = (item.codes, item.embedding)
            width += item.embedding
        for place, out in enumerate((*self.hidden, 1)):
            shapes[f"layers.{place}.weight"] = (out, width)
            shapes[f"layers.{place}.bias"] = (out,)
            width = out
        return shapes


class TabularMLPPredictor:
    """A loaded network; implements `contracts.predictors.Predictor`.

    An unknown category and a null have codes of their own; a missing number is filled with its training median. So
    every row that has all columns gets an answer, and it is finite.

    Args:
        design: Everything but the weights.
        parameters: A float32 array for each of `design.parameter_shapes()`.
    """

    def __init__(self, design: TabularMLPDesign, parameters: Mapping[str, Array]) -> None:
        self.design = design
        self._encoder = Encoder(design.preprocessing)
        self._embeddings = [
            parameters[f"embeddings.{place}.weight"] for place in range(len(design.preprocessing.categorical))
        ]
        self._layers = [
            (np.ascontiguousarray(parameters[f"layers.{place}.weight"].T), parameters[f"layers.{place}.bias"])
            for place in range(len(design.hidden) + 1)
        ]
        self._is_binary = design.signature.task == "binary"

    def predict(self, columns: Columns) -> Array:
        """Answer every row.

        Args:
            columns: At least the signature's inputs, as `contracts.predictors.Columns`; others are not read.

        Returns:
            One float64 per row, in order: a probability for binary tasks, the value for regressions.

        Raises:
            InvalidInput: An input is missing, of another length than the others, or not of its type.
        """
        rows = self._encoder.rows(columns)
        if rows <= _CHUNK_ROWS:
            return self._predict_chunk(columns)
        chunks = [
            self._predict_chunk({name: columns[name][start : start + _CHUNK_ROWS] for name in self._encoder.names})
            for start in range(0, rows, _CHUNK_ROWS)
        ]
        return np.concatenate(chunks)

    def _predict_chunk(self, columns: Columns) -> Array:
        dense, codes = self._encoder.encode(columns)
        values = dense
        if self._embeddings:
            looked_up = [table[codes[:, place]] for place, table in enumerate(self._embeddings)]
            values = np.concatenate([dense, *looked_up], axis=1)
        *hidden, (last_weight, last_bias) = self._layers
        for weight, bias in hidden:
            values = values @ weight
            values += bias
            np.maximum(values, 0.0, out=values)
        output: Array = (values @ last_weight + last_bias)[:, 0].astype(np.float64)
        if self._is_binary:
            # Beyond ±60 the answer is 0 or 1 to 26 digits; the bound keeps exp from overflowing.
            output = 1.0 / (1.0 + np.exp(np.maximum(np.minimum(-output, 60.0), -60.0)))
        else:
            output = output * self.design.target_std + self.design.target_mean
        return output
