"""URLs in Feast's sources: those of object stores stay, others are named, and no credential is written anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.feast_repositories import REPOSITORIES, imported

import gnomon as gn
from gnomon.importing.object_paths import url_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("s3://bucket/a/*.parquet", "s3://bucket/a/*.parquet"),
        ("s3a://bucket/a.csv", "s3://bucket/a.csv"),
        ("gcs://bucket/a.csv", "gs://bucket/a.csv"),
        ("s3://key:secret@bucket/a.csv", "s3://bucket/a.csv"),
        ("s3://bucket/a.csv?secret_key=secret", "s3://bucket/a.csv"),
        ("abfss://box:secret@acc.dfs.core.windows.net/a.csv", "abfss://box@acc.dfs.core.windows.net/a.csv"),
    ],
)
def test_object_stores_are_read(url: str, path: str) -> None:
    found = url_path(url, "http://user:secret@store:9000", is_delta=False)
    assert (found.path, found.is_read) == (path, True)
    assert "store:9000" in found.note
    assert "secret" not in found.note
    gn.DataSource("s", path=found.path, id="id", event_time="at")


@pytest.mark.parametrize("url", ["hdfs://node:8020/a/b.parquet", "wasbs://box/a/b.parquet"])
def test_other_urls_are_to_be_mounted(url: str) -> None:
    found = url_path(url, "", is_delta=False)
    assert (found.path, found.is_read) == ("mounted/a/b.parquet", False)
    assert url in found.note


def test_delta_tables_in_object_stores_are_to_be_mounted() -> None:
    assert url_path("s3://bucket/a/b", "", is_delta=True).path == "mounted/a/b"


@pytest.mark.parametrize("url", ["s3://key:sec/ret@bucket/a.csv", "hdfs://user:secret@node@x/a.csv"])
def test_what_may_be_a_secret_is_not_shown(url: str) -> None:
    found = url_path(url, "", is_delta=False)
    assert "sec" not in found.path + found.note


def test_a_repository_with_an_object_store(tmp_path: Path) -> None:
    found, app = imported(REPOSITORIES / "shop", tmp_path / "shop.py")
    assert app.get(gn.DataSource, "prices").path == "s3://bucket/prices.parquet"
    assert any("AWS_ENDPOINT_URL to the server at s3" in str(each) for each in found.findings.differences)
