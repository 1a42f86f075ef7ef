"""The operation `ingest`: what it remembers from one to the next, its report, and how the command line shows it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import gnomon as gn
from gnomon import composition
from gnomon.cli.work_commands import _ingested, show_contract
from gnomon.contracts.apps import App
from gnomon.control_plane.feature_work import ingest_source
from gnomon.control_plane.parts import Parts
from gnomon.data.source_schema import read_schema
from gnomon.errors import ContractViolated

INSERT = "INSERT INTO orders VALUES (?, ?, ?)"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:

        def run(statement: str, *rows: tuple[Any, ...]) -> None:
            connection.executemany(statement, rows) if rows else connection.execute(statement)
            connection.commit()

        run("CREATE TABLE orders (id INTEGER, at TEXT, amount REAL)")
        run(INSERT, *((n, f"2025-03-{1 + n:02} 00:00:00", float(n)) for n in range(10)))
        yield run


@pytest.fixture
def parts(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setenv("GNOMON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GNOMON_ONLINE_URL", "redis://127.0.0.1:1/0")  # never asked
    made = composition.parts.__wrapped__()
    source = gn.DataSource(
        "orders", table="orders", url_env="SHOP_URL", id="id", event_time="at", timezone="UTC", watermark="id",
        transforms=[gn.Clip("amount", max=8.5)],
        contract=[gn.Between("amount", max=5, severity="warn"), gn.Between("amount", 0, severity="fail", name="sign")],
    )  # fmt: skip
    app = App.of("app", [source]).with_schemas({"orders": read_schema(source, "")})
    made.definitions.apply(app, actor="me")
    return made


def take_in(parts: Parts, operation_id: str) -> dict[str, Any]:
    operation = parts.operations.submit("ingest", "orders", {}, actor="me", operation_id=operation_id)
    return ingest_source(operation, parts, str)


def test_one_ingestion_goes_on_where_the_other_ended(
    parts: Parts, shop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first = take_in(parts, "one")
    assert (first["rows_added"], first["contract"][0]["violations"], first["drift"]) == (10, 4, [])
    shop(INSERT, (20, "2025-04-01 00:00:00", 1.0))
    assert take_in(parts, "one") == first  # its worker died before it could say that it had come to its end
    second = take_in(parts, "two")
    assert (second["rows_read"], second["rows_added"]) == (2, 1)
    shop("ALTER TABLE orders ADD COLUMN note TEXT")
    shop("INSERT INTO orders VALUES (30, '2025-04-02 00:00:00', -1.0, 'x')")
    with pytest.raises(ContractViolated, match="sign is broken: 1 of 2 rows break it") as caught:
        take_in(parts, "three")
    shop("UPDATE orders SET amount = 9 WHERE id = 30")
    fourth = take_in(parts, "four")
    assert (fourth["rows_read"], fourth["rows_added"]) == (2, 1)
    assert [(d["column"], d["against"]) for d in fourth["drift"]] == [("note", "definition"), ("note", "previous")]
    capsys.readouterr()
    _ingested([fourth])
    show_contract("orders", caught.value.details["contract"])
    shown = capsys.readouterr().out
    assert first["transforms"] == [{"step": "clip:amount", "changed": 1}]
    assert "orders: 1 values changed by clip:amount" in shown
    assert "column 'note' (string) is new since the ingestion before" in shown
    assert shown.count("between:amount") == 2
    assert "broken" in shown
    assert list((parts.work_folder).glob("extract-*")) == []
