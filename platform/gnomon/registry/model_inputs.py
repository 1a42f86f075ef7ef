"""Model inputs: columns of any type in, the numbers that a network reads out; the same in training and serving.

`training` learns a `Preprocessing` and encodes its rows with an `Encoder`; `registry.tabular_mlp` does so for every
prediction. `model_columns` turns an Arrow table into the columns that both take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from gnomon.contracts.columns import Dtype
from gnomon.contracts.predictors import Columns
from gnomon.contracts.signatures import ModelInput
from gnomon.contracts.specs import Value
from gnomon.errors import InvalidInput, did_you_mean

Array = np.ndarray[Any, Any]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

UNKNOWN_CODE = 0
"""Code of a category that is not in the vocabulary."""
NULL_CODE = 1
"""Code of a null; the vocabulary begins after it."""


class NumericInput(Value):
    """How one number is prepared: fill, compress, standardise, clip, in this order.

    Attributes:
        name: The model input.
        fill: Stands in for a null, NaN or infinity; the median of the training rows.
        compress_scale: Where set, v becomes sign(v) · log(1 + |v| / scale) first: its tail was heavy in training.
        mean: Of the filled and compressed training values.
        std: Their standard deviation; 1 where they were constant.
        missing_flag: Whether the network also reads "was missing" as 0 or 1; so when training rows had nulls.
    """

    name: str
    fill: Finite
    compress_scale: Positive | None = None
    mean: Finite
    std: Positive
    missing_flag: bool


class CategoricalInput(Value):
    """How one string is prepared: a code by vocabulary, 0 for unknown strings, 1 for nulls.

    Attributes:
        name: The model input.
        vocabulary: Known strings; the first has code 2.
        embedding: Length of the vector that the network learns for each code.
    """

    name: str
    vocabulary: tuple[str, ...]
    embedding: Annotated[int, Field(ge=1, le=1024)]

    @property
    def codes(self) -> int:
        """Return how many codes there are, the unknown and the null among them."""
        return len(self.vocabulary) + 2


class Preprocessing(Value):
    """How all inputs of a model are prepared, numbers before strings, each in signature order.

    Attributes:
        numeric: Numbers, booleans and timestamps.
        categorical: Strings.
        clip: Standardised numbers are held in [−clip, clip], so that no single value outweighs a whole row.
    """

    numeric: tuple[NumericInput, ...]
    categorical: tuple[CategoricalInput, ...]
    clip: Positive = 10.0

    @property
    def dense_width(self) -> int:
        """Return the number of columns of the dense matrix: one a number, then one a missing flag."""
        return len(self.numeric) + sum(n.missing_flag for n in self.numeric)


class Encoder:
    """Applies a `Preprocessing` to columns; vectorised over rows, and quick for a single one.

    Args:
        preprocessing: What to apply; its arrays are computed once, here.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        numeric = preprocessing.numeric
        self._numeric = [n.name for n in numeric]
        self._fill = np.array([n.fill for n in numeric], np.float64)
        self._mean = np.array([n.mean for n in numeric], np.float64)
        self._factor = 1.0 / np.array([n.std for n in numeric], np.float64)
        self._compressed = np.array([i for i, n in enumerate(numeric) if n.compress_scale is not None], np.intp)
        self._compress_factor = 1.0 / np.array([n.compress_scale for n in numeric if n.compress_scale is not None])
        self._flags = np.array([i for i, n in enumerate(numeric) if n.missing_flag], np.intp)
        self._clip = preprocessing.clip
        self._categorical: list[tuple[str, dict[str | None, int]]] = [
            (c.name, {None: NULL_CODE, **{word: code for code, word in enumerate(c.vocabulary, start=2)}})
            for c in preprocessing.categorical
        ]
        self.names = (*self._numeric, *(name for name, _ in self._categorical))

    def rows(self, columns: Columns) -> int:
        """Count the rows, and check that every input is there and all have the same length.

        Args:
            columns: At least the inputs in `names`.

        Returns:
            The number of rows.

        Raises:
            InvalidInput: A column is missing, is no one-dimensional array, or has another length.
        """
        rows = -1
        for name in self.names:
            column = columns.get(name)
            if column is None:
                raise InvalidInput(f"the model input '{name}' is missing", did_you_mean(name, columns))
            if column.ndim != 1 or (rows >= 0 and len(column) != rows):
                raise InvalidInput(f"the model input '{name}' has shape {column.shape}; other inputs have {rows} rows")
            rows = len(column)
        return max(rows, 0)

    def encode(self, columns: Columns) -> tuple[Array, Array]:
        """Encode columns.

        Args:
            columns: At least the inputs in `names`, equally long.

        Returns:
            A float32 matrix (rows × `dense_width`) and an int32 matrix (rows × number of categorical inputs).

        Raises:
            InvalidInput: A column is missing, of another length, or not of its type.
        """
        rows = self.rows(columns)
        codes = np.empty((rows, len(self._categorical)), np.int32)
        for place, (name, code_of) in enumerate(self._categorical):
            try:
                codes[:, place] = [code_of.get(word, UNKNOWN_CODE) for word in columns[name].tolist()]
            except TypeError as error:
                raise InvalidInput(f"the model input '{name}' holds a value that is no string", str(error)) from error
        return self._dense(columns, rows), codes

    def _dense(self, columns: Columns, rows: int) -> Array:
        values = self._numbers(columns, rows)
        finite = np.isfinite(values)
        if not finite.all():
            np.copyto(values, self._fill, where=~finite)
        # Values near the limit of float64 overflow to infinity here, and the clip brings them back.
        with np.errstate(over="ignore"):
            if self._compressed.size:
                tail = values[:, self._compressed]
                values[:, self._compressed] = np.copysign(np.log1p(np.abs(tail) * self._compress_factor), tail)
            values -= self._mean
            values *= self._factor
        np.minimum(values, self._clip, out=values)
        np.maximum(values, -self._clip, out=values)
        dense = np.empty((rows, len(self._numeric) + len(self._flags)), np.float32)
        dense[:, : len(self._numeric)] = values
        if self._flags.size:
            dense[:, len(self._numeric) :] = ~finite[:, self._flags]
        return dense

    def _numbers(self, columns: Columns, rows: int) -> Array:
        name = ""
        try:
            if rows == 1:  # a third of the time of filling a matrix by column
                return np.array([[columns[name][0] for name in self._numeric]], np.float64)
            values = np.empty((rows, len(self._numeric)), np.float64)
            for place, name in enumerate(self._numeric):
                values[:, place] = columns[name]
        except (TypeError, ValueError) as error:
            which = f"the model input '{name}'" if name else f"one of the model inputs {self._numeric}"
            raise InvalidInput(f"{which} holds a value that is no number", str(error)) from error
        return values


def model_columns(table: pa.Table | pa.RecordBatch, inputs: Sequence[ModelInput]) -> dict[str, Array]:
    """Turn a table's model inputs into the columns that predictors take; other columns are not read.

    Args:
        table: Columns named as the inputs; timestamps become microseconds since the epoch.
        inputs: Inputs of the model's signature.

    Returns:
        An array for each input, in their order: float64 with NaN for null, or objects with None for null.

    Raises:
        InvalidInput: A column is missing or is not of its input's type.
    """
    present: Mapping[str, int] = {name: place for place, name in enumerate(table.schema.names)}
    columns: dict[str, Array] = {}
    for item in inputs:
        if item.name not in present:
            raise InvalidInput(f"the model input '{item.name}' is missing", did_you_mean(item.name, present))
        columns[item.name] = _column(table.column(present[item.name]), item.name, item.dtype)
    return columns


def _column(values: pa.Array | pa.ChunkedArray, name: str, dtype: Dtype) -> Array:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if pa.types.is_null(kind):
        values = pa.nulls(len(values), pa.string() if dtype == "string" else pa.float64())
    elif is_text != (dtype == "string"):
        raise InvalidInput(f"the model input '{name}' has type {kind}, its signature says {dtype}")
    if dtype == "string":
        return np.asarray(values.to_numpy(zero_copy_only=False) if isinstance(values, pa.Array) else values.to_numpy())
    if pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64())
    try:
        numbers = pc.fill_null(values.cast(pa.float64(), safe=False), float("nan"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(f"the model input '{name}' has type {kind}, its signature says {dtype}") from error
    return np.asarray(
        numbers.to_numpy(zero_copy_only=False) if isinstance(numbers, pa.Array) else numbers.to_numpy(), np.float64
    )
