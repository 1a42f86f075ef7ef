"""Partials that stand in place of events, as rows of a table: written by `folded_tiles`, read by `tiled_windows`.

A row is of one entity and tile; the partials of an aggregation are in columns named `<aggregation>.<field>`. Values are
themselves there, texts as texts, so that a row can be read beside any events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.features import Aggregation
from gnomon.features.event_columns import Array, Flags, Int64s, column, entity_codes
from gnomon.features.expression_kernels import STRING
from gnomon.features.tile_partials import COUNT, VALUE, VALUES, Partials
from gnomon.features.window_operands import Operand

TILE = "_tile"
"""Column of int64: number of the tile."""

HELD_SINCE = "_heard_us"
"""Column of int64 microseconds: when the last of the tile's events was stored."""


@dataclass(frozen=True)
class HeldTiles:
    """Tiles of one length, of entities that are asked for; by (entity, tile).

    Attributes:
        codes: Entity of each.
        tiles: Number of each.
        table: Its partials.
    """

    codes: Int64s
    tiles: Int64s
    table: pa.Table

    @classmethod
    def of(cls, table: pa.Table, requests: pa.Table, keys: Sequence[str]) -> HeldTiles:
        """Number the entities of a table of partials as those of the requests are numbered; leave others out."""
        codes, tiles = entity_codes(requests, table, keys)[1], np.asarray(column(table, TILE))
        order = np.lexsort((tiles, codes))
        order = order[codes[order] >= 0]
        return cls(codes[order], tiles[order], table.take(pa.array(order)))

    def texts(self, features: Sequence[Aggregation]) -> list[pa.Array]:
        """Return the texts that are among the values of some aggregations."""
        found = []
        for name in (f"{feature.name}.{field}" for feature in features for field in (VALUE, VALUES)):
            if name in self.table.column_names:
                values = column(self.table, name)
                values = values.flatten() if pa.types.is_list(values.type) else values
                found += [values] if values.type == STRING else []
        return found

    def partials(self, feature: Aggregation, operand: Operand) -> Partials:
        """Return the partials of an aggregation; texts as their ranks in its operand."""
        prefix = f"{feature.name}."
        fields = [name for name in self.table.column_names if name.startswith(prefix)]
        return {name.removeprefix(prefix): _numbers(column(self.table, name), operand) for name in fields}


def partial_columns(feature: Aggregation, partials: Partials, operand: Operand) -> dict[str, pa.Array]:
    """Return partials as columns of a table.

    Args:
        feature: Of which aggregation.
        partials: They.
        operand: What the values among them are.

    Returns:
        Columns by name, one row per partial.
    """
    counts = partials[COUNT]
    return {f"{feature.name}.{name}": _stored(name, values, counts, operand) for name, values in partials.items()}


def any_held(held: Mapping[int, HeldTiles], codes: Int64s) -> Flags:
    """Tell which entities have a tile that is held."""
    result = np.zeros(len(codes), np.bool_)
    for tiles in held.values():
        result |= np.isin(codes, tiles.codes)
    return result


def _stored(name: str, values: Array, counts: Int64s, operand: Operand) -> pa.Array:
    if values.dtype == object:
        return pa.array(values, pa.binary())
    if name == VALUE and operand.texts is not None:
        return operand.texts.take(pa.array(values, mask=counts == 0))
    if name == VALUES:
        listed = pa.array(values) if operand.texts is None else operand.texts.take(pa.array(values))
        return pa.ListArray.from_arrays(pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32)), listed)
    return pa.array(values)


def _numbers(values: pa.Array, operand: Operand) -> Array:
    values = values.flatten() if pa.types.is_list(values.type) else values
    if pa.types.is_binary(values.type):
        result = np.empty(len(values), object)
        result[:] = values.to_pylist()
        return result
    if values.type == STRING:
        assert operand.texts is not None, "texts are of a column of texts"
        values = pc.fill_null(pc.index_in(values, value_set=operand.texts), 0).cast(pa.int64())
    return np.asarray(values)
