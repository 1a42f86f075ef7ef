"""What goes wrong with an object store: each in a clear error that holds no secret, and never in wrong rows."""

from __future__ import annotations

import traceback

import pytest
from tests.object_world import BUCKET, WRITERS, as_csv, as_parquet, events
from tests.s3_server import KEY_ID, SECRET

from gnomon.contracts.object_urls import parse_object_url
from gnomon.contracts.sources import DataSource
from gnomon.data.source_files import Limits
from gnomon.data.source_schema import read_schema
from gnomon.errors import CorruptData, GnomonError, InvalidDefinition, InvalidInput, NotFound, Unavailable

TOKEN = "t0ken-of-the-test"


def source(path: str = f"s3://{BUCKET}/in/*.csv", **options: object) -> DataSource:
    return DataSource("events", path=path, **{"id": "id", "event_time": "at", **options})


def refusal(take_in, of: DataSource, **options: object) -> GnomonError:
    with pytest.raises(GnomonError) as raised:
        take_in(of, **options)
    shown = "".join(traceback.format_exception(raised.value)) + str(raised.value.as_json())
    for secret in (KEY_ID, SECRET, TOKEN, "Signature=", "Credential="):
        assert secret not in shown
    return raised.value


def test_nothing_there(s3, take_in):
    s3.put(BUCKET, "in/a.txt", b"x")
    for path in (f"s3://{BUCKET}/in/*.csv", f"s3://{BUCKET}/in/a.csv", f"s3://{BUCKET}/none/*.csv"):
        error = refusal(take_in, source(path))
        assert isinstance(error, NotFound)
        assert error.message == f"source 'events': no csv file at '{path}'"
    for path in ("s3://shopp/in/*.csv", "s3://shopp/*.csv", "s3://shopp/in/a.csv"):
        error = refusal(take_in, source(path))
        assert (type(error), error.exit_code) == (NotFound, 2)
        assert "there is no bucket 'shopp'" in error.message


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "ACCESS_DENIED"),
        ({"AWS_SECRET_ACCESS_KEY": "wr0ng"}, "SIGNATURE_DOES_NOT_MATCH"),
        ({"AWS_ACCESS_KEY_ID": "AKIAOTHER"}, "INVALID_ACCESS_KEY_ID"),
        ({"AWS_SESSION_TOKEN": TOKEN}, None),
    ],
)
def test_credentials(variables, reason, s3, take_in, monkeypatch, tmp_path):
    s3.put(BUCKET, "in/a.csv", as_csv(events(0, 5)))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    if reason is None:
        assert take_in(source()).rows_added == 5
        return
    error = refusal(take_in, source())
    assert (type(error), error.exit_code) == (InvalidInput, 2)
    assert error.message == f"'s3://{BUCKET}/in/*.csv' may not be read: {reason}"
    assert "AWS_ACCESS_KEY_ID" in error.hint
    error = refusal(take_in, source(f"s3://{BUCKET}/in/a.csv"))
    assert f"'s3://{BUCKET}/in/a.csv' may not be read" in error.message


def test_a_store_that_fails_or_is_not_there(s3, take_in, monkeypatch):
    s3.put(BUCKET, "in/a.csv", as_csv(events(0, 5000)))
    s3.status = 500
    for path in (f"s3://{BUCKET}/in/*.csv", f"s3://{BUCKET}/in/a.csv"):
        error = refusal(take_in, source(path))
        assert (type(error), error.exit_code, error.retryable) == (Unavailable, 3, True)
        assert path in error.message
    s3.status, s3.cut_bodies = 0, True
    assert type(refusal(take_in, source())) is Unavailable
    s3.cut_bodies = False
    assert take_in(source()).rows_added == 5000
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    error = refusal(take_in, source())
    assert type(error) is Unavailable
    assert "Could not connect to server" in error.message


@pytest.mark.parametrize("endpoint", ["shop:9000", "http://user:pw@host", "ftp://host"])
def test_endpoints_that_are_none(endpoint, s3, take_in, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    error = refusal(take_in, source())
    assert isinstance(error, InvalidInput)
    assert "AWS_ENDPOINT_URL" in error.message
    assert "pw" not in str(error)


def test_bad_objects(s3, take_in, offline):
    whole = as_parquet(events(0, 500))
    s3.put(BUCKET, "half/a.parquet", whole[: len(whole) // 2])
    s3.put(BUCKET, "half/b.parquet", whole)
    error = refusal(take_in, source(f"s3://{BUCKET}/half/*.parquet"))
    assert isinstance(error, CorruptData)
    assert f"'s3://{BUCKET}/half/a.parquet'" in error.message
    damaged = bytearray(whole)
    damaged[200:260] = bytes(60)
    s3.put(BUCKET, "damaged.parquet", bytes(damaged))
    assert isinstance(refusal(take_in, source(f"s3://{BUCKET}/damaged.parquet")), CorruptData)
    s3.put(BUCKET, "empty.csv", b"")
    assert "is empty" in refusal(take_in, source(f"s3://{BUCKET}/empty.csv")).message
    s3.put(BUCKET, "zipped.csv", b"\x1f\x8b" + bytes(100))
    assert "gzip" in refusal(take_in, source(f"s3://{BUCKET}/zipped.csv")).message
    s3.put(BUCKET, "q//a.csv", as_csv(events(0, 5)))
    assert "empty part" in refusal(take_in, source(f"s3://{BUCKET}/**/a.csv")).message
    assert offline.version("events") == -1


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize("change", ["other", "shorter", "gone"])
def test_an_object_that_changes_while_it_is_read(ending, change, s3, take_in, offline):
    """Whichever read it changes before: an error, or the rows of one version; and the next ingestion has the new."""
    key, limits = f"in/a.{ending}", Limits(part_bytes=2000, part_rows=100)
    old = WRITERS[ending](events(0, 300))
    new = WRITERS[ending](events(1000, 300 if change == "other" else 120))
    said: set[str] = set()
    moment = 0
    while True:
        s3.put(BUCKET, key, old)
        s3.asked.clear()
        moment += 1

        def replace(_: str, at: int = moment) -> None:
            if len(s3.gets()) == at:
                s3.buckets[BUCKET].pop(key) if change == "gone" else s3.put(BUCKET, key, new)

        s3.on_get[:] = [replace]
        try:
            take_in(source(f"s3://{BUCKET}/{key}", fields={"n": "int64"}), limits=limits)
        except (InvalidInput, NotFound) as error:
            said.add(error.message.rpartition("' ")[2])
        held = set(offline.read("events")["n"].to_pylist()) if offline.version("events") >= 0 else set()
        assert held in (set(), set(range(300)))
        if len(s3.gets()) < moment or moment > 40:
            break
    assert said == {"changed while it was being ingested"}
    s3.on_get.clear()
    s3.put(BUCKET, key, new)
    assert take_in(source(f"s3://{BUCKET}/{key}")).rows_added in (120, 300)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("s3a://b/x.csv", "write s3://bucket/prefix/*.parquet"),
        ("http://b/x.csv", "no file is read from http:// URLs"),
        ("file:///x.csv", "no file is read from file:// URLs"),
        ("s3:///x.csv", "does not say where the objects are"),
        ("s3://b//x.csv", "has '//' in the key"),
        ("abfss://box/x.csv", "write abfss://container@account.dfs.core.windows.net"),
        (f"s3://{KEY_ID}:{SECRET}@b/x.csv", "names a user or a password"),
        (f"s3://{KEY_ID}:{SECRET}/a@b/x.csv", "names a user or a password"),
        (f"abfss://box:{SECRET}@account.dfs.core.windows.net/x.csv", "names a user or a password"),
        (f"s3://b/x.csv?access_key={SECRET}", "has options after '?'"),
        (f"s3://b/x?access_key={SECRET}", "has options after '?'"),
    ],
)
def test_urls_that_are_refused_when_they_are_defined(path, says):
    with pytest.raises(InvalidDefinition) as raised:
        source(path)
    assert says in raised.value.message
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_delta_tables_in_object_stores_are_refused():
    with pytest.raises(InvalidDefinition, match="mount"):
        source(f"s3://{BUCKET}/table", format="delta")


def test_urls_are_parts_and_back():
    for text in ("s3://b/a/*.csv", "gs://b/a", "abfss://box@account.dfs.core.windows.net/a/b.csv"):
        assert str(parse_object_url(text)) == text


def test_the_schema_of_an_object_that_is_gone(s3):
    with pytest.raises(NotFound):
        read_schema(source(), "")
