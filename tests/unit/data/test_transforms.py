"""Declared transforms: equal to a plain loop over rows, in every format, before rules, digests and quarantine."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gnomon as gn
from gnomon.contracts.clocks import to_us
from gnomon.contracts.sources import DataSource
from gnomon.data.csv_rows import read_csv
from gnomon.data.json_rows import read_json_lines
from gnomon.data.push_batches import Push, commit_pushes
from gnomon.data.source_files import FilePart, Limits
from gnomon.data.source_schema import read_schema
from gnomon.data.text_steps import as_written
from gnomon.data.validation import judge
from gnomon.errors import InvalidDefinition

NOW = datetime(2026, 1, 1, tzinfo=UTC)  # of the fixture `clock`
NOW_US = to_us(NOW)
AT = "2025-12-31T00:00:00Z"
TYPES = {"id": "string", "at": "timestamp", "name": "string", "n": "int64", "x": "float64"}
NULLS = ["", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"]


def source(*steps: Any, **options: Any) -> DataSource:
    fields = {name: dtype for name, dtype in TYPES.items() if name not in ("id", "at")}
    return DataSource(
        "events",
        **{"path": "*.jsonl", "id": "id", "event_time": "at", "fields": fields, "transforms": steps, **options},
    )


# --- the oracle: one row, one cell, one step at a time ---

COLUMNS = ("name", "n", "x")
TEXT_STEPS = [
    gn.Trim(["name", "n"]), gn.Trim("id"), gn.Lower("name"), gn.Upper(["name", "x"]),
    gn.NullIf("name", ["", "a", "-"]),
    gn.NullIf(["n", "x"], ["-", "x"]), gn.NullIf("n", "5"), gn.Replace("name", r"(a)(\d)", r"\2\1"),
    gn.Replace("x", ",", ""),
    gn.Replace(["n", "name"], r"^[ab]+", ""), gn.MapValues("n", {"x": "1", "7": "eight", "5": "50"}),
    gn.MapValues(["name"], {"a": "b", "b": "a"}),
]  # fmt: skip
VALUE_STEPS = [
    gn.NullIf(["n", "x"], [-999, 0]), gn.NullIf("x", 1.5), gn.Fill("name", "?"), gn.Fill("n", 5), gn.Fill("x", 0.25),
    gn.Clip("n", -3, 40), gn.Clip("x", max=2.5), gn.Clip(["x", "n"], min=1),
    gn.Compute("sum", gn.col("n") + gn.col("x")),
]  # fmt: skip
CELLS = [
    "12",
    " 7 ",
    "7",
    "-999",
    "-999.0",
    "N/A",
    " NA",
    "1,5",
    "1.5",
    "x",
    "-",
    "",
    "a1",
    "ab",
    "B é",
    " a ",
    "5",
    None,
]
STEPS = st.tuples(
    st.lists(st.sampled_from(TEXT_STEPS), max_size=5), st.lists(st.sampled_from(VALUE_STEPS), max_size=5, unique_by=id)
).map(lambda pair: [*pair[0], *pair[1]])


def one_text(step: Any, text: str) -> str | None:
    do = {
        "trim": lambda: text.strip(), "lower": lambda: text.lower(), "upper": lambda: text.upper(),
        "null_if": lambda: None if text in step.values else text, "map_values": lambda: step.values.get(text, text),
        "replace": lambda: re.sub(step.pattern, step.by, text),
    }  # fmt: skip
    return do[step.step]()


def one_value(step: Any, value: Any) -> Any:
    if step.step == "fill":
        return step.value if value is None else value
    if value is None or (step.step == "null_if" and value in step.values):
        return None
    if step.step == "clip":
        value = value if step.min is None else max(value, step.min)
        value = value if step.max is None else min(value, step.max)
    return value


def read_one(text: str | None, dtype: str) -> tuple[Any, bool]:
    """Return the value, and whether it can be read."""
    if text is None or dtype == "string":
        return text, True
    text = text.strip()
    if text in NULLS:
        return None, True
    try:
        number = float(text)
    except ValueError:
        return None, False
    if dtype == "float64":
        return number, True
    return (int(number), True) if number.is_integer() else (None, False)


def one_row(steps: list[Any], row: dict[str, Any], changed: list[int]) -> dict[str, Any] | None:
    """Return the row as the table is to have it, None where it cannot be read."""
    out: dict[str, Any] = {}
    readable = {}
    for name, cell in row.items():
        text = None if cell is None else str(cell)
        for position, step in enumerate(steps):
            if step.is_of_text() and name in step.columns() and text is not None:
                after = one_text(step, text)
                changed[position] += after != text
                text = after
        out[name], readable[name] = read_one(text, "string" if name == "at" else TYPES[name])
    for position, step in enumerate(steps):
        if step.step == "compute":
            out[step.column] = None if out["n"] is None or out["x"] is None else out["n"] + out["x"]
            changed[position] += out[step.column] is not None
        elif not step.is_of_text():
            for name in step.columns():
                after = one_value(step, out[name]) if readable[name] else None
                changed[position] += after != out[name]
                out[name] = after
    return out if all(readable.values()) and out["id"] else None


def part_of(file_format: Any, header: tuple[str, ...] = ()) -> FilePart:
    return FilePart("file", "0" * 64, file_format, 0, 1, 1, 1, 0, header, (0, 0))


def kept(judged: Any, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = judged.rows.drop_columns(list(without)).to_pylist()
    return rows


def csv_cell(cell: Any) -> str:
    return "" if cell is None else '"' + str(cell).replace('"', '""') + '"'


ROWS = st.lists(
    st.tuples(
        st.sampled_from(CELLS), st.sampled_from([*CELLS, 5, 7, -999]), st.sampled_from([*CELLS, 5, 1.5, 0.25, -999])
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(STEPS, ROWS)
def test_whole_columns_do_as_a_loop_over_rows_does(steps: list[Any], cells: list[tuple[Any, ...]]) -> None:
    rows = [{"id": f" {n}", "at": AT, "name": a, "n": b, "x": c} for n, (a, b, c) in enumerate(cells)]
    made = source(*steps)
    types: Any = {**TYPES, **({"sum": "float64"} if any(s.step == "compute" for s in steps) else {})}
    changed = [0] * len(steps)
    wanted = [row for row in (one_row(steps, row, changed) for row in rows) if row is not None]
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    judged = judge(read_json_lines(lines, as_written(made, types), 1), part_of("jsonl"), made, types, NOW_US)
    assert kept(judged, without=("at", "_event_time", "_known_time", "_ingested_at", "_event_id", "_digest")) == [
        {name: row[name] for name in types if name != "at"} for row in wanted
    ]
    assert judged.changed == tuple(changed)
    # the same rows, transformed by hand before they are ingested, are the same events with the same content
    plain = source(fields={name: dtype for name, dtype in types.items() if name not in ("id", "at")})
    texts = "\n".join(json.dumps(row) for row in wanted).encode()
    assert kept(judge(read_json_lines(texts, types, 1), part_of("jsonl"), plain, types, NOW_US)) == kept(judged)
    # quarantine has the row as it was sent
    assert {json.loads(raw)["id"] for raw in judged.rejects["raw"].to_pylist()} == (
        {row["id"] for row in rows} - {row["id"] if row["id"][0] == " " else f" {row['id']}" for row in wanted}
    )
    header = ("id", "at", "name", "n", "x")
    data = "".join(",".join(csv_cell(row[name]) for name in header) + "\n" for row in rows).encode()
    as_csv = judge(read_csv(data, header, 1, "file"), part_of("csv", header), made, types, NOW_US)
    assert kept(as_csv) == kept(judged)
    assert as_csv.changed == judged.changed


# --- the places where they meet the rest ---


def write(path: Any, *rows: dict[str, Any]) -> None:
    path.write_text("\n".join(json.dumps(row) for row in rows))


RAW = [
    {"id": " 1", "at": AT, "name": " Ann ", "n": " 12 ", "x": "1,5"},
    {"id": "2", "at": AT, "name": "-", "n": "unknown", "x": None},
    {"id": "3", "at": AT, "name": "bob", "n": "many", "x": -999},
]
STEPS_HERE = [
    gn.Trim(["id", "name"]), gn.NullIf(["name", "n"], ["-", "unknown"]), gn.Replace("x", ",", "."),
    gn.NullIf("x", -999), gn.Fill("x", 0), gn.Clip("n", max=10),
]  # fmt: skip


def test_rules_see_transformed_rows_and_quarantine_keeps_the_raw_ones(root, take_in, offline, rejects):
    write(root / "a.jsonl", *RAW)
    fields = {"name": "string", "n": gn.Field("int64", max=10), "x": gn.Field("float64", nullable=False)}
    ruled = source(
        *STEPS_HERE, fields=fields,
        contract=[gn.Matches("name", "[A-Z][a-z]+")],
    )  # fmt: skip
    report = take_in(ruled)
    assert (report.rows_added, report.quarantined) == (2, {"type:n": 1})
    rows = sorted(offline.read("events").to_pylist(), key=lambda row: row["id"])
    assert [(r["id"], r["name"], r["n"], r["x"]) for r in rows] == [(1, "Ann", 10, 1.5), (2, None, None, 0.0)]
    (reject,) = rejects("events")
    assert json.loads(reject["raw"]) == RAW[2]
    assert reject["reason"] == "n 'many' cannot be read as int64"
    assert [(t["step"], t["changed"]) for t in report.as_json()["transforms"]] == [
        ("trim:id:name", 2), ("null_if:name:n", 2), ("replace:x", 1), ("null_if:x", 1), ("fill:x", 2), ("clip:n", 1),
    ]  # fmt: skip


def test_a_reason_quotes_what_the_rule_saw(root, take_in, rejects):
    write(root / "a.jsonl", {"id": "1", "at": AT, "name": "a", "n": "$20", "x": "3"})
    low = {"n": gn.Field("int64", max=5), "x": "float64"}
    take_in(source(gn.Replace("n", r"\$", ""), gn.Clip("n", min=7), fields=low))
    assert rejects("events")[0]["reason"] == "n 20 is above 5"
    take_in(source(gn.Compute("s", gn.col("x") * 2), fields={"x": "float64", "s": gn.Field("float64", max=5)}))
    assert rejects("events")[1]["reason"] == "s 6 is above 5"


def test_a_resend_adds_nothing_and_a_correction_is_one(root, take_in, offline, clock):
    write(root / "a.jsonl", *RAW)
    made = source(*STEPS_HERE)
    assert take_in(made).rows_added == 2
    # other bytes, the same rows once they are cleansed
    write(root / "a.jsonl", {**RAW[0], "name": "Ann", "id": "1  "}, {**RAW[1], "x": 0})
    again = take_in(made)
    assert (again.rows_read, again.rows_added, again.duplicates) == (2, 0, 2)
    write(root / "a.jsonl", {**RAW[0], "name": " Anna "})
    assert take_in(made).corrections == 1
    line = json.dumps({**RAW[0], "name": "Anna"}).encode()
    (pushed,) = commit_pushes([Push(line)], made, read_schema(made, str(root)), offline, NOW_US, lambda s: None)
    assert (pushed.accepted, pushed.duplicates) == (0, 1)


def test_counts_add_up_over_batches_and_are_kept_with_them(root, take_in):
    for n in range(4):
        write(root / f"{n}.jsonl", *({**row, "id": f"{n}{row['id']}"} for row in RAW))
    made = source(*STEPS_HERE)
    one = take_in(made, limits=Limits(batch_files=1), ingestion_id="one")
    assert one.batches == 4
    assert [each["changed"] for each in one.transforms] == [4, 8, 4, 4, 8, 4]
    assert take_in(made, limits=Limits(batch_files=1), ingestion_id="one").transforms == one.transforms
    assert {each["changed"] for each in take_in(made, limits=Limits(batch_files=1)).transforms} == {0}


def test_types_are_guessed_of_cleansed_text(root, take_in, offline):
    (root / "a.csv").write_text(f'id,at,price,on\n1,{AT},"1,200 €",Y\n2,{AT},-,N\n')
    made = source(
        gn.Replace("price", "[, €]", ""), gn.NullIf("price", "-"), gn.MapValues("on", {"Y": "true", "N": "false"}),
        gn.Compute("gross", gn.col("price") / 2), path="a.csv", fields={},
    )  # fmt: skip
    types = read_schema(made, str(root))
    assert types == {"id": "int64", "at": "timestamp", "price": "int64", "on": "bool", "gross": "float64"}
    report = take_in(made)
    assert (report.drift, report.quarantined) == ((), {})
    assert sorted(offline.read("events")["gross"].to_pylist(), key=str) == [600.0, None]


def test_parquet_numbers_change_by_their_text_and_others_stay_as_they_are(root, take_in, offline):
    big = 2**53 + 1
    table = pa.table({
        "id": ["1", "2", "3", "4"], "at": pa.array([NOW - timedelta(days=1)] * 4, pa.timestamp("us", tz="UTC")),
        "n": [7, big, None, 5], "x": [float("nan"), 0.1, -999.0, 2.0],
    })  # fmt: skip
    pq.write_table(table, root / "a.parquet")
    steps = [gn.MapValues("n", {"7": "70", "5": "five"}), gn.Trim(["x", "at"]), gn.NullIf("x", -999), gn.Fill("n", 0)]
    report = take_in(source(*steps, path="a.parquet", fields={"n": "int64", "x": "float64"}))
    rows = sorted(offline.read("events").to_pylist(), key=lambda row: row["id"])
    assert [(row["id"], row["n"], str(row["x"])) for row in rows] == [
        ("1", 70, "nan"),
        ("2", big, "0.1"),
        ("3", 0, "None"),
    ]
    assert report.quarantined == {"type:n": 1}
    assert [each["changed"] for each in report.transforms] == [2, 0, 1, 1]


def test_other_steps_read_the_files_again(root, take_in, offline):
    write(root / "a.jsonl", RAW[0])
    assert take_in(source(*STEPS_HERE)).rows_added == 1
    other = take_in(source(*STEPS_HERE[:-1]))
    assert (other.repeated_batches, other.rows_added, other.corrections) == (0, 1, 1)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (gn.Trim("nam"), "has a column 'nam'"),
        (gn.Compute("y", gn.col("nam") + 1), "has a column 'nam'"),
        (gn.Compute("extra", gn.col("n") + 1), "there is a column 'extra' already, and a transform computes one"),
        (gn.Compute("y", gn.col("name") + 1), "transform compute:y: 'add' of column 'name', which is string"),
        (gn.Fill("n", 0.5), "column 'n': 0.5 is no int64"),
        (gn.Replace("name", "(?=a)", ""), "transform replace:name: '(?=a)' by ''"),
        (gn.Replace("name", "a", r"\2"), r"transform replace:name: 'a' by '\2'"),
    ],
    ids=lambda v: v.label() if isinstance(v, gn.Trim.__mro__[2]) else "",
)
@pytest.mark.parametrize("declared", [True, False])
def test_what_does_not_fit_the_data_is_refused_when_the_app_is_applied(step, message, declared, root):
    write(root / "a.jsonl", {"id": "1", "at": AT, "name": "a", "n": 1, "x": 0.5, "extra": 1})
    with pytest.raises(InvalidDefinition) as caught:
        read_schema(source(step, **({} if declared else {"fields": {}})), str(root))
    assert message in str(caught.value)


def test_a_computed_type_follows_from_declared_ones_without_the_data():
    from gnomon.contracts.apps import App
    from gnomon.data.declared_schemas import with_declared_schemas

    fields = {"n": "int64", "x": "float64"}
    made = source(gn.Compute("y", gn.col("n") * gn.col("x")), id="n", fields=fields, path="gone.csv")
    view = gn.FeatureView("v", source=made, entity=gn.Entity("e", key="n"), features=[gn.Column("y")])
    app = with_declared_schemas(App.of("app", [view]), ["v"])
    assert app.schemas["events"]["y"] == "float64"
