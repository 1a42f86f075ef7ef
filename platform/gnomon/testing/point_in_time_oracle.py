"""The point-in-time join by brute force: plain Python, row by row, written from the definitions and from nothing else.

Tests hold `features.view_rows` against it on every kind of input. Slow on purpose: each line is a sentence of the
rules.
"""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.durations import duration_us
from gnomon.contracts.expressions import AnyExpression
from gnomon.contracts.features import Aggregation, Column, FeatureView

Row = Mapping[str, Any]
"""One row by column name; times are int microseconds since the epoch."""

Evaluate = Callable[[AnyExpression, Row], Any]
"""Computes an expression for one row."""


def visible_rows(rows: Sequence[Row], at_us: int) -> list[Row]:
    """Return, of each event, the latest version among those known at the time; in the order of `(event, known, …)`."""
    newest: dict[str, Row] = {}
    alone = []
    for row in rows:
        if row[KNOWN_TIME] > at_us:
            continue
        if row[EVENT_ID] is None:
            alone.append(row)
            continue
        best = newest.get(row[EVENT_ID])
        if best is None or _version_order(row) > _version_order(best):
            newest[row[EVENT_ID]] = row
    return sorted([*newest.values(), *alone], key=_row_order)


def view_row(
    view: FeatureView, keys: Sequence[str], rows: Sequence[Row], entity: Row, t_us: int, evaluate: Evaluate,
    *, as_of_us: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the view's stored features (columns and aggregations) of one entity at one time.

    Args:
        view: The view.
        keys: Its key columns.
        rows: All rows of its source.
        entity: Values of the key columns; one that is null matches nothing.
        t_us: The time asked.
        evaluate: Computes an expression for one row.
        as_of_us: Look with the knowledge of this moment instead of that of `t_us`.

    Returns:
        A value per feature, by name; None for null.
    """
    at_us = t_us if as_of_us is None else as_of_us
    of_entity = [row for row in rows if all(entity[k] is not None and row[k] == entity[k] for k in keys)]
    seen = any(row[EVENT_TIME] <= t_us and row[KNOWN_TIME] <= at_us for row in of_entity)
    mine = [row for row in visible_rows(rows, at_us) if row in of_entity and row[EVENT_TIME] <= t_us]
    result: dict[str, Any] = {}
    for feature in view.features:
        default = feature.default if view.on_expired == "default" else None
        if isinstance(feature, Column):
            if not mine or (_is_old(view, mine[-1], t_us) and view.on_expired != "serve"):
                result[feature.name] = default
            else:
                result[feature.name] = _without_nan(mine[-1][feature.column])
        elif isinstance(feature, Aggregation):
            result[feature.name] = aggregation(feature, mine, t_us, evaluate) if seen else default
    return result


def aggregation(feature: Aggregation, mine: Sequence[Row], t_us: int, evaluate: Evaluate) -> Any:
    """Return one statistic of an entity's visible rows, which are in the order of time; of a sketch the exact one."""
    end = t_us - (0 if feature.lag is None else duration_us(feature.lag))
    start = end - duration_us(feature.window)
    if feature.tile is not None:
        start = math.floor(Fraction(start, duration_us(feature.tile))) * duration_us(feature.tile)
    window = [row for row in mine if start < row[EVENT_TIME] <= end]
    if feature.where is not None:
        window = [row for row in window if evaluate(feature.where, row) is True]
    of = feature.column
    if of != "*":
        values = [_without_nan(row[of] if isinstance(of, str) else evaluate(of, row)) for row in window]
        window = [row for row, value in zip(window, values, strict=True) if value is not None]
        values = [value for value in values if value is not None]
    if feature.function == "time_since_last":
        return (t_us - int(window[-1][EVENT_TIME])) / 1e6 if window else None
    if of == "*":
        return len(window)
    if feature.function in ("last_k", "top_k", "approx_top_k"):
        return _json_list(feature, values)
    if not isinstance(of, str) and feature.function not in _COUNTS:
        values = [float(value) for value in values]
    if feature.function in ("quantile", "approx_quantile"):
        assert feature.q is not None, "a quantile has q by its definition"
        return _quantile([float(value) for value in values], feature.q)
    return _STATISTICS[feature.function](values)


def _without_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _is_old(view: FeatureView, row: Row, t_us: int) -> bool:
    return view.max_age is not None and t_us - int(row[EVENT_TIME]) >= duration_us(view.max_age)


def _version_order(row: Row) -> tuple[Any, ...]:
    return (row[KNOWN_TIME], row[INGESTED_AT], row.get(DIGEST) or "")


def _row_order(row: Row) -> tuple[Any, ...]:
    return (row[EVENT_TIME], row[KNOWN_TIME], row[INGESTED_AT], row[EVENT_ID] or "", row.get(DIGEST) or "")


def _sum(values: list[Any]) -> Any:
    if not values:
        return None
    if isinstance(values[0], float):
        return math.fsum(values)
    total = sum(values)
    return total if -(2**63) <= total < 2**63 else None


def _var(values: list[Any]) -> float | None:
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _std(values: list[Any]) -> float | None:
    variance = _var(values)
    return None if variance is None else math.sqrt(variance)


def _quantile(values: list[float], q: float) -> float | None:
    if not values:
        return None
    ascending, rank = sorted(values), (len(values) - 1) * q
    low, high, weight = ascending[math.floor(rank)], ascending[math.ceil(rank)], rank - math.floor(rank)
    if weight == 0 or low == high:
        return low
    if not math.isfinite(high - low):
        return _without_nan(low * (1 - weight) + high * weight)  # type: ignore[no-any-return]
    return low + (high - low) * weight if weight < 0.5 else high - (high - low) * (1 - weight)


def _json_list(feature: Aggregation, values: list[Any]) -> str | None:
    if not values:
        return None
    if feature.function == "last_k":
        chosen = values[::-1]
    else:
        often = collections.Counter(v + 0.0 if isinstance(v, float) else v for v in values)
        chosen = sorted(often, key=lambda value: (-often[value], value))
    infinite = {math.inf: "Infinity", -math.inf: "-Infinity"}
    named = [infinite.get(v, v) if isinstance(v, float) else v for v in chosen[: feature.k]]
    return json.dumps(named, ensure_ascii=False, separators=(",", ":"))


_COUNTS = ("count", "count_distinct", "approx_count_distinct")
_STATISTICS: dict[str, Callable[[list[Any]], Any]] = {
    "count": len,
    "count_distinct": lambda values: len(set(values)),
    "approx_count_distinct": lambda values: len(set(values)),
    "sum": _sum,
    "mean": lambda values: math.fsum(values) / len(values) if values else None,
    "std": _std,
    "var": _var,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
}
