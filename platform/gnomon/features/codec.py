"""Packs one online row into bytes and back, vectorised: no Python per row for numbers, none per value for strings.

Used by `features.redis_online_store` to write and by `features.compiled_reads` to read. One packed row is

    event time (us, big-endian int64) · known time (the same) · layout version (4 bytes)
    null bitmap, bit i = column i in declaration order (little-endian bits)
    float64 columns · int64 and timestamp columns · bool columns (1 byte) · string columns (end offset, uint32), each
    group in declaration order, little-endian
    UTF-8 of all strings

The header is big-endian so that the server's script can compare times. A float NaN is stored, and read, as null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.columns import EVENT_TIME, KNOWN_TIME
from gnomon.contracts.layouts import ViewLayout
from gnomon.errors import CorruptData, InvalidInput, did_you_mean

Array = np.ndarray[Any, Any]

HEADER_BYTES: Final = 20
_VERSION: Final = slice(16, 20)
_ARROW: Final = {
    "int64": (pa.int64(),),
    "float64": (pa.float64(),),
    "bool": (pa.bool_(),),
    "string": (pa.string(), pa.large_string(), pa.string_view()),
    "timestamp": (pa.timestamp("us", tz="UTC"),),
}
_GROUPS: Final = (("floats", "<f8", ("float64",)), ("ints", "<i8", ("int64", "timestamp")), ("bools", "u1", ("bool",)),
                  ("ends", "<u4", ("string",)))  # fmt: skip


@dataclass(frozen=True, slots=True)
class DecodedRows:
    """n rows of one view.

    Attributes:
        event_us: int64, (n,); 0 where there is no row.
        absent: bool, (n,): no row, or one of another layout version; None when every row is there.
        nulls: uint8, (n, columns of the layout): 1 where null or absent.
        columns: One array of length n per column, ordered as `RowCodec.order`: float64 with NaN; int64 and bool, or
            object with None where the column has nulls; object for strings. Timestamps are int64 microseconds.
    """

    event_us: Array
    absent: Array | None
    nulls: Array
    columns: list[Array]


class RowCodec:
    """The codec of one layout; compiled once, then only used. Safe to share between threads.

    Args:
        layout: The view's layout; its version is packed into every row.

    Attributes:
        layout: The view's layout.
        order: Index of the layout's column behind each decoded column.
    """

    def __init__(self, layout: ViewLayout) -> None:
        self.layout = layout
        self._version = bytes.fromhex(layout.version)
        self._version_number = np.frombuffer(self._version, "<u4")[0]
        fields: list[Any] = [
            ("event", ">i8"),
            ("known", ">i8"),
            ("version", "<u4"),
            ("nulls", "u1", (-(-len(layout.columns) // 8),)),
        ]
        self._groups: dict[str, list[int]] = {}
        for name, form, dtypes in _GROUPS:
            members = [i for i, column in enumerate(layout.columns) if column.dtype in dtypes]
            self._groups[name] = members
            if members:
                fields.append((name, form, (len(members),)))
        self._dtype = np.dtype(fields)
        self._width = self._dtype.itemsize
        self.order = tuple(i for members in self._groups.values() for i in members)
        self._fixed = not self._groups["ends"]
        self._blank = self._blank_row()

    def _blank_row(self) -> bytes:
        record = np.zeros(1, self._dtype)
        record["version"] = self._version_number
        record["nulls"] = 0xFF
        if self._groups["floats"]:
            record["floats"] = np.nan
        return record.tobytes()

    def encode(self, table: pa.Table | pa.RecordBatch) -> list[bytes]:
        """Pack every row, in order.

        Args:
            table: With `EVENT_TIME`, `KNOWN_TIME` and the layout's feature columns.

        Returns:
            One packed row per row of the table.

        Raises:
            InvalidInput: A column is missing or of another type, or a time is null.
        """
        records = np.zeros(table.num_rows, self._dtype)
        records["version"] = self._version_number
        for field, name in (("event", EVENT_TIME), ("known", KNOWN_TIME)):
            times = column_of(table, name, "timestamp", self.layout.view)
            if times.null_count:
                raise InvalidInput(f"rows of view '{self.layout.view}': '{name}' is null", "every row needs its times")
            records[field] = np.asarray(pc.cast(times, pa.int64()))
        nulls = np.zeros((table.num_rows, len(self.layout.columns)), np.uint8)
        texts: list[pa.Array] = []
        for group, members in self._groups.items():
            for position, i in enumerate(members):
                column = self.layout.columns[i]
                values = column_of(table, column.name, column.dtype, self.layout.view)
                nulls[:, i] = np.asarray(pc.is_null(values, nan_is_null=column.dtype == "float64"))
                if group == "ends":
                    texts.append(pc.fill_null(pc.cast(values, pa.binary()), b""))
                    ends = np.asarray(pc.binary_length(texts[-1]))
                    records[group][:, position] = ends + (records[group][:, position - 1] if position else 0)
                else:
                    records[group][:, position] = _numbers(values, column.dtype)
        records["nulls"] = np.packbits(nulls, axis=1, bitorder="little")
        packed, width = records.tobytes(), self._width
        rows = [packed[start : start + width] for start in range(0, len(packed), width)]
        if texts:
            tails = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, b"")
            rows = [row + tail for row, tail in zip(rows, tails.to_pylist(), strict=True)]
        return rows

    def decode(self, values: Sequence[bytes | None]) -> DecodedRows:
        """Unpack rows, in order; None stands for no row.

        Args:
            values: Packed rows; one of another layout version counts as absent.

        Returns:
            Arrays of the same length as `values`.

        Raises:
            CorruptData: A value is not a packed row: too short, too long, or with impossible offsets or bytes.
        """
        absent = None
        if None in values:
            absent = np.fromiter((v is None for v in values), bool, len(values))
            values = [self._blank if v is None else v for v in values]
        records, rows, absent = self._records(values, absent)
        count = len(self.layout.columns)
        nulls = np.unpackbits(records["nulls"], axis=1, count=count, bitorder="little")
        columns: list[Array] = []
        groups = self._groups
        if groups["floats"]:
            columns.extend(np.ascontiguousarray(records["floats"].T))
        if groups["ints"]:
            columns.extend(_with_none(np.ascontiguousarray(records["ints"].T), nulls, groups["ints"]))
        if groups["bools"]:
            raw = np.ascontiguousarray(records["bools"].T)
            if raw.max(initial=0) > 1:
                raise self._corrupt("a bool is neither 0 nor 1")
            columns.extend(_with_none(raw.view(np.bool_), nulls, groups["bools"]))
        if groups["ends"]:
            columns.extend(self._strings(records["ends"], rows, nulls))
        return DecodedRows(records["event"].astype(np.int64), absent, nulls, columns)

    def _records(self, values: Sequence[Any], absent: Array | None) -> tuple[Array, Sequence[Any], Array | None]:
        """Read the fixed-width part; rows of another layout version become absent."""
        width = self._width
        fixed = b"".join(values) if self._fixed else b"".join([v[:width] for v in values])
        if set(map(len, values)) <= {width} or (not self._fixed and all(len(v) >= width for v in values)):
            records = np.frombuffer(fixed, self._dtype)
            if records["version"].tobytes() == self._version * len(records):
                return records, values, absent
        usable = np.array([self._is_mine(v) for v in values], bool)
        values = [v if mine else self._blank for v, mine in zip(values, usable, strict=True)]
        absent = ~usable if absent is None else absent | ~usable
        return np.frombuffer(b"".join([v[:width] for v in values]), self._dtype), values, absent

    def _is_mine(self, value: bytes) -> bool:
        if len(value) < HEADER_BYTES:
            raise self._corrupt(f"it has {len(value)} bytes, fewer than a header's {HEADER_BYTES}")
        if value[_VERSION] != self._version:
            return False
        if len(value) < self._width or (self._fixed and len(value) != self._width):
            raise self._corrupt(f"it has {len(value)} bytes where {self._width} are due")
        return True

    def _strings(self, ends: Array, values: Sequence[bytes], nulls: Array) -> list[Array]:
        sizes = np.fromiter(map(len, values), np.int64, len(values)) - self._width
        starts = np.zeros_like(ends)
        starts[:, 1:] = ends[:, :-1]
        if (starts > ends).any() or (ends[:, -1] != sizes).any():
            raise self._corrupt("the offsets of its strings are impossible")
        columns = []
        for position, i in enumerate(self._groups["ends"]):
            first = (starts[:, position].astype(np.int64) + self._width).tolist()
            last = (ends[:, position].astype(np.int64) + self._width).tolist()
            column = np.empty(len(values), object)
            try:
                column[:] = [
                    None if null else v[a:b].decode()
                    for v, a, b, null in zip(values, first, last, nulls[:, i].tolist(), strict=True)
                ]
            except UnicodeDecodeError as error:
                raise self._corrupt(f"column '{self.layout.columns[i].name}' is not UTF-8") from error
            columns.append(column)
        return columns

    def _corrupt(self, why: str) -> CorruptData:
        return CorruptData(
            f"a stored row of view '{self.layout.view}' cannot be read: {why}",
            "materialize the view again; the online store is a cache of the offline one",
        )


def _with_none(block: Array, nulls: Array, members: list[int]) -> list[Array]:
    """Split a (columns, n) block; a column with nulls becomes objects, so that its integers stay exact."""
    columns = list(block)
    for position in np.flatnonzero(nulls[:, members].any(axis=0)).tolist():
        column = columns[position].astype(object)
        column[nulls[:, members[position]] != 0] = None
        columns[position] = column
    return columns


def _numbers(values: pa.Array, dtype: str) -> Array:
    if dtype == "timestamp":
        values = pc.cast(values, pa.int64())
    empty: Any = np.nan if dtype == "float64" else False if dtype == "bool" else 0
    return np.asarray(pc.fill_null(values, empty) if values.null_count else values)


def column_of(table: pa.Table | pa.RecordBatch, name: str, dtype: str, view: str) -> pa.Array:
    """Return a column as one array.

    Args:
        table: Rows of the view.
        name: Which column.
        dtype: The type that it has to have, as in a schema of `contracts`.
        view: Named in errors.

    Returns:
        The column, one value per row, nulls kept.

    Raises:
        InvalidInput: It is missing or of another type.
    """
    if name not in table.schema.names:
        raise InvalidInput(f"rows of view '{view}' have no column '{name}'", did_you_mean(name, table.schema.names))
    column = table.column(name)
    if column.type not in _ARROW[dtype]:
        raise InvalidInput(f"rows of view '{view}': column '{name}' is {column.type}", f"it has to be {dtype}")
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


@lru_cache(maxsize=256)
def codec_of(layout: ViewLayout) -> RowCodec:
    """Return the compiled codec of a layout."""
    return RowCodec(layout)


def encode(layout: ViewLayout, table: pa.Table | pa.RecordBatch) -> list[bytes]:
    """Pack every row of a table; see `RowCodec.encode`."""
    return codec_of(layout).encode(table)


def decode(layout: ViewLayout, values: Sequence[bytes | None], columns: Sequence[str]) -> dict[str, Array]:
    """Unpack the named columns; see `RowCodec.decode`.

    Args:
        layout: The view's layout.
        values: Packed rows; None stands for no row.
        columns: Names of features.

    Returns:
        By name, in the order of `columns`, one value per packed row; as `DecodedRows.columns`.

    Raises:
        CorruptData: A value is not a packed row.
        InvalidInput: The view has no such column.
    """
    codec = codec_of(layout)
    decoded = dict(zip((layout.columns[i].name for i in codec.order), codec.decode(values).columns, strict=True))
    for name in columns:
        if name not in decoded:
            raise InvalidInput(f"view '{layout.view}' has no feature '{name}'", did_you_mean(name, decoded))
    return {name: decoded[name] for name in columns}
