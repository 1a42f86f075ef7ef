"""What an aggregation runs over: the operand's values as numbers, and which events take part. Called by `windows`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.features import Aggregation
from gnomon.errors import InvalidInput
from gnomon.features.event_columns import Array, Flags
from gnomon.features.expression_kernels import BOOL, FLOAT, INT, NAMES, NUMBERS, STRING, without_nan
from gnomon.features.expressions import evaluate

_ANY_TYPE = (
    "count", "count_distinct", "approx_count_distinct", "last_k", "top_k", "approx_top_k", "time_since_last",
)  # fmt: skip
"""Statistics that take an expression's values as they are; the others read them as float64."""


@dataclass(frozen=True)
class Operand:
    """Values of an aggregation's column at each position of the ordered events.

    Attributes:
        values: float64, or int64 for all other types: bools as 0 and 1, times in microseconds, texts by alphabetical
            rank in `texts`. None counts rows.
        takes_part: Whether the event passes the filter and its value is not null; None means all do.
        arrow: Arrow type that the values had; None for rows.
        texts: The distinct texts, ascending; None for other types.
    """

    values: Array | None
    takes_part: Flags | None
    arrow: pa.DataType | None = None
    texts: pa.Array | None = None


def operand_key(feature: Aggregation) -> str:
    """Return a text that is equal for aggregations which run over the same operand and filter."""
    dumped = feature.model_dump(mode="json", include={"column", "where"})
    as_it_is = feature.function in _ANY_TYPE or isinstance(feature.column, str)
    return json.dumps([dumped, as_it_is], sort_keys=True)


def build_operand(
    feature: Aggregation, columns: Mapping[str, pa.Array], rows: int, more_texts: Sequence[pa.Array] = ()
) -> Operand:  # fmt: skip
    """Evaluate the column or expression and the filter of an aggregation.

    Args:
        feature: Which column, expression and filter.
        columns: The ordered events by column, at least those that it reads.
        rows: Number of events, for expressions that read no column.
        more_texts: Further texts that are to have a rank, where the values are texts.

    Returns:
        Arrays of length `rows`, in the order of the columns.

    Raises:
        InvalidInput: The filter is not true or false, or the expression has no statistic of this kind.
    """
    takes_part = None
    if feature.where is not None:
        chosen = evaluate(feature.where, columns, rows)
        if chosen.type != BOOL:
            raise InvalidInput(
                f"aggregation '{feature.name}': where is {NAMES[chosen.type]}, not bool", "compare with a value"
            )
        takes_part = np.asarray(pc.fill_null(chosen, False))
    if feature.column == "*":
        return Operand(None, takes_part)
    values = columns[feature.column] if isinstance(feature.column, str) else _expression(feature, columns, rows)
    values = without_nan(values)
    if values.null_count:
        present = np.asarray(pc.is_valid(values))
        takes_part = present if takes_part is None else takes_part & present
    if values.type == STRING:
        return _text_operand(values, takes_part, more_texts)
    if values.type == FLOAT:
        return Operand(np.asarray(pc.fill_null(values, 0.0)), takes_part, FLOAT)
    return Operand(np.asarray(pc.fill_null(values.cast(INT), 0)), takes_part, values.type)


def _expression(feature: Aggregation, columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
    assert not isinstance(feature.column, str)
    values = evaluate(feature.column, columns, rows)
    if feature.function in _ANY_TYPE:
        return values
    if values.type not in NUMBERS:
        raise InvalidInput(
            f"aggregation '{feature.name}': its expression is {NAMES[values.type]}",
            f"{feature.function} of an expression needs a number",
        )
    return values.cast(INT).cast(FLOAT, safe=False) if values.type == BOOL else values.cast(FLOAT, safe=False)


def _text_operand(values: pa.Array, takes_part: Flags | None, more_texts: Sequence[pa.Array]) -> Operand:
    encoded = pa.concat_arrays([values, *more_texts]).dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    ranks = np.zeros(len(order) + 1, np.int64)
    ranks[np.asarray(order)] = np.arange(len(order))
    indices = np.asarray(pc.fill_null(encoded.indices.cast(INT), -1))[: len(values)]
    return Operand(ranks[indices], takes_part, STRING, encoded.dictionary.take(order))
