"""The statistics that are lists, `last_k` and `top_k`, as JSON arrays. Called by `windows`, and for tiles by
`tile_partials` and `tile_sketches`.

Layouts have no type for lists, so that a list is one text: what Python's `json.dumps` gives with separators without
blanks and without escapes for letters. Integers have all of their digits, a float the fewest that read back as itself,
a time is ISO 8601 in UTC, and an infinity, which JSON lacks, is the text "Infinity" or "-Infinity".
"""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.features import Aggregation
from gnomon.errors import InvalidInput
from gnomon.features.event_columns import Array, Int64s
from gnomon.features.expression_kernels import BOOL, FLOAT, STRING, TIMESTAMP
from gnomon.features.window_groups import Groups
from gnomon.features.window_operands import Operand

_MOST_BYTES = 2**31 - 1  # of one Arrow column of texts
_FLOATS_AT_ONCE = 100_000  # as Python objects, which are ten times as large as the numbers


class ListColumn:
    """The growing result of one aggregation whose values are lists.

    Args:
        feature: An aggregation with `k`.
    """

    def __init__(self, feature: Aggregation) -> None:
        assert feature.k is not None, "a list has k by its definition"
        self._feature, self._k = feature, feature.k
        self._parts: list[pa.Array] = []
        self._json: JsonValues | None = None

    def fill(self, first: int, groups: Groups) -> None:
        """Compute the list of each group and keep it; `first` counts up from 0 without gaps."""
        assert first == sum(len(part) for part in self._parts), "parts come in the order of the requests"
        choose = _newest if self._feature.function == "last_k" else _most_frequent
        values, lengths = choose(groups, self._k)
        self._json = self._json or JsonValues(groups.operand)
        self._parts.append(json_lists(self._json.of(values), lengths))

    def to_arrow(self, operand: Operand) -> pa.Array:
        """Return the column of texts; null for a group without values."""
        return list_column(self._feature, self._parts)


def list_column(feature: Aggregation, parts: list[pa.Array]) -> pa.Array:
    """Return the texts of several chunks as one column.

    Args:
        feature: What they are lists of.
        parts: In the order of the requests.

    Returns:
        One text per request.

    Raises:
        InvalidInput: They are more than a column can hold.
    """
    size = sum(part.nbytes for part in parts)
    if size > _MOST_BYTES:
        raise InvalidInput(
            f"the lists of aggregation '{feature.name}' take {size} bytes, above {_MOST_BYTES}",
            "ask for fewer rows at a time, or for a smaller k",
        )
    return pa.concat_arrays([pa.array([], STRING), *parts])


class JsonValues:
    """Writes values as JSON.

    Args:
        operand: What the values are.
    """

    def __init__(self, operand: Operand) -> None:
        self._operand = operand
        self._texts = None if operand.texts is None else _json_texts(operand.texts.to_pylist())

    def of(self, values: Array) -> pa.Array:
        """Return the JSON of each value, given as the numbers that stand for them in the operand."""
        return _json_numbers(values, self._operand) if self._texts is None else self._texts.take(pa.array(values))


def _newest(groups: Groups, k: int) -> tuple[Array, Int64s]:
    """Return the newest k values of each group, newest first, and how many they are."""
    lengths = np.minimum(groups.counts, k)
    ends = np.cumsum(groups.counts)
    return groups.numbers[np.repeat(ends - 1, lengths) - positions_inside(lengths)], lengths


def _most_frequent(groups: Groups, k: int) -> tuple[Array, Int64s]:
    """Return the k most frequent values of each group, of equally frequent ones the smallest, and how many they are."""
    starts = groups.distinct_starts
    often = np.diff(np.append(starts, len(groups.ranked)))
    members = groups.members[starts]
    order = np.lexsort((-often, members))  # stable: equally frequent values stay ascending
    distinct = np.bincount(members, minlength=len(groups.counts)).astype(np.int64)
    values = groups.ranked[starts[order]][positions_inside(distinct) < k]
    # zeros of both signs are one value
    return values + 0.0 if values.dtype == np.float64 else values, np.minimum(distinct, k)


def positions_inside(lengths: Int64s) -> Int64s:
    """Return 0, 1, … for each of some groups in turn, which have these lengths."""
    result: Int64s = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return result


def json_lists(texts: pa.Array, lengths: Int64s) -> pa.Array:
    """Return one JSON array per group, of the given lengths; null for an empty one."""
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))).astype(np.int32))
    inner = pc.binary_join(pa.ListArray.from_arrays(offsets, texts), ",")
    lists = pc.binary_join_element_wise("[", inner, "]", "")
    return pc.if_else(pa.array(lengths > 0), lists, pa.scalar(None, STRING))


def _json_texts(texts: list[str]) -> pa.Array:
    return pa.array([json.dumps(text, ensure_ascii=False) for text in texts], STRING)


def _reprs(numbers: list[float]) -> pa.Array:
    return pa.array([repr(number) for number in numbers], STRING)


def _json_numbers(values: Array, operand: Operand) -> pa.Array:
    if operand.arrow == FLOAT:
        parts = (values[start : start + _FLOATS_AT_ONCE] for start in range(0, len(values), _FLOATS_AT_ONCE))
        texts = pa.concat_arrays([pa.array([], STRING), *(_reprs(part.tolist()) for part in parts)])
        named = {float("inf"): '"Infinity"', float("-inf"): '"-Infinity"'}
        for infinity, name in named.items():
            if (where := values == infinity).any():
                texts = pc.if_else(pa.array(where), name, texts)
        return texts
    if operand.arrow == TIMESTAMP:
        times = pc.replace_substring(pa.array(values).cast(TIMESTAMP).cast(STRING), " ", "T")
        return pc.binary_join_element_wise('"', times, '"', "")
    return pa.array(values.astype(np.bool_) if operand.arrow == BOOL else values).cast(STRING)
