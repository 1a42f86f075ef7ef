"""Fixtures for contract suites that run over both databases, and for those over both servers of the online store."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from tests.loop_store import close_loop_stores
from tests.online_servers import online_server

from gnomon.storage.sql import sqlite_url
from gnomon.testing.postgresql_server import find_postgresql, postgresql_server

_COUNTER = itertools.count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    programs = find_postgresql()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian's package `postgresql`)")
    with postgresql_server(programs) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new, empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "state" / "state.db")
    server = make_url(request.getfixturevalue("postgresql")).set(drivername="postgresql+psycopg")
    name = f"contract_{next(_COUNTER)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="module", params=["valkey", "redis"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a running server of the online store."""
    with online_server(request.param, tmp_path_factory.mktemp(request.param)) as url:
        yield url


@pytest.fixture(autouse=True)
def loops_end() -> Iterator[None]:
    yield
    close_loop_stores()
