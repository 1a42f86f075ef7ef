"""FeatureView and what it is made of, and features that are computed at request time.

A view describes one entity (or a pair, …) from one source. Its features are looked up by time: a training row at time t
sees only source rows with event time ≤ t and known time ≤ t.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from gnomon.contracts.columns import Dtype
from gnomon.contracts.durations import Duration, format_duration, parse_duration
from gnomon.contracts.expressions import AnyExpression
from gnomon.contracts.specs import DescribedPart, Name, Reference, Spec, as_tuple
from gnomon.contracts.tiles import SKETCHES, check_tile

AggregationFunction = Literal[
    "count", "count_distinct", "sum", "mean", "min", "max", "std", "var", "quantile", "first", "last", "last_k",
    "top_k", "time_since_last", "approx_count_distinct", "approx_quantile", "approx_top_k",
]  # fmt: skip
ExpiredPolicy = Literal["null", "serve", "default", "reject"]
Constant = bool | int | float | str | None

MOST_LISTED = 100
"""Greatest `k`: a list is stored as one text."""

_LONGEST = timedelta(days=36_500_000)
_PARAMETERS = {"quantile": "q", "approx_quantile": "q", "last_k": "k", "top_k": "k", "approx_top_k": "k"}
_UNUSED = Field(default=None, exclude_if=lambda value: value is None)  # so that older definitions keep their hash


def _above_zero(freshness: timedelta | None) -> timedelta | None:
    if freshness is not None and not freshness:
        raise ValueError("the freshness is zero: an event takes some time, such as '1s', to be served")
    return freshness


FeatureReference = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})?$")]
"""`view` for all features of a view, or `view.feature`; also the name of a request feature."""


class Column(DescribedPart, init=False):
    """The newest value of a column that is valid at the time asked.

    Attributes:
        column: Column of the source.
        name: Name of the feature; the column's when left out.
        default: Served in place of a missing or expired value where the view's policy is `default`.
    """

    positional: ClassVar[tuple[str, ...]] = ("column",)
    feature: Literal["column"] = "column"
    column: str
    name: Name
    default: Constant = None

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, values: Any) -> Any:
        return {"name": values.get("column"), **values} if isinstance(values, dict) else values


class Aggregation(DescribedPart, init=False):
    """A statistic of the entity's rows in the window `(t − lag − window, t − lag]`, of what was known at `t`.

    Over an empty window `count` and `count_distinct` are 0 and everything else is null; an entity that was never seen
    has only nulls, or its defaults. Nulls are skipped (`count` of a column counts the non-null). `std` and `var` are
    the sample's (n − 1), null for n < 2. `first`, `last` and `last_k` go by event time, then known time. `quantile`
    interpolates linearly between its neighbours. `last_k` (newest first) and `top_k` (most frequent first, of equal
    ones the smaller value) are JSON arrays in a string. `time_since_last` is in seconds, from the newest row that has
    a value to `t`.

    With a `tile` the window begins at a multiple of the tile since the epoch: `(⌊(t − lag − window) ÷ tile⌋ · tile,
    t − lag]`, in training sets, materializations and streams alike, and the statistic is merged from its tiles. The
    functions `approx_…` are sketches, for tiles only, with an error that the guide states.

    Attributes:
        column: Column of the source, an expression over its columns, or `"*"` (rows; with `count` and
            `time_since_last`).
        function: The statistic.
        window: Length of the window.
        where: Only rows for which this is true take part.
        q: Which quantile, between 0 and 1; only for `quantile` and `approx_quantile`.
        k: How many values at most, 1 to `MOST_LISTED`; only for `last_k`, `top_k` and `approx_top_k`.
        lag: How long before `t` the window ends; none when left out.
        tile: Length of the tiles that the statistic is merged from, shorter than the window, `tiles.MOST_TILES` of them
            at most; without one the window slides to the microsecond. Not for functions that need every row.
        name: `<column>_<function>_<window>` when left out, with q or k after the function and `_lag_<lag>` at the end.
        default: As for `Column`.

    Example:
        >>> Aggregation("amount", "mean", window="7d").name
        'amount_mean_7d'
        >>> Aggregation("amount", "quantile", q=0.9, window="4w", lag="7d").name
        'amount_quantile_0_9_28d_lag_7d'
    """

    positional: ClassVar[tuple[str, ...]] = ("column", "function")
    feature: Literal["aggregation"] = "aggregation"
    column: str | AnyExpression
    function: AggregationFunction
    window: Duration
    where: AnyExpression | None = None
    q: float | None = _UNUSED
    k: Annotated[int | None, Field(strict=True)] = _UNUSED
    lag: Annotated[Duration | None, AfterValidator(lambda lag: lag or None)] = _UNUSED
    tile: Duration | None = _UNUSED
    name: Name
    default: Constant = None

    @model_validator(mode="before")
    @classmethod
    def _default_name(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("window") is None:
            return values
        if "name" not in values and isinstance(values.get("column"), str):
            column = "" if values["column"] == "*" else values["column"] + "_"
            function = str(values.get("function"))
            number = values.get(_PARAMETERS.get(function, ""))
            if number is not None:
                function = f"{function.removesuffix('_k')}_{number}"
            rest = f"{function}_{format_duration(parse_duration(values.get('window')))}"
            if values.get("lag") is not None and (lag := parse_duration(values["lag"])):
                rest += f"_lag_{format_duration(lag)}"
            values = {**values, "name": column + re.sub(r"[.+-]", "_", rest)}
        return values

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        if self.column == "*" and self.function not in ("count", "time_since_last"):
            raise ValueError(
                f"'*' stands for rows and can only be counted or give time_since_last, not used with {self.function!r}"
            )
        if not self.window:
            raise ValueError("the window is empty: a window needs a length above zero, such as '7d'")
        if self.window > _LONGEST or (self.lag or self.window) > _LONGEST:
            raise ValueError(f"window and lag reach to '{format_duration(_LONGEST)}' at most")
        return self

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        wanted = _PARAMETERS.get(self.function)
        for name, value in (("q", self.q), ("k", self.k)):
            if name != wanted and value is not None:
                exact = (f for f, parameter in _PARAMETERS.items() if parameter == name and f not in SKETCHES.values())
                users = " and ".join(f"'{f}'" for f in exact)
                raise ValueError(f"'{self.function}' takes no {name} (got {value}): leave it out, it is for {users}")
        if wanted == "q" and not (self.q is not None and 0 < self.q < 1):
            example = "such as q=0.5 for the median"
            raise ValueError(f"'{self.function}' needs q between 0 and 1, {example} (got q={self.q})")
        if wanted == "k" and not (self.k is not None and 1 <= self.k <= MOST_LISTED):
            raise ValueError(f"'{self.function}' needs k from 1 to {MOST_LISTED}, such as k=3 (got k={self.k})")
        return self

    @model_validator(mode="after")
    def _tile_fits(self) -> Self:
        check_tile(self.function, self.window, self.tile)
        return self


class Derived(DescribedPart, init=False):
    """An expression over the other features of the same view, such as the ratio of two windows.

    Attributes:
        name: Name of the feature.
        expression: Reads features of the view by their names.
        dtype: Type of the result.
    """

    positional: ClassVar[tuple[str, ...]] = ("name", "expression")
    feature: Literal["derived"] = "derived"
    name: Name
    expression: AnyExpression
    dtype: Dtype = "float64"
    default: Constant = None


AnyFeature = Annotated[Column | Aggregation | Derived, Field(discriminator="feature")]


class FeatureView(Spec, init=False):
    """Features of one entity from one source.

    Attributes:
        entity: The entity, or several that together name a row.
        source: Where the rows come from; it must have the entities' key columns.
        features: Columns, aggregations and derived features; names are unique in the view.
        max_age: A value older than this is expired, in training sets and online; null means never.
        on_expired: What an online read answers for an expired value. `serve` gives it, marked as expired.
        freshness: How soon after its commit an event should be in the online values; such a view is kept up to date by
            the stream consumer. When left out, only `materialize` writes the values.
    """

    kind: ClassVar[str] = "feature_view"
    entity: Annotated[tuple[Reference, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    source: Reference
    features: Annotated[tuple[AnyFeature, ...], Field(min_length=1)]
    max_age: Duration | None = None
    on_expired: ExpiredPolicy = "null"
    freshness: Annotated[Duration | None, AfterValidator(_above_zero)] = _UNUSED

    @model_validator(mode="after")
    def _features_fit_together(self) -> Self:
        names: set[str] = set()
        for feature in self.features:
            if feature.name in names:
                raise ValueError(f"two features are named '{feature.name}'; give one another name=")
            names.add(feature.name)
        stored = {f.name for f in self.features if not isinstance(f, Derived)}
        for feature in self.features:
            unknown = feature.expression.columns() - stored if isinstance(feature, Derived) else set()
            if unknown:
                raise ValueError(f"derived feature '{feature.name}' reads {sorted(unknown)}, not features of this view")
        return self

    def __getitem__(self, feature: str) -> str:
        """Return the reference `view.feature`, for a model that wants only some features.

        Args:
            feature: Name of one of the view's features.

        Returns:
            Text as `Model.features` and expressions of request features take it.

        Raises:
            KeyError: The view has no such feature.
        """
        if feature not in {f.name for f in self.features}:
            raise KeyError(f"view '{self.name}' has no feature '{feature}'; it has {[f.name for f in self.features]}")
        return f"{self.name}.{feature}"


def function_reference(value: Any) -> Any:
    """Turn a top-level function into the text `module:name` by which workers import it.

    Functions of the app file itself get the module `app`, whatever the file is called.

    Args:
        value: A function; anything that cannot be called, such as the text itself, is returned as it is.

    Returns:
        `module:name`, the name without dots.

    Raises:
        ValueError: The function is a lambda or nested, so that it has no name to import it by.
    """
    if not isinstance(value, Callable):  # type: ignore[arg-type]
        return value
    name = getattr(value, "__qualname__", "")
    if not name.isidentifier():
        raise ValueError(f"'{name or value!r}' cannot be imported by name: use a function at the top of the app file")
    module = getattr(value, "__module__", "app")
    return f"{'app' if module.startswith('gnomon_app_') else module}:{name}"


class RequestFeature(Spec, init=False):
    """A feature computed when a prediction is asked for, from request fields and looked-up features.

    In training the request fields are the columns of the same names in the label's source. Exactly one of `expression`
    and `function` is given. A function takes one 1-D numpy array per input, in order (numbers as float64 with NaN for
    null, strings as objects), and returns one array of the same length; it is the same object in training and serving.

    Attributes:
        request: Fields that the caller sends, with their types.
        inputs: What the function reads, in order: request fields by name, features as `view.feature`.
        expression: Over the same names.
        function: `module:name`, or the function itself.
        dtype: Type of the result.
    """

    kind: ClassVar[str] = "request_feature"
    request: dict[str, Dtype] = Field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    expression: AnyExpression | None = None
    function: Annotated[str | None, BeforeValidator(function_reference)] = None
    dtype: Dtype = "float64"

    @model_validator(mode="after")
    def _one_way_to_compute(self) -> Self:
        if (self.expression is None) == (self.function is None):
            raise ValueError("give exactly one of expression and function")
        if self.function is not None and not self.inputs:
            raise ValueError(f"function '{self.function}' needs inputs: the names of its arguments, in order")
        return self

    def reads(self) -> tuple[str, ...]:
        """Return every name that it reads, sorted: request fields bare, features as `view.feature`."""
        names = self.expression.columns() if self.expression is not None else frozenset(self.inputs)
        return tuple(sorted(names))
