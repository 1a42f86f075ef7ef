"""The big list of naughty strings, as ids, keys, values and names: in every format, offline and online, exactly."""

from __future__ import annotations

import csv
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.integration.messy_intake import TIME, TIME_US, Intake
from tests.online_servers import online_server

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_ID
from gnomon.contracts.specs import NAME_PATTERN
from gnomon.data.source_schema import read_schema
from gnomon.errors import InvalidDefinition
from gnomon.features.materialization import materialize
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.testing.online_rows import values_of

FORMATS = ["csv", "jsonl", "json", "parquet"]


@pytest.fixture(scope="module")
def naughty(shared_data: Path) -> list[str]:
    strings: list[str] = json.loads((shared_data / "messy" / "blns" / "blns.json").read_text())
    assert len(strings) > 500
    # and what the list leaves out: text that ends early in C, and the ends of Unicode
    return [*strings, "\x00", "a\x00b", "\x00a", "\uffff", "\U0010ffff", "a" * 70_000, "\r", "\n", "\r\n", '"', "\\"]


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return Intake(tmp_path)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with online_server("valkey", tmp_path_factory.mktemp("valkey")) as url:
        yield url


def write(file: Path, rows: list[dict[str, str]]) -> None:
    """Write rows by the standard library, or by pyarrow."""
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".csv":
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@pytest.mark.parametrize("file_format", FORMATS)
def test_as_event_ids(naughty: list[str], intake: Intake, file_format: str) -> None:
    """Every distinct string is an event; a repeated one is a version of it, and the empty one no id at all."""
    rows = [{"id": text, "at": TIME, "n": str(n)} for n, text in enumerate(naughty)]
    write(intake.root / f"events.{file_format}", rows)
    fields = {"id": "string", "n": "int64"}
    source = gn.DataSource("events", path=f"events.{file_format}", id="id", event_time="at", fields=fields)
    report = intake.take_in(source)
    empty = naughty.count("")
    assert (report.rows_read, report.rows_added) == (len(naughty), len(naughty) - empty)
    assert report.corrections == report.rows_added - len(set(naughty) - {""})
    assert report.quarantined == {"null_id": empty}
    assert sorted(row[EVENT_ID] for row in intake.rows("events")) == sorted(filter(None, naughty))


@pytest.mark.parametrize("file_format", FORMATS)
def test_as_keys_and_values(naughty: list[str], intake: Intake, url: str, file_format: str) -> None:
    """What a file holds is what training and serving see; every string is an entity of its own."""
    distinct = sorted(set(naughty))
    rows = [{"id": f"e{n}", "at": TIME, "key": text, "text": text} for n, text in enumerate(distinct)]
    write(intake.root / f"texts.{file_format}", rows)
    fields = {"key": "string", "text": "string"}
    source = gn.DataSource("texts", path=f"texts.{file_format}", id="id", event_time="at", fields=fields)
    assert intake.take_in(source).rows_added == len(distinct)
    assert {row["id"]: row["text"] for row in intake.rows("texts")} == {row["id"]: row["text"] for row in rows}
    thing = gn.Entity("thing", key="key")
    features = [gn.Column("text"), gn.Aggregation("text", "last", window="1d"),
                gn.Aggregation("*", "count", window="1d", name="events")]  # fmt: skip
    view = gn.FeatureView("v", entity=thing, source=source, features=features)
    app = App.of("app", [source, thing, view]).with_schemas({"texts": read_schema(source, str(intake.root))})
    lookups = ["v.text", "v.text_last_1d", "v.events"]
    expected = [distinct, distinct, [1] * len(distinct)]
    asked = pa.table({"key": distinct, REQUEST_TIME: pa.array([TIME_US] * len(distinct), pa.int64())})
    trained = point_in_time_join(app, intake.offline, asked, lookups, local_rows=10**9)
    assert [trained.column(lookup).to_pylist() for lookup in lookups] == expected
    online = RedisOnlineStore(url, uuid.uuid4().hex, 10.0)
    assert materialize(app, "v", intake.offline, online, TIME_US).written_rows == len(distinct)
    served = online.read(read_plan(app, lookups), [{"key": text} for text in distinct], TIME_US)
    assert [values_of(served, lookup) for lookup in lookups] == expected


def test_types_are_told_from_naughty_text(naughty: list[str], intake: Intake) -> None:
    """A column of such strings is text, with none of them lost, where no type is declared."""
    write(intake.root / "texts.csv", [{"id": f"e{n}", "at": TIME, "text": text} for n, text in enumerate(naughty)])
    source = gn.DataSource("texts", path="texts.csv", id="id", event_time="at")
    assert read_schema(source, str(intake.root)) == {"id": "string", "at": "timestamp", "text": "string"}
    assert intake.take_in(source).rows_added == len(naughty)
    assert {row["id"]: row["text"] for row in intake.rows("texts")} == {f"e{n}": t for n, t in enumerate(naughty)}


def test_as_values_that_are_no_numbers_or_times(naughty: list[str], intake: Intake) -> None:
    """Each row of a number, a truth or a time is a row or in quarantine, and no value is made up."""
    for dtype in ("int64", "float64", "bool", "timestamp"):
        write(intake.root / f"{dtype}.jsonl", [{"id": f"e{n}", "at": TIME, "v": v} for n, v in enumerate(naughty)])
        source = gn.DataSource(f"s_{dtype}", path=f"{dtype}.jsonl", id="id", event_time="at", fields={"v": dtype})
        report = intake.take_in(source)
        assert report.rows_read == len(naughty)
        for row in intake.rows(source.name):
            text = naughty[int(row["id"][1:])].strip()
            if row["v"] is not None and dtype in ("int64", "float64"):
                assert float(row["v"]) == float(text), repr(text)
            elif row["v"] is None:
                assert text in ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "None"), repr(text)


MAKERS: dict[str, Callable[[str], Any]] = {
    "source": lambda name: gn.DataSource(name, path="x.csv", id="id", event_time="at"),
    "entity": lambda name: gn.Entity(name, key="k"),
    "view": lambda name: gn.FeatureView(name, entity="e", source="s", features=[gn.Column("c", name="f")]),
    "view of it": lambda name: gn.FeatureView("v", entity="e", source=name, features=[gn.Column("c", name="f")]),
    "column": lambda name: gn.Column("c", name=name),
    "column's own": lambda name: gn.Column(name),
    "aggregation": lambda name: gn.Aggregation("c", "sum", window="1d", name=name),
    "derived": lambda name: gn.Derived(name, gn.col("c") + 1),
    "request feature": lambda name: gn.RequestFeature(name, request={"a": "int64"}, expression=gn.col("a") + 1),
    "label": lambda name: gn.Label(name, source="s", delay="1d"),
    "model": lambda name: gn.Model(name, features=["v"], label="l"),
    "deployment": lambda name: gn.Deployment(name, model="m"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_as_names(naughty: list[str], make: Callable[[str], Any]) -> None:
    """A name is one of the language, or is refused with the definition and the name in the message."""
    for text in naughty:
        if re.fullmatch(NAME_PATTERN.removesuffix("$"), text):
            make(text)
            continue
        with pytest.raises(InvalidDefinition) as refusal:
            make(text)
        assert refusal.value.message.strip()
        assert refusal.value.as_json()["code"] == "invalid_definition"


@pytest.mark.parametrize("file_format", FORMATS)
def test_as_column_names(naughty: list[str], intake: Intake, url: str, file_format: str) -> None:
    """A column's name is free: each string names one of a table's columns, and a feature takes it from there."""
    columns = sorted({text.strip() for text in naughty} - {""})
    row = {"id": "e", "at": TIME, "key": "k", **{name: f"value {n}" for n, name in enumerate(columns)}}
    write(intake.root / f"wide.{file_format}", [row])
    fields = dict.fromkeys(["key", *columns], "string")
    source = gn.DataSource("wide", path=f"wide.{file_format}", id="id", event_time="at", fields=fields)
    assert intake.take_in(source).rows_added == 1
    (stored,) = intake.rows("wide")
    assert {name: stored[name] for name in columns} == {name: row[name] for name in columns}
    thing = gn.Entity("thing", key="key")
    features = [gn.Column(name, name=f"f{n}") for n, name in enumerate(columns)]
    app = App.of("app", [source, thing, gn.FeatureView("v", entity=thing, source=source, features=features)])
    app = app.with_schemas({"wide": read_schema(source, str(intake.root))})
    online = RedisOnlineStore(url, uuid.uuid4().hex, 10.0)
    materialize(app, "v", intake.offline, online, TIME_US)
    served = online.read(read_plan(app, ["v"]), [{"key": "k"}], TIME_US)
    assert [values_of(served, f"v.f{n}") for n in range(len(columns))] == [[row[name]] for name in columns]
