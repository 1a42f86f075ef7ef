"""Computes the features of a request: the same code for one request in a replica and for a million training rows.

Called by `features.training_sets` with Arrow columns and by replicas with the numpy columns of an online read. A
replica compiles `RequestFeatures` once per model version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.features import FeatureView, RequestFeature
from gnomon.contracts.layouts import feature_dtype
from gnomon.errors import GnomonError, InvalidDefinition, InvalidInput, did_you_mean
from gnomon.features.expression_kernels import ARROW_TYPES, BOOL, FLOAT, INT, NAMES, NUMBERS, to_float
from gnomon.features.expressions import evaluate
from gnomon.features.model_columns import as_input

Resolve = Callable[[str], Callable[..., Any]]


class RequestFeatures:
    """Some request features of an app, with their functions imported. Safe to share between threads if those are.

    Args:
        app: With schemas resolved.
        names: Which request features, in the order of the results.
        resolve: Imports `module:function`.

    Raises:
        NotFound: The app has no such request feature, or there is no such function.
    """

    def __init__(self, app: App, names: Sequence[str], resolve: Resolve) -> None:
        self._features: list[tuple[RequestFeature, Callable[..., Any] | None]] = []
        self._dtypes: dict[str, str] = {}
        self._reads: dict[str, tuple[str, ...]] = {}
        for name in names:
            spec = app.get(RequestFeature, name)
            self._features.append((spec, None if spec.function is None else resolve(spec.function)))
            self._reads[name] = spec.reads()
            for read in self._reads[name]:
                self._dtypes[read] = spec.request[read] if "." not in read else _feature_dtype(app, read)

    def compute(self, columns: Mapping[str, Any], rows: int | None = None) -> dict[str, pa.Array]:
        """Compute every feature for every row.

        Args:
            columns: Equally long columns by name, at least those that the features read: Arrow arrays, or numpy as in
                `OnlineRows.values` and `predictors.Columns`.
            rows: Their length; needed only where no column is given.

        Returns:
            One Arrow array of the declared type per feature, in the order of the rows.

        Raises:
            InvalidInput: A column is missing, of another type or of another length.
            InvalidDefinition: A function raises, or its result has another length or type than declared.
        """
        if rows is None:
            rows = len(next(iter(columns.values()))) if columns else 0
        arrow: dict[str, pa.Array] = {}
        results: dict[str, pa.Array] = {}
        for spec, function in self._features:
            if function is None:
                results[spec.name] = self._evaluate(spec, columns, arrow, rows)
            else:
                results[spec.name] = self._call(spec, function, columns, rows)
        return results

    def _evaluate(
        self, spec: RequestFeature, columns: Mapping[str, Any], arrow: dict[str, pa.Array], rows: int
    ) -> pa.Array:
        for name in self._reads[spec.name]:
            if name not in arrow:
                arrow[name] = _as_arrow(_column(spec, name, columns), self._dtypes[name], name)
        assert spec.expression is not None
        try:
            result = evaluate(spec.expression, arrow, rows)
        except InvalidInput as error:
            raise type(error)(f"request_feature '{spec.name}': {error.message}", error.hint, error.details) from error
        wanted = ARROW_TYPES[spec.dtype]
        if result.type == wanted:
            return result
        if wanted == FLOAT and result.type in NUMBERS:
            return to_float(result)
        if wanted == INT and result.type == BOOL:
            return pc.cast(result, INT)
        raise _wrong_type(spec, NAMES[result.type])

    def _call(
        self, spec: RequestFeature, function: Callable[..., Any], columns: Mapping[str, Any], rows: int
    ) -> pa.Array:
        inputs = [_as_input(_column(spec, name, columns), self._dtypes[name]) for name in spec.inputs]
        try:
            with np.errstate(all="ignore"):  # NaN is null here, and nothing to warn of
                result = function(*inputs)
        except GnomonError:
            raise
        except Exception as error:  # the user's code: whatever it raises has to name the feature that it broke
            raise InvalidDefinition(
                f"request_feature '{spec.name}': function '{spec.function}' raised {type(error).__name__}: {error}",
                "correct the function in the app file",
            ) from error
        if not isinstance(result, np.ndarray) or result.shape != (rows,):
            found = f"an array of shape {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
            raise InvalidDefinition(
                f"request_feature '{spec.name}': function '{spec.function}' returned {found} for {rows} rows",
                "return one 1-D numpy array with a value for every row",
            )
        try:
            return _as_arrow(result, spec.dtype, spec.name)
        except InvalidInput:
            raise _wrong_type(spec, str(result.dtype)) from None


def compute_request_features(
    app: App, names: Sequence[str], columns: Mapping[str, Any], resolve: Resolve
) -> dict[str, pa.Array]:
    """Compile and compute at once; see `RequestFeatures` and `RequestFeatures.compute`."""
    return RequestFeatures(app, names, resolve).compute(columns)


def _feature_dtype(app: App, reference: str) -> str:
    view, _, name = reference.partition(".")
    spec = app.get(FeatureView, view)
    feature = next(f for f in spec.features if f.name == name)
    return feature_dtype(feature, dict(app.schemas[spec.source]))


def _column(spec: RequestFeature, name: str, columns: Mapping[str, Any]) -> Any:
    try:
        return columns[name]
    except KeyError:
        message = f"request_feature '{spec.name}' reads '{name}', which is missing"
        raise InvalidInput(message, did_you_mean(name, columns)) from None


def _as_arrow(values: Any, dtype: str, name: str) -> pa.Array:
    """Bring a column to the Arrow type of its dtype; NaN and None become null."""
    wanted = ARROW_TYPES[dtype]
    try:
        if not isinstance(values, np.ndarray):
            return values if values.type == wanted else values.cast(wanted)
        if values.dtype == object or values.dtype.kind in "US":
            return pa.array(values.tolist(), wanted)
        plain = pa.array(values, from_pandas=True)
        if plain.type == wanted:
            return plain
        if plain.type == BOOL and wanted == FLOAT:
            return to_float(plain)
        # through int64: Arrow casts no other number to a time
        return (
            plain.cast(INT).cast(wanted)
            if dtype == "timestamp" and pa.types.is_floating(plain.type)
            else plain.cast(wanted)
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        kind = values.dtype if isinstance(values, np.ndarray) else values.type
        raise InvalidInput(f"column '{name}' is {kind}", f"it has to be {dtype}") from error


def _as_input(values: Any, dtype: str) -> np.ndarray[Any, Any]:
    """Bring a column to what functions take: numbers as float64 with NaN for null, strings as objects."""
    if not isinstance(values, np.ndarray):
        return as_input(values)
    if values.dtype == np.float64 or (dtype == "string" and values.dtype == object):
        return values
    if values.dtype == object and dtype != "string":
        return np.array([np.nan if v is None else v for v in values.tolist()], np.float64)
    return values.astype(object if dtype == "string" else np.float64)


def _wrong_type(spec: RequestFeature, found: str) -> InvalidDefinition:
    return InvalidDefinition(
        f"request_feature '{spec.name}' is declared as {spec.dtype}, but its values are {found}",
        "declare the dtype that it has, or convert it with .apply('int') or .apply('float')",
    )
