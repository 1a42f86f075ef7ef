"""Tests of `storage.delta_schemas`."""

import re

import pyarrow as pa
import pytest

from gnomon.contracts.columns import EVENT_TIME
from gnomon.errors import CorruptData, InvalidInput
from gnomon.storage.delta_schemas import (
    TIMESTAMP,
    from_delta,
    merged_schema,
    storable_rows,
    storable_schema,
    storable_type,
    to_delta,
)

STORED = [
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.binary(),
    pa.date32(), TIMESTAMP, pa.decimal128(12, 2), pa.list_(pa.float32()), pa.struct([("a", pa.list_(pa.string()))]),
]  # fmt: skip


@pytest.mark.parametrize("kind", STORED, ids=str)
def test_stored_types_survive_the_way_through_delta(kind: pa.DataType) -> None:
    schema = pa.schema({"a": kind})
    assert storable_type(kind, "a") == kind
    assert from_delta(to_delta(schema)) == schema


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.int32(), pa.large_string()), pa.string()),
        (pa.timestamp("ns", tz="Europe/Berlin"), TIMESTAMP),
        (pa.timestamp("s", tz="UTC"), TIMESTAMP),
        (pa.large_list(pa.large_string()), pa.list_(pa.string())),
        (pa.list_(pa.float32(), 3), pa.list_(pa.float32())),
    ],
    ids=str,
)
def test_near_types_are_stored_as_one(kind: pa.DataType, stored: pa.DataType) -> None:
    assert storable_type(kind, "a") == stored


@pytest.mark.parametrize("kind", [pa.uint64(), pa.null(), pa.time64("us"), pa.duration("s"), pa.float16()], ids=str)
def test_other_types_are_refused_by_name(kind: pa.DataType) -> None:
    with pytest.raises(InvalidInput, match=re.escape(f"column 'a' has type {kind}")):
        storable_type(kind, "a")


def test_values_keep_their_meaning() -> None:
    rows = pa.table({
        EVENT_TIME: pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", tz="Asia/Tokyo")),
        "kind": pa.array(["x"]).dictionary_encode(),
    })  # fmt: skip
    stored = storable_rows(rows)
    assert stored[EVENT_TIME].cast(pa.int64()).to_pylist() == [1_700_000_000_123_456]
    assert stored["kind"].to_pylist() == ["x"]


def test_a_repeated_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'a' occurs more than once"):
        storable_schema(pa.schema([(EVENT_TIME, TIMESTAMP), ("a", pa.int64()), ("a", pa.int64())]))


def test_merging_keeps_the_order() -> None:
    current = pa.schema({EVENT_TIME: TIMESTAMP, "b": pa.int64()})
    added = pa.schema({"a": pa.string(), EVENT_TIME: TIMESTAMP})
    assert merged_schema("t", current, added).names == [EVENT_TIME, "b", "a"]


def test_foreign_types_are_named() -> None:
    with pytest.raises(CorruptData, match="variant"):
        from_delta('{"type":"struct","fields":[{"name":"a","type":"variant","nullable":true,"metadata":{}}]}')
