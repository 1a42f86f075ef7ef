"""SQL databases as sources, on SQLite: typed cells, ranges, watermarks with late rows, and what cannot be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gnomon as gn
from gnomon.contracts.sources import DataSource
from gnomon.data import sql_extraction
from gnomon.data.extraction import extract
from gnomon.data.source_schema import read_schema
from gnomon.data.sql_cells import arrow_chunk
from gnomon.data.watermarks import as_cursor, of_cursor, range_bounds
from gnomon.errors import InvalidDefinition, InvalidInput, NotFound

NOW_US = 1_767_225_600_000_000  # 2026-01-01, of the fixture `clock`


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Run statements in a database that the variable SHOP_URL names."""
    file = tmp_path / "shop.db"
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:

        def run(statement: str, *rows: tuple[Any, ...]) -> None:
            connection.executemany(statement, rows) if rows else connection.execute(statement)
            connection.commit()

        run('CREATE TABLE orders (id INTEGER, at TEXT, amount REAL, note TEXT, "odd name" TEXT)')
        yield run


INSERT = "INSERT INTO orders (id, at, amount) VALUES (?, ?, ?)"


def orders(**options: Any) -> DataSource:
    defaults: dict[str, Any] = {"table": "orders", "url_env": "SHOP_URL", "id": "id", "event_time": "at"}
    if "sql" in options:
        del defaults["table"]
    return DataSource("orders", **{**defaults, "timezone": "UTC", **options})


def stamp(day: int, second: int = 0) -> str:
    return f"2025-03-{day:02} 00:00:{second:02}"


def test_a_table_in_ranges_is_the_table(shop, take_in, offline, monkeypatch, tmp_path):
    monkeypatch.setattr(sql_extraction, "CHUNK_ROWS", 40)
    shop(INSERT, *((n * n, stamp(1 + n % 28), n / 2) for n in range(300)))
    shop(INSERT, (None, stamp(1), 1.0))
    report = take_in(orders(partition_by="id", partitions=5), work_folder=tmp_path / "work")
    assert (report.rows_read, report.rows_added, report.quarantined) == (301, 300, {"null_id": 1})
    read = offline.read("orders").sort_by("id")
    assert read["id"].to_pylist() == [n * n for n in range(300)]
    assert read["amount"].to_pylist() == [n / 2 for n in range(300)]
    assert report.files >= 5
    assert list((tmp_path / "work").iterdir()) == []
    assert offline.read("orders__quarantine")["file"].to_pylist() == ["table 'orders' of SHOP_URL"]
    again = take_in(orders(partition_by="id", partitions=5))
    assert again.rows_added == 0


def test_a_query_and_its_colons(shop, take_in, offline):
    shop(INSERT, (1, stamp(1), 2.0), (2, stamp(2), -1.0))
    query = "SELECT id, at, amount, 'a:b ::c %' AS text FROM orders WHERE amount > 0;"
    assert read_schema(orders(sql=query), "") == {
        "id": "int64", "at": "timestamp", "amount": "float64", "text": "string",
    }  # fmt: skip
    assert take_in(orders(sql=query)).rows_added == 1
    assert offline.read("orders")["text"].to_pylist() == ["a:b ::c %"]


def test_values_of_several_types_are_judged_like_any_other_text(shop, take_in, offline, rejects):
    shop(INSERT, (1, stamp(1), 2.5), (2, stamp(1), "three"), (3, stamp(1), "4"), (4, stamp(1), None))
    report = take_in(orders(fields={"amount": "float64"}))
    assert report.quarantined == {"type:amount": 1}
    assert sorted(offline.read("orders")["amount"].to_pylist(), key=str) == [2.5, 4.0, None]
    assert "'three' cannot be read as float64" in rejects("orders")[0]["reason"]


def test_only_what_is_new_is_read_and_late_rows_within_the_limit_are_caught(shop, take_in, offline):
    source = orders(watermark="at", late="2d")
    shop(INSERT, *((n, stamp(n), 1.0) for n in range(1, 11)))
    first = take_in(source)
    assert first.memory["cursor"] == {"kind": "text", "value": stamp(10)}
    shop(INSERT, (11, stamp(11), 1.0), (90, stamp(9), 1.0), (50, stamp(5), 1.0))
    second = take_in(source, previous=first.memory)
    assert (second.rows_read, second.rows_added, second.duplicates) == (5, 2, 3)  # days 8 to 11, and the late 9th
    assert set(offline.read("orders")["id"].to_pylist()) == {*range(1, 12), 90}
    third = take_in(source, previous=second.memory)
    assert third.rows_added == 0
    shop("UPDATE orders SET amount = 7, at = '2025-03-12 00:00:00' WHERE id = 3")
    assert take_in(source, previous=third.memory).rows_added == 1  # a further version of the event
    changed = take_in(orders(watermark="at", late="2d", fields={"amount": "float64"}), previous=third.memory)
    assert changed.rows_read == 13  # another definition reads everything again


def test_an_older_table_is_filled_from_the_beginning(shop, take_in, root, clock, tmp_path):
    from gnomon.data.ingestion import ingest
    from gnomon.storage.delta_tables import DeltaTables

    shop(INSERT, (1, stamp(1), 1.0))
    first = take_in(orders(watermark="id"))
    lost = DeltaTables(tmp_path / "restored")
    report = ingest(orders(watermark="id"), "", lost, clock, local_rows=10**9, report=str, previous=first.memory)
    assert report.rows_added == 1


def test_rows_without_a_watermark_are_always_read(shop, take_in):
    source = orders(sql="SELECT *, note AS changed FROM orders", watermark="changed")
    shop(INSERT, (1, stamp(1), 1.0))
    first = take_in(source)
    assert first.memory["cursor"] is None
    shop(INSERT, (2, stamp(2), 1.0))
    assert take_in(source, previous=first.memory).rows_added == 1


def test_rejects_that_are_read_again_are_kept_once(shop, take_in, offline):
    source = orders(watermark="at", late="2d", fields={"amount": gn.Field("float64", max=5)})
    shop(INSERT, (1, stamp(1), 9.0))
    first = take_in(source)
    shop(INSERT, (2, stamp(2), 1.0))
    assert take_in(source, previous=first.memory).quarantined == {"max:amount": 1}
    assert offline.read("orders__quarantine").num_rows == 1


def test_row_counts_of_a_first_load_and_an_increment_are_not_compared(shop, take_in):
    source = orders(watermark="id", contract=[gn.RowCount(max_drop=0.5)])
    shop(INSERT, *((n, stamp(1), 1.0) for n in range(100)))
    memory = take_in(source).memory
    for number, least in ((200, 0), (300, 1)):
        shop(INSERT, *((number + n, stamp(1), 1.0) for n in range(10)))
        report = take_in(source, previous=memory)
        assert (report.rows_added, report.contract[0]["checked"]) == (10, least)
        memory = report.memory


def test_a_finished_extraction_is_taken_up_again_whatever_happened_to_the_database(shop, tmp_path):
    shop(INSERT, (1, stamp(1), 1.0))
    folder = tmp_path / "extract"
    folder.mkdir()
    (folder / "half.parquet").write_bytes(b"PAR1")
    first = extract(orders(watermark="at"), "", folder, None, NOW_US)
    assert not (folder / "half.parquet").exists()
    shop("DROP TABLE orders")
    assert extract(orders(watermark="at"), "", folder, None, NOW_US) == first


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"table": "order"}, InvalidInput, "table 'order' of SHOP_URL cannot be read: no such table: order"),
        ({"sql": "SELEC 1"}, InvalidInput, "the query on SHOP_URL cannot be read: .*syntax error"),
        ({"sql": "DELETE FROM orders"}, InvalidInput, "cannot be read"),
        ({"url_env": "NOT_SET"}, InvalidInput, "the environment variable NOT_SET is not set"),
        ({"url_env": "BAD_URL"}, InvalidInput, "the URL in BAD_URL is no SQLAlchemy URL"),
        ({"url_env": "NO_DRIVER"}, InvalidInput, "the URL in NO_DRIVER (needs the driver|is no SQLAlchemy URL)"),
        ({"url_env": "NO_FILE"}, NotFound, "the SQLite file that NO_FILE names is not there"),
        ({"partition_by": "amuont"}, InvalidInput, "no column 'amuont'.*amount"),
        ({"partition_by": "at"}, InvalidInput, "partition_by 'at' holds '2025-03-01 00:00:00', no number or time"),
        ({"watermark": "ta"}, InvalidInput, "has no column 'ta'"),
        ({"event_time": "when"}, InvalidDefinition, "nothing in table 'orders' of SHOP_URL has a column 'when'"),
    ],
)
def test_what_cannot_be_read_is_said_without_the_secret(options, error, message, shop, take_in, monkeypatch):
    shop(INSERT, (1, stamp(1), 1.0))
    monkeypatch.setenv("BAD_URL", "sesame")
    monkeypatch.setenv("NO_DRIVER", "what+ever://u:sesame@h/d")
    monkeypatch.setenv("NO_FILE", "sqlite:///sesame")
    with pytest.raises(error, match=message) as caught:
        take_in(orders(**options))
    assert "sesame" not in str(caught.value.as_json())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sql": "SELECT 1", "table": "t", "url_env": "U"}, "give exactly one of sql and table"),
        ({"table": "t", "format": "sql"}, "needs url_env"),
        ({"table": "t", "url_env": "postgresql://u:p@h/d"}, "url_env"),
        ({"table": "t", "url_env": "U", "late": "2d"}, "late has no meaning without watermark"),
        ({"table": "t", "url_env": "U", "partitions": 2}, "partitions has no meaning without partition_by"),
        ({"path": "a.csv", "url_env": "U", "format": "csv"}, "format 'csv' takes no url_env"),
        ({"path": "t", "format": "delta", "watermark": "at"}, "format 'delta' takes no watermark"),
        ({"table": "n.t", "format": "iceberg"}, "needs catalog"),
        ({}, "say where its rows are"),
    ],
)
def test_definitions_that_contradict_themselves(fields, message):
    with pytest.raises(InvalidDefinition, match=message):
        DataSource("s", id="id", event_time="at", **fields)


numbers = st.one_of(st.integers(-(2**62), 2**62), st.integers(-5, 5))
times = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))


@given(st.one_of(st.lists(numbers, min_size=1), st.lists(times, min_size=1),
                 st.lists(st.floats(-1e300, 1e300), min_size=1)), st.integers(1, 64))  # fmt: skip
def test_every_value_is_in_one_range(values, parts):
    bounds = range_bounds(min(values), max(values), parts)
    assert bounds == sorted(set(bounds))
    assert len(bounds) < parts
    edges = [None, *bounds, None]
    for value in values:
        inside = [(low is None or value >= low) and (high is None or value < high)
                  for low, high in pairwise(edges)]  # fmt: skip
        assert inside.count(True) == 1


aware = times.map(lambda t: t.replace(tzinfo=UTC))
exact = st.decimals(allow_nan=False, allow_infinity=False)


@given(st.one_of(numbers, times, aware, st.text(), st.floats(allow_nan=False), exact, st.dates()))
def test_watermarks_survive_json(value):
    assert of_cursor(as_cursor(value)) == value


def test_cells_of_every_kind():
    rows = [
        (1, True, Decimal("1.50"), date(2025, 1, 2), datetime(2025, 1, 2, tzinfo=UTC), b"x", {"a": 1}, 2**70, None),
        (2, None, Decimal("2"), None, datetime(2025, 1, 3, tzinfo=UTC), b"y", [1], 3, None),
    ]
    table = arrow_chunk("abcdefghi", rows)
    assert table["g"].to_pylist() == ['{"a": 1}', "[1]"]
    assert table["h"].to_pylist() == [str(2**70), "3"]
    assert table.schema.field("e").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("i").type == pa.null()
    assert arrow_chunk(["a"], [(1,), ("x",), (2.5,)])["a"].to_pylist() == ["1", "x", "2.5"]
    assert arrow_chunk(["a"], []).num_rows == 0


def test_a_watermark_of_the_future_is_not_believed(tmp_path):
    from gnomon.data.watermarks import believed

    source = orders(watermark="at")
    far = datetime(2999, 1, 1, tzinfo=UTC)
    assert believed(source, far, NOW_US) == datetime(2026, 1, 1, tzinfo=UTC)
    assert believed(source, far.replace(tzinfo=None), NOW_US) == datetime(2026, 1, 1)
    assert believed(source, far - timedelta(days=365_000), NOW_US).year == 1999
    assert believed(source, "2999-01-01 00:00:00", NOW_US) == "2026-01-01 00:00:00"  # SQLite has its times as text
    assert believed(source, "2999-01-01", NOW_US) == "2026-01-01"
    assert believed(source, "2025-12-31T23:59:59", NOW_US) == "2025-12-31T23:59:59"
    assert believed(source, "no time", NOW_US) == "no time"


def test_a_late_day_is_read_again_from_its_beginning():
    from gnomon.data.watermarks import read_from

    source = orders(watermark="at", late="1h")
    assert read_from(source, "2026-03-15") == "2026-03-14"
    assert read_from(source, "2026-03-15 00:30:00") == "2026-03-14 23:30:00"


@pytest.mark.parametrize("password", ["p@ss:word", "p@ssword"])
def test_half_of_a_password_is_told_to_nobody(tmp_path, monkeypatch, password):
    from gnomon.data.sql_extraction import _engine

    source = orders()
    monkeypatch.setenv(source.url_env, f"postgresql+psycopg://u:{password}@localhost/name")
    with pytest.raises(InvalidInput, match="%40") as refused, _engine(source):
        pass
    assert "word" not in str(refused.value).replace("password", "")
