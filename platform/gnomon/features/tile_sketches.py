"""Statistics that are sketched: distinct values, quantiles and most frequent values, from Apache DataSketches.

Called by `tile_partials`. A partial is the sketch's bytes, so that it is the same whether it was kept or just made, and
no sketch draws lots: the quantiles are t-digests and not KLL, whose compaction flips coins that nobody can seed.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from gnomon.contracts.features import Aggregation
from gnomon.features.event_columns import Array, Flags, Int64s
from gnomon.features.expression_kernels import FLOAT, STRING
from gnomon.features.window_groups import Groups
from gnomon.features.window_lists import JsonValues
from gnomon.features.window_operands import Operand

DISTINCT_LG_K: Final = 12
"""4,096 registers of a byte."""

QUANTILE_K: Final = 400
"""About as many centroids of 16 bytes; half of it errs by twice as much."""

TOP_LG_SIZE: Final = 10
"""1,024 counters, of which three quarters are used: up to 768 different values are counted exactly."""

_GREATEST = 1e290
"""Beyond it the differences of centroids, times their weights, would overflow into NaN."""


class Sketch(Protocol):
    """A kind of sketch over one operand."""

    def of(self, groups: Groups) -> Iterator[bytes]:
        """Yield the sketch of each group that holds a value."""
        ...

    def values(self, merged: Iterator[Any], filled: Flags) -> pa.Array:
        """Return the value in each window, given what the sketches of each that has some are merged to."""
        ...

    def fresh(self) -> Any:
        """Return what nothing is merged into yet."""
        ...

    def add(self, merged: Any, sketch: Any) -> None:
        """Merge one sketch into others."""
        ...

    def read(self, body: bytes) -> Any:
        """Return the sketch of these bytes."""
        ...

    def kept(self, merged: Any) -> bytes:
        """Return the bytes from which a merge can be gone on with."""
        ...

    def reopened(self, body: bytes) -> Any:
        """Return the merge of these bytes."""
        ...


def merged_sketches(sketch: Sketch, sketches: Array, partials: Int64s, starts: Int64s) -> Iterator[Any]:
    """Merge the sketches of each window: all but the last, and the last into what was kept of these.

    Windows that end in one tile share all but the last, and are next to each other; these are merged once.

    Args:
        sketch: The kind.
        sketches: Bytes, by partial.
        partials: Of the windows, window after window, in the order of time.
        starts: Where those of each window begin.

    Yields:
        Any: What the sketches of a window are merged to.
    """
    opened: dict[int, Any] = {}
    shared, kept = np.full(1, -1), b""

    def added(merged: Any, some: Int64s) -> Any:
        for partial in some.tolist():
            if partial not in opened:
                opened[partial] = sketch.read(sketches[partial])
            sketch.add(merged, opened[partial])
        return merged

    for part in _parts(partials, starts):
        if not np.array_equal(part[:-1], shared):
            shared = part[:-1]
            kept = sketch.kept(added(sketch.fresh(), shared)) if len(shared) else b""
        yield added(sketch.reopened(kept) if len(shared) else sketch.fresh(), part[-1:])


def sketch_partials(sketch: Sketch, groups: Groups) -> Array:
    """Return the bytes of each group's sketch, empty for a group without values."""
    result = np.full(len(groups.counts), b"", object)
    result[groups.filled] = np.fromiter(sketch.of(groups), object, len(groups.starts))
    return result


class DistinctSketch:
    """HyperLogLog of the values; zeros of both signs are one."""

    def __init__(self, feature: Aggregation, operand: Operand) -> None:
        self._operand, self._library = operand, _library()

    def of(self, groups: Groups) -> Iterator[bytes]:
        """Yield sketches of each group's distinct values, which go in by their order."""
        for values in _distinct(groups):
            sketch = self._library.hll_sketch(DISTINCT_LG_K)
            for value in self._hashable(values):
                sketch.update(value)
            yield sketch.serialize_compact()

    def values(self, merged: Iterator[Any], filled: Flags) -> pa.Array:
        """Return the estimates, rounded; 0 for a window without values."""
        counts = np.zeros(len(filled), np.int64)
        counts[filled] = [round(union.get_estimate()) for union in merged]
        return pa.array(counts)

    def fresh(self) -> Any:
        """Return an empty union."""
        return self._library.hll_union(DISTINCT_LG_K)

    def add(self, merged: Any, sketch: Any) -> None:
        """Merge one sketch into a union."""
        merged.update(sketch)

    def read(self, body: bytes) -> Any:
        """Return the sketch of these bytes."""
        return self._library.hll_sketch.deserialize(body)

    def kept(self, merged: Any) -> bytes:
        """Return the union's sketch as bytes."""
        result: bytes = merged.get_result(self._library.HLL_8).serialize_compact()
        return result

    def reopened(self, body: bytes) -> Any:
        """Return a union of that sketch."""
        union = self.fresh()
        union.update(self.read(body))
        return union

    def _hashable(self, values: Array) -> list[Any]:
        if self._operand.texts is not None:  # an empty text would be passed over
            return ["=" + text for text in self._operand.texts.take(pa.array(values)).to_pylist()]
        result: list[Any] = (values + 0.0 if values.dtype == np.float64 else values).tolist()
        return result


class _SelfMerging(ABC):
    """A kind of sketch that others are merged into."""

    def add(self, merged: Any, sketch: Any) -> None:
        """Merge one sketch into others."""
        merged.merge(sketch)

    def read(self, body: bytes) -> Any:
        """Return the sketch of these bytes."""
        return self.fresh().deserialize(body)

    def kept(self, merged: Any) -> bytes:
        """Return the merged sketch as bytes."""
        body: bytes = merged.serialize()
        return body

    def reopened(self, body: bytes) -> Any:
        """Return that sketch."""
        return self.read(body)

    @abstractmethod
    def fresh(self) -> Any:
        """Return an empty sketch."""


class QuantileSketch(_SelfMerging):
    """A t-digest of the values."""

    def __init__(self, feature: Aggregation, operand: Operand) -> None:
        assert feature.q is not None, "a quantile has q by its definition"
        self._q, self._library = feature.q, _library()

    def of(self, groups: Groups) -> Iterator[bytes]:
        """Yield digests of each group's values, in the order of time."""
        values = np.clip(groups.numbers.astype(np.float64), -_GREATEST, _GREATEST)
        for part in _parts(values, groups.starts):
            digest = self.fresh()
            digest.update(part)
            yield digest.serialize()

    def fresh(self) -> Any:
        """Return an empty digest."""
        return self._library.tdigest_double(QUANTILE_K)

    def values(self, merged: Iterator[Any], filled: Flags) -> pa.Array:
        """Return the quantiles."""
        found = np.zeros(len(filled))
        found[filled] = [digest.get_quantile(self._q) for digest in merged]
        return pa.array(found, mask=~filled)


class TopSketch(_SelfMerging):
    """The frequent-items sketch of Misra and Gries over the values' JSON."""

    def __init__(self, feature: Aggregation, operand: Operand) -> None:
        assert feature.k is not None, "a list has k by its definition"
        self._k, self._json, self._library = feature.k, JsonValues(operand), _library()
        self._value = float if operand.arrow == FLOAT else _itself  # infinities are texts in JSON

    def of(self, groups: Groups) -> Iterator[bytes]:
        """Yield sketches of how often each group has which values, which go in by their order."""
        starts = groups.distinct_starts
        often = np.diff(np.append(starts, len(groups.ranked))).tolist()
        values = groups.ranked[starts]
        texts = self._json.of(values + 0.0 if values.dtype == np.float64 else values).to_pylist()
        first = 0
        for distinct in _distinct(groups):
            sketch = self.fresh()
            for place in range(first, first + len(distinct)):
                sketch.update(texts[place], often[place])
            first += len(distinct)
            yield sketch.serialize()

    def fresh(self) -> Any:
        """Return an empty sketch."""
        return self._library.frequent_strings_sketch(TOP_LG_SIZE)

    def values(self, merged: Iterator[Any], filled: Flags) -> pa.Array:
        """Return the lists: most frequent first, of those that seem equally frequent the smaller."""
        lists = np.full(len(filled), None, object)
        lists[filled] = np.array([self._listed(sketch) for sketch in merged], object)
        return pa.array(lists, STRING)

    def _listed(self, sketch: Any) -> str:
        items = sketch.get_frequent_items(self._library.frequent_items_error_type.NO_FALSE_NEGATIVES, 0)
        ordered = sorted(items, key=lambda item: (-item[1], self._value(json.loads(item[0]))))
        return "[" + ",".join(item[0] for item in ordered[: self._k]) + "]"


SKETCHES: Final[dict[str, Callable[[Aggregation, Operand], Sketch]]] = {
    "approx_count_distinct": DistinctSketch, "approx_quantile": QuantileSketch, "approx_top_k": TopSketch,
}  # fmt: skip


def _library() -> Any:
    import datasketches

    return datasketches


def _parts(values: Array, starts: Int64s) -> list[Array]:
    return np.split(values, starts[1:]) if len(starts) else []


def _distinct(groups: Groups) -> list[Array]:
    """Return the distinct values of each group that holds one, ascending."""
    places = groups.distinct_starts
    members = groups.members[places]
    return _parts(groups.ranked[places], np.searchsorted(members, np.flatnonzero(groups.filled)))


def _itself(value: Any) -> Any:
    return value
