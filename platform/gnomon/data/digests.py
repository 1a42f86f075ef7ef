"""Content digests of rows: 128 bits that are equal for equal rows, wherever and whenever they are computed.

Called by `validation` for every row and by `ray_ingestion` to spread rows by id. The digest is part of the stored
format, hence an algorithm of our own instead of a library's, which may change with its version:

- A cell is hashed with SplitMix64's finaliser, in two lanes with different constants. Numbers, booleans and times count
  as their 64-bit integer where they are whole, else as the bits of the float; text is hashed eight bytes at a time,
  beginning from its length.
- A row is the sum of its cells' hashes, each mixed with a hash of the column's name; null cells add nothing. So the
  digest depends neither on the order of columns nor on columns that are absent or null.

It is no cryptographic hash: it tells resends from corrections, and guards nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Words = npt.NDArray[np.uint64]

_LANES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_WORD_BYTES = 8
_NAN_BITS = np.uint64(0x7FF8000000000000)
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype="<u2")


def row_digests(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return the digest of each row as 32 hex digits.

    Args:
        columns: Arrays of equal length by column name, of the types in `casting.ARROW_TYPES`.

    Returns:
        A string array of that length, without nulls.
    """
    lanes = []
    for lane in _LANES:
        total: Words | None = None
        for name, array in columns.items():
            words = _mixed(hash_cells(array, lane) ^ _name_hash(name, lane))
            words[~np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=bool)] = 0
            total = words if total is None else total + words
        lanes.append(_mixed(total if total is not None else np.zeros(0, dtype=np.uint64)))
    return _as_hex(lanes[0], lanes[1])


def hash_cells(array: pa.Array, lane: np.uint64 = _LANES[0]) -> Words:
    """Return a 64-bit hash of each cell; of null cells, some value."""
    if pa.types.is_string(array.type):
        return _hash_text(array, lane)
    if pa.types.is_floating(array.type):
        values = np.asarray(pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False), dtype=np.float64)
        with np.errstate(invalid="ignore"):  # a signalling NaN is no whole number either
            whole = (np.abs(values) < 2.0**63) & (np.floor(values) == values)
        integers = np.where(whole, values, 0.0).astype(np.int64).view(np.uint64)
        bits = np.where(np.isnan(values), _NAN_BITS, values.view(np.uint64))
        return _mixed(np.where(whole, integers, bits ^ _MIX_2) + lane)
    integers_of = pc.cast(array, pa.int8()) if pa.types.is_boolean(array.type) else array
    integers = pc.fill_null(pc.cast(integers_of, pa.int64()), 0).to_numpy(zero_copy_only=False)
    return _mixed(np.ascontiguousarray(integers).view(np.uint64) + lane)


def _hash_text(array: pa.Array, lane: np.uint64) -> Words:
    """Hash texts side by side: all first words, then the second words of those that have one, and so on."""
    array = pc.fill_null(array, "")
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int32)[array.offset : array.offset + len(array) + 1]
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    hashes = _mixed(lengths.astype(np.uint64) * _MIX_1 + lane)
    if not len(array) or not lengths.any():
        return hashes
    data = bytes(memoryview(array.buffers()[2])[: int(offsets[-1])]) + b"\0" * _WORD_BYTES
    # one word for each byte: the eight bytes that begin there
    words = np.ndarray(len(data) - _WORD_BYTES + 1, dtype="<u8", buffer=data, strides=(1,))
    active = np.flatnonzero(lengths > 0)
    done = 0
    while len(active):
        left = lengths[active] - done
        unused_bits = (8 * np.maximum(_WORD_BYTES - left, 0)).astype(np.uint64)
        word = words[starts[active] + done] << unused_bits
        hashes[active] = _mixed((hashes[active] ^ word) + lane)
        active = active[left > _WORD_BYTES]
        done += _WORD_BYTES
    return hashes


def _mixed(words: Words) -> Words:
    """Apply SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    words = (words ^ (words >> _S30)) * _MIX_1
    words = (words ^ (words >> _S27)) * _MIX_2
    return words ^ (words >> _S31)


def _name_hash(name: str, lane: np.uint64) -> np.uint64:
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=lane.tobytes()).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _as_hex(high: Words, low: Words) -> pa.Array:
    data = np.empty((len(high), 2), dtype=">u8")
    data[:, 0], data[:, 1] = high, low
    text = _HEX[data.view(np.uint8)].tobytes()
    offsets = np.arange(len(high) + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(len(high), pa.py_buffer(offsets), pa.py_buffer(text))
