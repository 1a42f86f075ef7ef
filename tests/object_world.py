"""A bucket in this process and events to put there, for tests of sources in object stores."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
from tests.s3_server import S3Server, s3_server

START_US = 1_735_689_600_000_000
BUCKET = "shop"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Serve an empty bucket, to which the environment leads."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with s3_server() as server:
        for name, value in server.variables().items():
            monkeypatch.setenv(name, value)
        server.buckets[BUCKET] = {}
        yield server


def events(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    times = pa.array([START_US + n * 60_000_000 for n in numbers], pa.timestamp("us", tz="UTC"))
    return pa.table(
        {"id": [f"e{n}" for n in numbers], "at": times, "n": list(numbers), "text": [f"ü,{n}" for n in numbers]}
    )


def as_parquet(table: pa.Table, row_group_rows: int = 100) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=row_group_rows)
    return sink.getvalue().to_pybytes()


def as_csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    arrow_csv.write_csv(table, sink)
    return sink.getvalue().to_pybytes()


def as_jsonl(table: pa.Table) -> bytes:
    rows = (
        f'{{"id": "{row["id"]}", "at": "{row["at"].isoformat()}", "n": {row["n"]}, "text": "{row["text"]}"}}\n'
        for row in table.to_pylist()
    )
    return "".join(rows).encode()


WRITERS = {"parquet": as_parquet, "csv": as_csv, "jsonl": as_jsonl}
