"""Drift: how far a live column is from its reference, by PSI or by the Kolmogorov–Smirnov distance.

Pure functions over columns. `compare` is called by `monitoring.evaluation`, once a rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gnomon.contracts.deployments import Drift
from gnomon.errors import InvalidInput, did_you_mean

SCORE_COLUMN = "output"
"""Column of the predictions, in the reference as in the log."""

SIGNIFICANCE = 0.01
"""The KS distance only counts if so large a one has less than this chance among equal distributions."""

BINS = 10
_EMPTY_ROWS = 0.5  # what an empty bin counts as: PSI takes logarithms, and one such bin must not make it infinite

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """What one comparison found.

    Attributes:
        fired: Whether the rule fires.
        value: PSI or KS distance of the column that counts; 0 where nothing could be compared.
        threshold: What it fires at.
        column: The column that counts: the one that fires, or else the farthest.
        words: All that in a sentence, with the numbers.
    """

    fired: bool
    value: float
    threshold: float
    column: str
    words: str


def compare(reference: pa.Table, live: pa.Table, rule: Drift) -> Finding:
    """Compare the live window with the reference as a rule asks; of several columns the worst counts.

    Args:
        reference: Columns named as the model's inputs, and `output`.
        live: The same columns; others are ignored.
        rule: Which columns, by which method, from where on.

    Returns:
        What was found in the column that counts.

    Raises:
        InvalidInput: The rule names a column that the reference or the live window does not have.
    """
    columns = _columns_of(rule, reference, live)
    findings = [_compare_column(reference[name], live[name], name, rule, len(columns)) for name in columns]
    return max(findings, key=lambda finding: (finding.fired, finding.value))


def psi(reference: pa.ChunkedArray, live: pa.ChunkedArray) -> float:
    """Return the population stability index, Σ (l − r)·ln(l / r) over bins; 0 for equal shares, 0.25 is a large shift.

    The bins of numbers are the reference's deciles: bin i holds `edge[i−1] < x ≤ edge[i]`, the outer ones are open.
    Ties merge deciles, so that a constant column has the bins below, at and above its value. Text and booleans have a
    bin for each of the ten values that are most frequent in the reference, and one for all others: a bin for each of
    many rare values would be far from its reference by chance alone. Null and NaN are a bin of their own.

    Args:
        reference: Numbers, text or booleans, any length above 0.
        live: The same type.

    Returns:
        The index, 0 or above; 0 where a side has no rows.
    """
    if not len(reference) or not len(live):
        return 0.0
    if _is_number(live.type if pa.types.is_null(reference.type) else reference.type):
        counts = _decile_counts(_numbers(reference), _numbers(live))
    else:
        counts = _value_counts(reference, live)
    expected, actual = (_shares(side, len(column)) for side, column in zip(counts, (reference, live), strict=True))
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def ks_distance(reference: Floats, live: Floats) -> float:
    """Return the two-sample Kolmogorov–Smirnov distance D, the greatest difference of the two distribution functions.

    Args:
        reference: Values without NaN, any order, at least one.
        live: Likewise.

    Returns:
        D, between 0 and 1.
    """
    both = np.concatenate([reference, live])
    below_reference = np.searchsorted(np.sort(reference), both, side="right") / len(reference)
    below_live = np.searchsorted(np.sort(live), both, side="right") / len(live)
    return float(np.max(np.abs(below_reference - below_live)))


def ks_p_value(distance: float, reference_rows: int, live_rows: int) -> float:
    """Return the asymptotic chance of at least this KS distance between two samples of one continuous distribution.

    Q(λ) = 2 Σ (−1)^(j−1) exp(−2 j² λ²) at λ = (√n + 0.12 + 0.11/√n) D, n = r·l/(r+l): the Kolmogorov distribution with
    the correction of Stephens (1970) for small samples. With ties the true chance is smaller, never larger.

    Args:
        distance: D, between 0 and 1.
        reference_rows: Size of one sample, above 0.
        live_rows: Size of the other, above 0.

    Returns:
        The chance, between 0 and 1.
    """
    root = math.sqrt(reference_rows * live_rows / (reference_rows + live_rows))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # the series converges slowly there, and its sum differs from 1 by less than 1e-12
        return 1.0
    terms = [(-1) ** (j - 1) * math.exp(-2 * (j * scaled) ** 2) for j in range(1, 101)]
    return min(max(2 * math.fsum(terms), 0.0), 1.0)


def _columns_of(rule: Drift, reference: pa.Table, live: pa.Table) -> Sequence[str]:
    inputs = [name for name in reference.column_names if name != SCORE_COLUMN]
    columns = {"score": [SCORE_COLUMN], "inputs": inputs}.get(rule.of, [rule.of])
    if not columns:
        raise InvalidInput("the reference has no input column to compare", "train the model again")
    for name in columns:
        for side, table in (("reference", reference), ("live window", live)):
            if name not in table.column_names:
                raise InvalidInput(f"the {side} has no column '{name}'", did_you_mean(name, table.column_names))
    return columns


def _compare_column(
    reference: pa.ChunkedArray, live: pa.ChunkedArray, name: str, rule: Drift, columns: int
) -> Finding:  # fmt: skip
    what = "score" if name == SCORE_COLUMN else name
    if rule.method == "psi":
        value, chance, note = psi(reference, live), 0.0, ""
    elif not _is_number(reference.type):
        return Finding(False, 0.0, rule.threshold, name, f"{what}: KS compares numbers only, it is {reference.type}")
    else:
        value, chance, note = _ks(_numbers(reference), _numbers(live), columns)
    fired = value >= rule.threshold and chance < SIGNIFICANCE
    relation = "at or above" if value >= rule.threshold else "below"
    words = f"{rule.method.upper()} of {what} is {value:.3f}, {relation} {rule.threshold:g}{note}"
    return Finding(fired, value, rule.threshold, name, words)


def _ks(reference: Floats, live: Floats, columns: int) -> tuple[float, float, str]:
    """Return D, its p-value times the number of columns (Bonferroni), and a note with it; nulls are left out."""
    reference, live = reference[~np.isnan(reference)], live[~np.isnan(live)]
    if not len(reference) or not len(live):
        return 0.0, 1.0, " (one side has no values)"
    distance = ks_distance(reference, live)
    chance = min(ks_p_value(distance, len(reference), len(live)) * columns, 1.0)
    over = f", Bonferroni over {columns} columns" if columns > 1 else ""
    return distance, chance, f" (p = {chance:.2g}{over})"


def _decile_counts(reference: Floats, live: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    known = reference[~np.isnan(reference)]
    if not len(known):
        return _with_nulls(np.zeros(0, np.int64), reference), _with_nulls(np.zeros(0, np.int64), live)
    # "lower" takes values that occur, so that a tie lies in one bin on both sides however the deciles fall.
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    if len(edges) == 1:
        edges = np.array([np.nextafter(edges[0], -np.inf), edges[0]])  # almost constant: below, at, above
    return _binned(reference, edges), _binned(live, edges)


def _binned(values: Floats, edges: Floats) -> NDArray[np.int64]:
    known = values[~np.isnan(values)]
    return _with_nulls(np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1), values)


def _with_nulls(counts: NDArray[np.int64], values: Floats) -> NDArray[np.int64]:
    return np.append(counts, np.isnan(values).sum())


def _value_counts(
    reference: pa.ChunkedArray, live: pa.ChunkedArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    sides = [_by_value(column) for column in (reference, live)]
    values = [value for value in sides[0] if value is not None]
    frequent = [*sorted(values, key=lambda value: (-sides[0][value], value))[:BINS], None]
    rows = [[side.get(value, 0) for value in frequent] for side in sides]
    expected, actual = (np.array([*row, len(c) - sum(row)]) for row, c in zip(rows, (reference, live), strict=True))
    return expected, actual


def _by_value(column: pa.ChunkedArray) -> dict[Any, int]:
    return {pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()}


def _shares(counts: NDArray[np.int64], rows: int) -> Floats:
    shares: Floats = np.maximum(counts, _EMPTY_ROWS) / rows
    return shares


def _is_number(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_integer(dtype) or pa.types.is_floating(dtype) or pa.types.is_null(dtype))


def _numbers(column: pa.ChunkedArray) -> Floats:
    """Return the column as float64 with NaN for null."""
    values: Floats = pc.cast(column, pa.float64(), safe=False).to_numpy()
    return values
