"""What a user's bad input gets: rows in quarantine with their reason, or an error that names value and remedy."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gnomon.contracts.sources import DataSource, FieldSpec
from gnomon.data.source_schema import read_schema
from gnomon.errors import CorruptData, InvalidDefinition, InvalidInput, NotFound

TIME = "2025-01-01T00:00:00Z"


def source(path="events.csv", **options):
    return DataSource("events", path=path, **{"id": "id", "event_time": "at", **options})


def test_no_such_path(root, take_in):
    with pytest.raises(NotFound, match=str(root / "missing" / "*.csv").replace("*", r"\*")):
        take_in(source("missing/*.csv"))


def test_unknown_column(root, take_in, offline):
    (root / "events.csv").write_text(f"id,at,amount\n1,{TIME},2\n")
    with pytest.raises(InvalidDefinition, match="amuont") as caught:
        read_schema(source(fields={"amuont": "float64"}), str(root))
    assert "did you mean 'amount'?" in str(caught.value)


def test_missing_id_is_not_mistaken_for_a_column_in_use(root):
    (root / "events.csv").write_text(f"ordered_at,cups,shop\n{TIME},1,2\n")
    with pytest.raises(InvalidDefinition, match="has a column 'order_id'") as caught:
        read_schema(source(id="order_id", event_time="ordered_at"), str(root))
    assert caught.value.hint == "known: cups, shop"
    (root / "events.csv").write_text(f"ordered_at,orderid,shop\n{TIME},1,2\n")
    with pytest.raises(InvalidDefinition) as caught:
        read_schema(source(id="order_id", event_time="ordered_at"), str(root))
    assert caught.value.hint == "did you mean 'orderid'?"


def test_one_file_lacks_a_column_and_nothing_is_committed(root, take_in, offline):
    (root / "a.csv").write_text(f"id,at,amount\n1,{TIME},2\n")
    (root / "b.csv").write_text(f"id,at,amounts\n1,{TIME},2\n")
    with pytest.raises(InvalidInput, match=r"b\.csv' has no column 'amount'"):
        take_in(source("*.csv", fields={"amount": "float64"}))
    assert offline.tables() == []


@pytest.mark.parametrize("name", ["events.csv", "events.jsonl", "events.json", "events.parquet"])
@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b" \n\n"])
def test_empty_file(root, take_in, name, content):
    (root / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=rf"{name}' is empty"):
        take_in(source(name))


def test_parquet_cut_in_half(root, take_in, offline):
    pq.write_table(pa.table({"id": ["1"], "at": [TIME]}), root / "a.parquet")
    whole = root / "b.parquet"
    pq.write_table(pa.table({"id": [str(i) for i in range(1000)], "at": [TIME] * 1000}), whole)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(CorruptData, match=r"b\.parquet"):
        take_in(source("*.parquet"))
    assert offline.tables() == []


def test_csv_with_bad_rows(root, take_in, rejects, offline):
    lines = ["id,at,text", f"1,{TIME},a", f"2,{TIME}", f'3,{TIME},"two', 'lines"', "", f"4,{TIME},b,c", f"5,{TIME},d"]
    (root / "events.csv").write_text("\n".join(lines) + "\n")
    report = take_in(source())
    assert (report.rows_read, report.rows_added, report.quarantined) == (5, 3, {"cells": 2})
    assert sorted(offline.read("events")["id"].to_pylist()) == [1, 3, 5]
    assert [(row["line"], json.loads(row["raw"])) for row in rejects("events")] == [
        (3, f"2,{TIME}"),
        (7, f"4,{TIME},b,c"),
    ]
    assert "4 cells, the header has 3" in rejects("events")[1]["reason"]


def test_csv_rows_that_are_no_utf8_and_have_too_many_cells(root, take_in, rejects, offline):
    """One row has both faults; the rows beside it are kept as they are, and the others are rejects of their own."""
    lines = ["id,at,text", f"1,{TIME},é", f"2,{TIME},\\xff,x", f"3,{TIME},b\\xfe", f'4,{TIME},"two\nlines"']
    text = "\n".join(lines) + "\n"
    (root / "events.csv").write_bytes(text.encode().replace(b"\\xff", b"\xff").replace(b"\\xfe", b"\xfe"))
    report = take_in(source())
    assert report.rows_read == 4
    kept = offline.read("events")
    assert dict(zip(kept["id"].to_pylist(), kept["text"].to_pylist(), strict=True)) == {1: "é", 4: "two\nlines"}
    assert [(row["line"], row["rule"]) for row in rejects("events")] == [(3, "cells"), (4, "type:text")]
    assert json.loads(rejects("events")[0]["raw"]) == f"2,{TIME},\ufffd,x"


def test_json_lines_with_bad_lines(root, take_in, rejects, offline):
    lines = [
        json.dumps({"id": "a", "at": TIME, "n": 1}), "{broken", json.dumps([1]), "",
        json.dumps({"id": "b", "at": TIME, "n": "x"}), f'{{"id": "c", "at": "{TIME}", "id": "d"}}',
        json.dumps({"id": "e", "at": TIME, "n": 2.0}), json.dumps({"id": 7, "at": TIME}), '{"id": "\\ud800"}',
        '{"n": NaN}',
    ]  # fmt: skip
    (root / "events.jsonl").write_text("\n".join(lines))
    report = take_in(source("events.jsonl", fields={"n": "int64", "id": "string"}))
    assert report.quarantined == {"json": 5, "type:n": 1}
    assert {row["id"]: row["n"] for row in offline.read("events").to_pylist()} == {"a": 1, "e": 2, "7": None}
    assert [row["line"] for row in rejects("events")] == [2, 3, 5, 6, 9, 10]


def test_json_array(root, take_in, rejects):
    (root / "events.json").write_text(json.dumps([{"id": 1, "at": TIME}, 5, {"id": 2, "at": None}]))
    report = take_in(source("events.json"))
    assert (report.rows_added, report.quarantined) == (1, {"json": 1, "null_event_time": 1})
    assert [row["line"] for row in rejects("events")] == [2, 3]


@pytest.mark.parametrize("text", ['[{"id": 1', '{"id": 1}', "nonsense"])
def test_json_that_is_no_array(root, take_in, text):
    (root / "events.json").write_text(text)
    with pytest.raises(CorruptData, match=r"events\.json"):
        take_in(source("events.json"))


def test_wrong_type_and_missing_id_and_time(root, take_in, rejects):
    (root / "events.csv").write_text(f"id,at,n\n1,{TIME},x\n,{TIME},1\n3,,1\n4,yesterday,1\n5,2030-01-01T00:00:00Z,1\n")
    report = take_in(source(fields={"n": "int64"}))
    rules = ["type:n", "null_id", "null_event_time", "type:at", "future"]
    assert (report.rows_added, report.quarantined) == (0, dict.fromkeys(sorted(rules), 1))
    assert [row["rule"] for row in rejects("events")] == rules
    assert rejects("events")[0]["reason"] == "n 'x' cannot be read as int64"
    assert "2030-01-01T00:00:00+00:00 lies in the future" in rejects("events")[4]["reason"]
    assert json.loads(rejects("events")[2]["raw"]) == {"id": "3", "at": None, "n": "1"}


def test_field_rules(root, take_in, rejects):
    fields = {
        "n": FieldSpec("int64", min=0, max=9, nullable=False),
        "c": FieldSpec("string", one_of=("EUR", "USD")),
        "p": FieldSpec("string", pattern="[a-z]+"),
    }
    rows = ["1,EUR,a", "-1,EUR,a", "10,EUR,a", ",EUR,a", "1,GBP,a", "1,EUR,a1", "1,,"]
    (root / "events.csv").write_text("id,at,n,c,p\n" + "".join(f"{i},{TIME},{r}\n" for i, r in enumerate(rows)))
    report = take_in(source(fields=fields))
    assert report.rows_added == 2
    assert [row["rule"] for row in rejects("events")] == ["min:n", "max:n", "not_null:n", "one_of:c", "pattern:p"]
    assert rejects("events")[0]["reason"] == "n -1 is below 0"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p": FieldSpec("string", pattern="(?=a)")}, "look-around"),
        ({"n": FieldSpec("int64", one_of=("x",))}, "one_of"),
    ],
)
def test_rules_that_cannot_be_applied(root, take_in, fields, message):
    (root / "events.csv").write_text(f"id,at,n,p\n1,{TIME},1,a\n")
    with pytest.raises(InvalidDefinition, match=message):
        take_in(source(fields=fields))


def test_times_without_zone(root, take_in, offline, rejects):
    (root / "events.csv").write_text("id,at\n1,2025-07-01 12:00:00\n2,2025-07-01 13:00:00\n")
    with pytest.raises(InvalidInput, match=r"'at'.*such as '2025-07-01 12:00:00'.*timezone="):
        take_in(source())
    assert offline.tables() == []
    assert take_in(source(timezone="Europe/Berlin")).rows_added == 2
    times = [time.isoformat() for time in offline.read("events")["_event_time"].to_pylist()]
    assert sorted(times) == ["2025-07-01T10:00:00+00:00", "2025-07-01T11:00:00+00:00"]


def test_one_time_without_zone_among_others(root, take_in, rejects):
    (root / "events.csv").write_text(f"id,at\n1,2025-07-01 12:00:00\n2,{TIME}\n")
    assert take_in(source()).quarantined == {"zone:at": 1}
    assert "timezone=" in rejects("events")[0]["reason"]


@pytest.mark.parametrize("options", [{"timezone": "Europe/Berln"}, {"time_format": "%Q"}])
def test_unknown_zone_and_format(root, take_in, options):
    (root / "events.csv").write_text("id,at\n1,01.02.2025\n" if "time_format" in options else "id,at\n1,2025-01-01\n")
    with pytest.raises(InvalidDefinition, match=next(iter(options.values()))):
        take_in(source(**options))


@pytest.mark.parametrize(("unit", "count"), [("epoch_s", 1), ("epoch_ms", 1000), ("epoch_us", 1_000_000)])
@pytest.mark.parametrize("name", ["events.csv", "events.jsonl", "events.parquet"])
def test_numbers_since_1970(root, take_in, offline, rejects, unit, count, name):
    counts = [1_700_000_000 * count, -count, 10**18, None]
    if name == "events.parquet":
        pq.write_table(pa.table({"id": list("abcd"), "at": pa.array(counts, pa.int64())}), root / name)
    else:
        line = '{{"id": "{}", "at": {}}}' if name == "events.jsonl" else "{},{}"
        null = "null" if name == "events.jsonl" else ""
        lines = [line.format(i, null if at is None else at) for i, at in zip("abcd", counts, strict=True)]
        (root / name).write_text("\n".join(["id,at"] * (name == "events.csv") + lines))
    assert take_in(source(name, time_format=unit)).quarantined == {"null_event_time": 1, "type:at": 1}
    stored = {row["id"]: row["at"].isoformat() for row in offline.read("events").to_pylist()}
    assert stored == {"a": "2023-11-14T22:13:20+00:00", "b": "1969-12-31T23:59:59+00:00"}


def test_all_rows_bad(root, take_in, offline):
    (root / "events.csv").write_text("id,at\n1,x\n2,y\n")
    report = take_in(source())
    assert (report.rows_read, report.rows_added, report.quarantined) == (2, 0, {"type:at": 2})
    assert take_in(source()).repeated_batches == 1
    assert offline.read("events").num_rows == 0
    assert offline.read("events__quarantine").num_rows == 2


def test_repeated_column_names(root, take_in):
    (root / "events.csv").write_text(f"id,at,id\n1,{TIME},2\n")
    with pytest.raises(InvalidInput, match="2 columns named 'id'"):
        take_in(source())
    pq.write_table(pa.table([["1"], [TIME], ["2"]], names=["id", "at", "id"]), root / "events.parquet")
    with pytest.raises(InvalidInput, match="2 columns named 'id'"):
        take_in(source("events.parquet"))


def test_reserved_column_name(root, take_in):
    (root / "events.csv").write_text(f"id,at,_digest\n1,{TIME},2\n")
    with pytest.raises(InvalidInput, match="'_digest' is reserved"):
        take_in(source())


def test_files_without_rows(root, take_in, offline):
    pq.write_table(pa.table({"id": pa.array([], pa.string()), "at": pa.array([], pa.string())}), root / "none.parquet")
    assert take_in(source("none.parquet")).rows_read == 0
    (root / "events.csv").write_text("id,at\n")
    assert take_in(source()).rows_read == 0
    (root / "events.json").write_text("[]")
    with pytest.raises(InvalidDefinition, match="has a column 'id'"):
        take_in(source("events.json"))


def test_byte_order_mark_carriage_returns_and_quoted_lines(root, take_in, offline):
    text = f'\ufeffid,at,t\r\n1,{TIME},"a ""b""\r\nc, d"\r\n2,{TIME},\r\n3,{TIME},""\r\n'
    (root / "events.csv").write_bytes(text.encode())
    assert take_in(source()).rows_added == 3
    rows = {row["id"]: row["t"] for row in offline.read("events").to_pylist()}
    assert rows == {1: 'a "b"\r\nc, d', 2: None, 3: ""}


def test_bytes_that_are_no_text(root, take_in, rejects):
    (root / "events.csv").write_bytes(f"id,at,t\n1,{TIME},caf\xe9\n2,{TIME},ok\n".encode("latin-1"))
    assert take_in(source()).quarantined == {"type:t": 1}
    (root / "wide.csv").write_bytes("id,at\n".encode("utf-16"))
    with pytest.raises(InvalidInput, match="UTF-16"):
        take_in(source("wide.csv"))
    (root / "packed.csv").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(InvalidInput, match="gzip"):
        take_in(source("packed.csv"))


def test_types_without_match(root, take_in):
    table = pa.table({"id": ["1"], "at": [TIME], "tags": [["a"]]})
    pq.write_table(table, root / "events.parquet")
    with pytest.raises(InvalidInput, match="'tags' holds list"):
        take_in(source("events.parquet"))
    assert take_in(source("events.parquet", fields={"id": "string"})).rows_added == 1


def test_unsigned_numbers_beyond_int64(root, take_in):
    pq.write_table(pa.table({"id": pa.array([1, 2**63], pa.uint64()), "at": [TIME, TIME]}), root / "events.parquet")
    assert take_in(source("events.parquet")).quarantined == {"type:id": 1}
