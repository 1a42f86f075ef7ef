"""Schema drift: columns that come, go and change, against the definition and the ingestion before."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gnomon as gn
from gnomon.contracts.columns import DTYPES
from gnomon.data.schema_drift import schema_drift

AT = pa.array([1_735_689_600_000_000], pa.timestamp("us", tz="UTC"))


def lines(report):
    return [(d["column"], d["change"], d["against"], d["before"], d["now"]) for d in report.drift]


def source(path="*.parquet", **options):
    return gn.DataSource("events", path=path, id="id", event_time="at", **options)


def test_against_the_ingestion_before_and_the_definition(root, take_in):
    schema = {"id": "string", "at": "timestamp", "n": "int64", "gone": "string"}
    pq.write_table(pa.table({"id": ["a"], "at": AT, "n": [1], "gone": ["x"]}), root / "a.parquet")
    first = take_in(source(), schema=schema)
    assert first.drift == ()
    pq.write_table(pa.table({"id": ["b"], "at": AT, "n": ["many"], "new": [1.5]}), root / "a.parquet")
    second = take_in(source(), schema=schema, previous=first.memory)
    assert second.quarantined == {"type:n": 1}
    assert lines(second) == [
        ("gone", "removed", "definition", "string", None),
        ("n", "changed", "definition", "int64", "string"),
        ("new", "added", "definition", None, "float64"),
        ("gone", "removed", "previous", "string", None),
        ("n", "changed", "previous", "int64", "string"),
        ("new", "added", "previous", None, "float64"),
    ]
    assert second.drift[2]["message"] == "column 'new' (float64) is not in the applied definition: it is not read"
    third = take_in(source(), schema=schema, previous=json.loads(json.dumps(second.memory)))
    assert {d["against"] for d in third.drift} == {"definition"}


def test_text_that_can_be_read_as_declared_is_no_drift(root, take_in):
    (root / "a.csv").write_text("id,at,f,b,s,t\n1,2025/01/01,3,1,7,\n")
    fields = {"f": "float64", "b": "bool", "s": "string", "t": "timestamp"}
    report = take_in(source("a.csv", fields=fields, time_format="%Y/%m/%d", timezone="UTC"))
    assert (report.rows_added, report.drift) == (1, ())


@pytest.mark.parametrize(("found", "drifts"), [("string", True), ("int64", True), ("null", False)])
def test_a_parquet_column_of_another_type(found, drifts):
    drift = schema_drift(source(fields={"t": "timestamp"}), {"t": "timestamp"}, {"t": found}, None)
    assert bool(drift) is drifts


types = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([*DTYPES, "null"]))


@given(types, types)
def test_differences_against_the_ingestion_before_are_exactly_the_differences(before, now):
    drift = schema_drift(source(), {}, now, before)
    found = {(d["column"], d["before"], d["now"]) for d in drift if d["against"] == "previous"}
    assert found == {
        (name, before.get(name), now.get(name))
        for name in {*before, *now}
        if before.get(name) != now.get(name)
        and not (name in before and name in now and "null" in (before[name], now[name]))
    }
