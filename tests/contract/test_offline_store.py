"""The offline store's contract, on Delta tables; and that other Delta readers see the same rows in them."""

from pathlib import Path

import deltalake
import duckdb
import polars as pl
import pyarrow as pa
import pytest

from gnomon.contracts.columns import EVENT_TIME
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.offline_store_contract import OfflineStoreContract, event_rows


class TestDeltaTables(OfflineStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> DeltaTables:
        return DeltaTables(tmp_path / "offline")


@pytest.fixture(params=[3, 230], ids=["without checkpoint", "with checkpoints"])
def table_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A table whose schema grew on the way; Gnomon checkpoints every 100 commits."""
    store = DeltaTables(tmp_path)
    store.append("payments", event_rows([1, 1_700_000_000_123_456], text=["x", None]), "first")
    for number in range(request.param - 2):
        store.append("payments", event_rows([number], whole=[number], several=[[0.5, None]]), f"batch {number}")
    store.append("payments", event_rows([7], text=["last"]), "last")
    return tmp_path / "payments"


def _ours(folder: Path, version: int | None = None) -> list[dict[str, object]]:
    return _sorted(DeltaTables(folder.parent).read("payments", version=version))


def _sorted(rows: pa.Table) -> list[dict[str, object]]:
    names = [EVENT_TIME, "text", "whole", "several"]
    return sorted(rows.select(names).to_pylist(), key=lambda row: str(row.values()))


def test_delta_rs_reads_the_same_rows(table_folder: Path) -> None:
    theirs = deltalake.DeltaTable(str(table_folder))
    assert theirs.version() == DeltaTables(table_folder.parent).version("payments")
    assert _sorted(pa.table(theirs.to_pyarrow_table())) == _ours(table_folder)
    theirs.load_as_version(1)
    assert len(_ours(table_folder, 1)) == theirs.to_pyarrow_table().num_rows == 3


def test_polars_reads_the_same_rows(table_folder: Path) -> None:
    theirs = pl.read_delta(str(table_folder)).to_arrow()
    assert _sorted(theirs) == _ours(table_folder)


def test_duckdb_reads_the_same_rows(table_folder: Path) -> None:
    with duckdb.connect() as connection:
        try:
            connection.execute("LOAD delta")
        except duckdb.Error:
            pytest.skip("DuckDB's extension 'delta' is not installed on this machine")
        theirs = connection.execute(f"SELECT * FROM delta_scan('{table_folder}')").to_arrow_table()
    assert _sorted(theirs) == _ours(table_folder)


def test_delta_rs_sees_batch_ids_as_application_transactions(table_folder: Path) -> None:
    theirs = deltalake.DeltaTable(str(table_folder))
    assert theirs.transaction_version("first") == 0
    assert theirs.transaction_version("last") == theirs.version()
    assert theirs.transaction_version("never sent") is None


def test_what_delta_rs_appends_and_compacts_is_read(table_folder: Path) -> None:
    before = _ours(table_folder)
    store = DeltaTables(table_folder.parent)
    more = event_rows([999], text=["from delta-rs"], whole=[5], several=[[1.0]])
    deltalake.write_deltalake(str(table_folder), more, mode="append")
    assert len(_ours(table_folder)) == len(before) + 1
    deltalake.DeltaTable(str(table_folder)).optimize.compact()
    assert len(store.files("payments")) == 1
    assert len(_ours(table_folder)) == len(before) + 1
    assert store.append("payments", event_rows([7], text=["last"]), "last").repeated
    assert store.read("payments", after_us=998, until_us=999, columns=["text"]).to_pylist() == [
        {"text": "from delta-rs"}
    ]
