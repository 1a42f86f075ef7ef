"""Opening the state database, its transactions, and what its errors become."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gnomon.errors import Conflict, CorruptData, InvalidInput, Unavailable
from gnomon.storage import sql
from gnomon.storage.sql import SCHEMA_VERSION, json_text, open_database, reading, sqlite_url, transaction
from gnomon.testing.races import race


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(sqlite_url(tmp_path / "home" / "state" / "state.db"))
    with transaction(engine) as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)"))
    yield engine
    engine.dispose()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_files_are_the_owners_only(engine: Engine) -> None:
    path = Path(str(engine.url.database))
    assert mode(path.parent) == 0o700
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}


def test_every_connection_is_durable(engine: Engine) -> None:
    opened = [engine.connect() for _ in range(5)]
    for connection in opened:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
        connection.close()


def test_failed_transaction_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), transaction(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (1, 'x')")).rowcount / 0
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 0


def test_reading_is_one_snapshot_and_waits_for_no_writer(engine: Engine) -> None:
    with reading(engine) as reader:
        assert reader.execute(text("SELECT count(*) FROM t")).scalar() == 0
        with transaction(engine) as writer:
            writer.execute(text("INSERT INTO t VALUES (1, 'x')"))
            assert reader.execute(text("SELECT count(*) FROM t")).scalar() == 0
        assert reader.execute(text("SELECT count(*) FROM t")).scalar() == 0


def test_read_then_write_of_threads_is_serial(engine: Engine) -> None:
    def count_up() -> None:
        for _ in range(20):
            with transaction(engine) as connection:
                known = connection.execute(text("SELECT count(*) FROM t")).scalar()
                connection.execute(text("INSERT INTO t VALUES (:a, '')"), {"a": known})

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 80


def test_many_processes_open_a_new_database_at_once(tmp_path: Path) -> None:
    race(OpenSeveral(tmp_path), _open, racers=4, rounds=10)


class OpenSeveral:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> OpenSeveral:
        return self

    def __enter__(self) -> Path:
        return self.folder

    def __exit__(self, *error: object) -> None:
        return None


def _open(folder: Path, number: int, racer: int) -> None:
    open_database(sqlite_url(folder / str(number) / "state.db")).dispose()


def test_newer_schema_is_refused(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text(f"UPDATE gnomon_schema SET version = {SCHEMA_VERSION + 1}"))
    with pytest.raises(Conflict, match=f"has schema version {SCHEMA_VERSION + 1}.*upgrade Gnomon"):
        open_database(str(engine.url))


@pytest.mark.parametrize("name", ["a b.db", "q?x=1.db", "h#.db", "50%25.db", "Zoë.db", "a;b&c.db"])
def test_any_file_name_can_be_a_url(tmp_path: Path, name: str) -> None:
    open_database(sqlite_url(tmp_path / name)).dispose()
    assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("state.db", "cannot be read"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://root@localhost/x", "cannot be kept in 'mysql'"),
        ("sqlite:////proc/nowhere/state.db", "cannot be created"),
    ],
)
def test_useless_urls_are_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        open_database(url)


def test_dead_server_is_unavailable_and_the_password_stays_secret() -> None:
    with pytest.raises(Unavailable) as caught:
        open_database("postgresql://ann:pa55word@127.0.0.1:1/gnomon")
    assert "pa55word" not in str(caught.value)
    assert "127.0.0.1:1" in caught.value.message
    assert "GNOMON_STATE_URL" in caught.value.hint


def test_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is a text file, not a database\n" * 100)
    with pytest.raises(CorruptData, match="not a database"):
        open_database(sqlite_url(path))
    assert path.read_bytes().startswith(b"this is a text")


def test_writer_that_waits_too_long_is_told_so(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "LOCK_TIMEOUT_S", 0.05)
    impatient = open_database(str(engine.url))
    with transaction(engine), pytest.raises(Unavailable, match="locked"), transaction(impatient):
        pass
    with transaction(impatient) as connection:
        connection.execute(text("INSERT INTO t VALUES (1, 'x')"))
    impatient.dispose()


def test_constraint_is_a_conflict(engine: Engine) -> None:
    with pytest.raises(Conflict, match="UNIQUE"), transaction(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (1, 'x'), (1, 'y')"))


def test_number_beyond_64_bits_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="cannot be stored"), transaction(engine) as connection:
        connection.execute(text("INSERT INTO t VALUES (:a, 'x')"), {"a": 2**70})


def test_mistake_in_our_own_sql_stays_what_it_is(engine: Engine) -> None:
    with pytest.raises(Exception, match="no such table") as caught, reading(engine) as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: file permissions bind only other users")
def test_folder_without_permission_is_forbidden(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Exception, match="cannot be written"):
        open_database(sqlite_url(tmp_path / "state.db"))


def test_json_text_is_canonical() -> None:
    assert json_text({"b": (1, 2.5), "a": None}) == '{"a":null,"b":[1,2.5]}'
    with pytest.raises(InvalidInput, match="not JSON"):
        json_text([math.inf])
