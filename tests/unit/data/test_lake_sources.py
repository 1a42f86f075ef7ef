"""Delta and Iceberg tables as sources: partition columns, only what is new, rewrites, restored and replaced tables."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import gnomon as gn
from gnomon.contracts.sources import DataSource
from gnomon.data.source_schema import read_schema
from gnomon.errors import ContractViolated, CorruptData, InvalidInput, NotFound

START = datetime(2025, 3, 1, tzinfo=UTC)


def rows(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    times = pa.array([START + timedelta(minutes=n) for n in numbers], pa.timestamp("us", tz="UTC"))
    return pa.table({"id": list(numbers), "at": times, "day": [f"d{n % 3}" for n in numbers]})


def delta(**options: Any) -> DataSource:
    return DataSource("events", path="lake/events", format="delta", id="id", event_time="at", **options)


@pytest.fixture
def lake(root: Path) -> str:
    place = root / "lake" / "events"
    write_deltalake(str(place), rows(0, 10), partition_by=["day"])
    return str(place)


def test_a_delta_table_with_its_partition_columns(lake, root, take_in, offline):
    assert read_schema(delta(), str(root)) == {"id": "int64", "at": "timestamp", "day": "string"}
    report = take_in(delta())
    assert (report.rows_added, report.memory["cursor"]["version"]) == (10, 0)
    read = offline.read("events").sort_by("id")
    assert read["day"].to_pylist() == [f"d{n % 3}" for n in range(10)]


def test_only_new_files_are_read(lake, take_in, offline):
    first = take_in(delta())
    nothing = take_in(delta(), previous=first.memory)
    assert (nothing.files, nothing.rows_read, nothing.memory["cursor"]) == (0, 0, first.memory["cursor"])
    write_deltalake(lake, rows(10, 3), mode="append")
    second = take_in(delta(), previous=nothing.memory)
    assert (second.rows_read, second.rows_added) == (3, 3)
    DeltaTable(lake).optimize.compact()
    third = take_in(delta(), previous=second.memory)
    assert (third.rows_added, third.duplicates) == (0, third.rows_read)
    assert offline.read("events").num_rows == 13


def test_an_update_is_a_correction_and_a_deletion_leaves_our_rows(lake, take_in, offline):
    first = take_in(delta())
    table = DeltaTable(lake)
    table.update(predicate="id = 4", updates={"day": "'d1'"})
    table.delete("id = 5")
    second = take_in(delta(), previous=first.memory)
    assert (second.rows_added, offline.read("events").num_rows) == (0, 10)  # row 4 is of day d1 already
    table.update(predicate="id = 6", updates={"day": "'d2'"})
    assert take_in(delta(), previous=second.memory).corrections == 1


def test_versions_that_are_gone_and_tables_that_were_replaced_are_read_whole(lake, take_in):
    first = take_in(delta())
    write_deltalake(lake, rows(10, 1), mode="append", partition_by=["day"])
    DeltaTable(lake).create_checkpoint()
    (Path(lake) / "_delta_log" / f"{0:020}.json").unlink()
    whole = take_in(delta(), previous=first.memory)
    assert (whole.rows_read, whole.rows_added) == (11, 1)
    shutil.rmtree(lake)
    write_deltalake(lake, rows(100, 5))
    again = take_in(delta(), previous=whole.memory)
    assert (again.rows_read, again.rows_added) == (5, 5)


def test_what_cannot_be_read(root, take_in, lake, offline):
    absent = DataSource("events", path="lake/none", format="delta", id="id", event_time="at")
    with pytest.raises(NotFound, match=r"there is no Delta table at '.*/lake/none'"):
        take_in(absent)
    with pytest.raises(ContractViolated):
        take_in(delta(contract=[gn.InSet("day", ["d0"], severity="fail")]))
    assert offline.tables() == []
    log = Path(lake) / "_delta_log"
    features = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
                "writerFeatures": ["deletionVectors"]}  # fmt: skip
    (log / f"{1:020}.json").write_text(json.dumps({"protocol": features}))
    with pytest.raises(InvalidInput, match="rewrite it without deletion vectors"):
        take_in(delta())
    (log / f"{1:020}.json").unlink()
    next(Path(lake).rglob("*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(CorruptData, match="a file of the Delta table at 'lake/events' cannot be read"):
        take_in(delta(), schema={"id": "int64", "at": "timestamp", "day": "string"})


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("pyiceberg", reason="pyiceberg is not installed (extra `iceberg`)", exc_type=ImportError)
    from pyiceberg.catalog import load_catalog

    (tmp_path / "warehouse").mkdir()
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{tmp_path / 'catalog.db'}")
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", f"file://{tmp_path / 'warehouse'}")
    from pyiceberg import catalog as module
    from pyiceberg.utils.config import Config

    monkeypatch.setattr(module, "_ENV_CONFIG", Config())  # it reads the environment once, when imported
    catalog = load_catalog("lake")
    catalog.create_namespace("shop")
    yield catalog
    catalog.engine.dispose()


def iceberg(**options: Any) -> DataSource:
    return DataSource("events", table="shop.events", catalog="lake", id="id", event_time="at", **options)


@pytest.mark.filterwarnings("ignore")  # of pyiceberg and its dependencies, about each other
def test_an_iceberg_table(catalog, take_in, offline):
    table = catalog.create_table("shop.events", schema=rows(0, 1).schema)
    empty = take_in(iceberg())
    assert (empty.rows_read, empty.memory["cursor"]) == (0, None)
    table.append(rows(0, 10))
    first = take_in(iceberg(), previous=empty.memory)
    assert first.rows_added == 10
    assert take_in(iceberg(), previous=first.memory).files == 0
    table.append(rows(10, 3))
    second = take_in(iceberg(), previous=first.memory)
    assert (second.rows_read, second.rows_added) == (3, 3)
    table.overwrite(rows(20, 2))
    third = take_in(iceberg(), previous=second.memory)
    assert (third.rows_added, offline.read("events").num_rows) == (2, 15)
    table.delete("id = 20")
    assert take_in(iceberg(), previous=third.memory).rows_added == 0
    catalog.drop_table("shop.events")
    with pytest.raises(NotFound, match=r"catalog 'lake' has no table 'shop.events'"):
        take_in(iceberg())


@pytest.mark.filterwarnings("ignore")
def test_an_unknown_catalog_says_how_to_name_it(catalog, take_in):
    unknown = DataSource("events", table="a.b", catalog="elsewhere", id="id", event_time="at")
    with pytest.raises(InvalidInput, match=r"no catalog 'elsewhere'.*PYICEBERG_CATALOG__ELSEWHERE__URI"):
        take_in(unknown)
