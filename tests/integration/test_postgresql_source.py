"""A PostgreSQL database as a source, for real: one snapshot for all ranges while others write, and watermarks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import gnomon as gn
from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.data import sql_extraction
from gnomon.data.ingestion import ingest
from gnomon.data.source_schema import read_schema
from gnomon.errors import ContractViolated, InvalidInput, Unavailable
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.postgresql_server import find_postgresql, postgresql_server

START = datetime(2025, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    programs = find_postgresql()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed (Debian package postgresql)")
    with postgresql_server(programs) as url:
        yield url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture
def database(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    monkeypatch.setenv("SHOP_URL", server_url)
    engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in (
            "DROP SCHEMA IF EXISTS shop CASCADE", "CREATE SCHEMA shop",
            "CREATE TABLE shop.accounts (id bigint PRIMARY KEY, changed timestamptz NOT NULL, balance numeric(12, 2), "
            "tags jsonb, open boolean, code uuid, opened date)",
        ):  # fmt: skip
            connection.execute(sa.text(statement))
    yield engine
    engine.dispose()


def fill(engine: sa.Engine, first: int, count: int, balance: float = 100) -> None:
    rows = [{"id": n, "t": START + timedelta(minutes=n), "b": balance} for n in range(first, first + count)]
    with engine.connect() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO shop.accounts VALUES (:id, :t, :b, '{\"a\": 1}', true, gen_random_uuid(), '2025-01-01')"
            ),
            rows,
        )


def accounts(**options: Any) -> DataSource:
    defaults: dict[str, Any] = {"table": "shop.accounts", "url_env": "SHOP_URL", "id": "id", "event_time": "changed"}
    return DataSource("accounts", **{**defaults, **options})


def take_in(source: DataSource, tables: Path, **options: Any) -> Any:
    return ingest(source, "", DeltaTables(tables), SystemClock(), local_rows=10**9, report=str, **options)


def test_types(database: sa.Engine, tmp_path: Path) -> None:
    fill(database, 0, 3)
    assert read_schema(accounts(), "") == {
        "id": "int64", "changed": "timestamp", "balance": "float64", "tags": "string", "open": "bool",
        "code": "string", "opened": "timestamp",
    }  # fmt: skip
    assert take_in(accounts(), tmp_path).rows_added == 3
    row = DeltaTables(tmp_path).read("accounts").sort_by("id").to_pylist()[1]
    assert (row["balance"], row["tags"], row["open"], len(row["code"])) == (100.0, '{"a": 1}', True, 36)
    assert row["_event_time"] == START + timedelta(minutes=1)


@pytest.mark.parametrize("partition_by", ["id", "changed", "balance"])
def test_ranges_are_of_one_snapshot_while_money_moves(
    database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition_by: str
) -> None:
    """Transfers between accounts of different ranges keep the sum; a read that mixed two states would not."""
    monkeypatch.setattr(sql_extraction, "CHUNK_ROWS", 100)
    fill(database, 0, 2000)
    stop, moved = threading.Event(), []
    move = sa.text(
        "UPDATE shop.accounts SET balance = balance + CASE WHEN id = :a THEN -1 ELSE 1 END WHERE id IN (:a, :b)"
    )

    def transfer() -> None:
        with database.connect() as connection:
            while not stop.is_set():
                connection.execute(move, {"a": len(moved) % 1000, "b": 1999 - len(moved) % 1000})
                moved.append(1)

    writer = threading.Thread(target=transfer)
    writer.start()
    try:
        for number in range(3):
            report = take_in(accounts(partition_by=partition_by, partitions=6), tmp_path / str(number))
            assert report.rows_added == 2000
            balances = DeltaTables(tmp_path / str(number)).read("accounts")["balance"].to_pylist()
            assert sum(balances) == 200_000
    finally:
        stop.set()
        writer.join()
    assert moved


def test_rows_that_commit_late_are_caught(database: sa.Engine, tmp_path: Path) -> None:
    """A transaction that began before the read and commits after it has watermarks that the read went past."""
    source = accounts(watermark="changed", late="1h", partition_by="id", partitions=3)
    fill(database, 0, 100)
    engine = sa.create_engine(database.url)
    with engine.connect() as slow:
        late = sa.text("UPDATE shop.accounts SET balance = 5, changed = :t WHERE id = 7")
        slow.execute(late, {"t": START + timedelta(minutes=80)})
        first = take_in(source, tmp_path)
        assert (first.rows_added, first.memory["cursor"]["kind"]) == (100, "time")
        slow.commit()
    engine.dispose()
    fill(database, 100, 10)
    second = take_in(source, tmp_path, previous=first.memory)
    assert (second.rows_read, second.rows_added) == (72, 11)
    assert take_in(source, tmp_path, previous=second.memory).rows_added == 0
    blind = accounts(watermark="changed")
    memory = {**second.memory, "read_as": take_in(blind, tmp_path / "other").memory["read_as"]}
    assert take_in(blind, tmp_path, previous=memory).rows_read == 1  # without `late`, the last value only


def test_a_broken_contract_leaves_nothing_and_the_cursor_where_it_was(database: sa.Engine, tmp_path: Path) -> None:
    fill(database, 0, 50, balance=1)
    fill(database, 50, 1, balance=-1)
    source = accounts(watermark="changed", contract=[gn.Between("balance", 0, severity="fail")])
    with pytest.raises(ContractViolated, match="1 of 51 rows"):
        take_in(source, tmp_path)
    assert DeltaTables(tmp_path).tables() == []


def test_a_query_can_change_nothing(database: sa.Engine, tmp_path: Path) -> None:
    fill(database, 0, 3)
    erase = "WITH gone AS (DELETE FROM shop.accounts RETURNING *) SELECT * FROM gone"
    for query in (erase, "SELECT 1) AS x; DELETE FROM shop.accounts; SELECT (1", "SELECT nextval('nothing')"):
        with pytest.raises(InvalidInput, match="cannot be read"):
            take_in(accounts(table=None, sql=query), tmp_path)
    with database.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM shop.accounts")).scalar() == 3


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    monkeypatch.setenv("SHOP_URL", "postgresql+psycopg://gnomon:sesame@127.0.0.1:1/db")
    with pytest.raises(Unavailable, match="the database of SHOP_URL does not answer") as caught:
        take_in(accounts(), tmp_path)
    assert "sesame" not in str(caught.value)
