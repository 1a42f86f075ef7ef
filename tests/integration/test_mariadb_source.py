"""A MariaDB database as a source, for real: one snapshot for all ranges while others write, watermarks, no writing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gnomon.contracts.clocks import SystemClock
from gnomon.contracts.sources import DataSource
from gnomon.data import sql_extraction
from gnomon.data.ingestion import ingest
from gnomon.data.source_schema import read_schema
from gnomon.errors import InvalidInput, Unavailable
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.mariadb_server import find_mariadb, mariadb_server

START = datetime(2025, 3, 1)


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    programs = find_mariadb()
    if programs is None:
        pytest.skip("MariaDB's server is not installed (Debian package mariadb-server)")
    pytest.importorskip("pymysql", reason="PyMySQL is not installed (extra `mysql`)")
    with mariadb_server(programs) as url:
        yield url


@pytest.fixture
def database(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    monkeypatch.setenv("SHOP_URL", server_url)
    engine = sa.create_engine(server_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS accounts"))
        connection.execute(
            sa.text(
                "CREATE TABLE accounts (id bigint PRIMARY KEY, changed datetime(6) NOT NULL, balance decimal(12, 2), "
                "`order` varchar(9), open boolean)"
            )
        )
    yield engine
    engine.dispose()


def fill(engine: sa.Engine, first: int, count: int) -> None:
    rows = [{"id": n, "t": START + timedelta(minutes=n)} for n in range(first, first + count)]
    with engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO accounts VALUES (:id, :t, 100, 'x', true)"), rows)


def accounts(**options: Any) -> DataSource:
    defaults: dict[str, Any] = {"table": "accounts", "url_env": "SHOP_URL", "id": "id", "event_time": "changed"}
    return DataSource("accounts", **{**defaults, "timezone": "UTC", **options})


def take_in(source: DataSource, tables: Path, **options: Any) -> Any:
    return ingest(source, "", DeltaTables(tables), SystemClock(), local_rows=10**9, report=str, **options)


def test_types(database: sa.Engine, tmp_path: Path) -> None:
    fill(database, 0, 3)
    assert read_schema(accounts(), "") == {
        "id": "int64", "changed": "timestamp", "balance": "float64", "order": "string", "open": "int64",
    }  # fmt: skip
    assert take_in(accounts(fields={"open": "bool"}), tmp_path).rows_added == 3
    row = DeltaTables(tmp_path).read("accounts").sort_by("id").to_pylist()[1]
    assert (row["open"], row["_event_time"]) == (True, START.replace(tzinfo=UTC) + timedelta(minutes=1))


@pytest.mark.parametrize("partition_by", ["id", "changed", "balance"])
def test_ranges_are_of_one_snapshot_while_money_moves(
    database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition_by: str
) -> None:
    """Transfers between accounts of different ranges keep the sum; a read that mixed two states would not."""
    monkeypatch.setattr(sql_extraction, "CHUNK_ROWS", 100)
    fill(database, 0, 2000)
    stop, moved = threading.Event(), []
    move = sa.text("UPDATE accounts SET balance = balance + CASE WHEN id = :a THEN -1 ELSE 1 END WHERE id IN (:a, :b)")

    def transfer() -> None:
        with database.connect() as connection:
            while not stop.is_set():
                connection.execute(move, {"a": len(moved) % 1000, "b": 1999 - len(moved) % 1000})
                moved.append(1)

    writer = threading.Thread(target=transfer)
    writer.start()
    try:
        for number in range(3):
            before = len(moved)
            assert take_in(accounts(partition_by=partition_by), tmp_path / str(number)).rows_added == 2000
            assert len(moved) > before
            balances = DeltaTables(tmp_path / str(number)).read("accounts")["balance"].to_pylist()
            assert sum(balances) == 200_000
    finally:
        stop.set()
        writer.join()


def test_only_what_is_new_and_late(database: sa.Engine, tmp_path: Path) -> None:
    source = accounts(watermark="changed", late="1h", partition_by="id")
    fill(database, 0, 100)
    first = take_in(source, tmp_path)
    fill(database, 100, 10)
    second = take_in(source, tmp_path, previous=first.memory)
    assert (first.rows_added, second.rows_read, second.rows_added) == (100, 71, 10)


def test_what_cannot_be_read_and_that_nothing_is_changed(
    database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match=r"table 'absent' of SHOP_URL cannot be read: .*doesn't exist"):
        take_in(accounts(table="absent"), tmp_path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        take_in(accounts(table=None, sql="DELETE FROM accounts RETURNING *"), tmp_path)
    monkeypatch.setenv("SHOP_URL", "mysql+pymysql://gnomon:sesame@127.0.0.1:1/shop")
    with pytest.raises(Unavailable, match="the database of SHOP_URL does not answer") as caught:
        take_in(accounts(), tmp_path)
    assert "sesame" not in str(caught.value)
