"""Secrets of a repository: no text of it, wherever it stands, brings one into the app file or the findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.feast_repositories import PLAIN, REPOSITORIES, imported, make_repository

from gnomon.errors import GnomonError
from gnomon.importing.credentials import is_secret_name, secret_in_code, without_credentials
from gnomon.importing.importer import import_feast

_URL = "redis://ALIBABA{0}:SESAME{0}@host/x"
_EVERYWHERE = """
from feast.infra.offline_stores.contrib.iceberg_source import IcebergSource
from feast.infra.offline_stores.contrib.postgres_source import PostgreSQLSource
from feast.own import Thing
from feast.on_demand_feature_view import on_demand_feature_view
ice = IcebergSource(
    name="ice", table="t", timestamp_field="at", catalog_properties={"s3.secret-access-key": "SESAMEICE"},
    more=[{"a": "SESAMEMORE"}], access_token="SESAMETOKEN", uri="{url}",
)
ice_view = FeatureView(name="ice_view", entities=[driver], schema=[Field(name="n", dtype=Int64)], source=ice)
files = FileSource(path="s3://ALIBABA:SESAME@bucket/x.parquet", timestamp_field="at", s3_endpoint_override="{url}")
files_view = FeatureView(
    name="files_view", entities=[driver],
    schema=[Field(name="n", dtype=Int64, description="{url}", tags={"a": "{url}"})],
    source=files, description="see {url}", owner="{url}", tags={"a": "{url}", "{url}": "b", "api_key": "SESAMETAG"},
)
slashes = FileSource(path="s3://ALIBABA:SES/AME@bucket/y.parquet", timestamp_field="at")
slashes_view = FeatureView(name="s", entities=[driver], schema=[Field(name="n", dtype=Int64)], source=slashes)
signed = FileSource(path="https://host/z.parquet?X-Amz-Signature=SESAMESIGNATURE", timestamp_field="at")
sql = PostgreSQLSource(name="sql", query="SELECT * FROM f('{url}')", timestamp_field="at", conn_str="SESAMECONN")
sql_view = FeatureView(name="sql_view", entities=[driver], schema=[Field(name="n", dtype=Int64)], source=sql)
odd = KafkaSource(name="{url}", batch_source=stats, kafka_bootstrap_servers="{url}", password="SESAMEKAFKA")
person = Entity(name="person", join_keys=["person_id"], description="{url}", secrets=["SESAMELIST"])
unknown = Thing(name="{url}", uri="{url}")
permission = Permission(name="readers", policy="{url}")
project = Project(name="p", description="{url}", owner="{url}")
service = FeatureService(name="service", features=[view, "{url}"], description="{url}", tags={"{url}": "{url}"})
asked = RequestSource(name="asked", schema=[Field(name="extra", dtype=Int64)], description="{url}", url="{url}")
PLACE, API_KEY, SETTINGS = "{url}", "SESAMECONSTANT", {"password": "SESAMEDICT"}
def connect(url, token="SESAMEDEFAULT"):
    return url
@on_demand_feature_view(sources=[view, asked], schema=[Field(name="a", dtype=Int64)], description="{url}")
def of_constant(inputs):
    return inputs.connect(API_KEY)
@on_demand_feature_view(sources=[view], schema=[Field(name="b", dtype=Int64)], udf_string="{url}")
def of_url(inputs):
    return [PLACE, inputs]
@on_demand_feature_view(sources=[view], schema=[Field(name="c", dtype=Int64)])
def of_mapping(inputs):
    return [SETTINGS, inputs]
@on_demand_feature_view(sources=[view], schema=[Field(name="d", dtype=Int64)])
def of_default(inputs):
    return connect(inputs)
@on_demand_feature_view(sources=[view], schema=[Field(name="e", dtype=Int64)])
def of_keyword(inputs):
    return inputs.connect(password="SESAMEALIBABAWORD")
@on_demand_feature_view(sources=[view], schema=[Field(name="f", dtype=Int64)])
def of_comment(inputs):
    return inputs  # as in {url}
"""
_SETTINGS = (
    "project: made\nregistry: {url}\nonline_store:\n  type: {url}\n  password: SESAMESETTING\nwhat:\n  token: SESAME\n"
)


def numbered(text: str) -> str:
    """Put a URL with its own password wherever one belongs, so that a failure tells which was written."""
    parts = text.split("{url}")
    return "".join(part + _URL.format(n) for n, part in enumerate(parts[:-1])) + parts[-1]


def test_no_secret_is_written(tmp_path: Path) -> None:
    text = numbered(_EVERYWHERE)
    files = {"a.py": PLAIN + text, "feature_store.yaml": numbered(_SETTINGS)}
    found, _ = imported(make_repository(tmp_path / "repo", files), tmp_path / "app.py")
    for written in (found.text, json.dumps(found.as_json())):
        for word in ("SESAME", "SES/", "AME@", "ALIBABA"):
            assert [line for line in written.splitlines() if word in line] == []
    left = {each.what for each in found.findings.left_out}
    assert {
        "setting catalog_properties of IcebergSource 'ice'", "setting more of IcebergSource 'ice'",
        "setting access_token of IcebergSource 'ice'", "setting uri=redis://host/x of IcebergSource 'ice'",
        "user or password in path of FileSource 's3://bucket/x.parquet'", "tag 'api_key' of feature view 'files_view'",
        "user or password in query of PostgreSQLSource 'sql'", "setting secrets of entity 'person'",
    } <= left  # fmt: skip
    reasons = {each.what: each.reason for each in found.findings.left_out}
    for name, secret in {
        "constant": "'API_KEY'", "url": "a URL with credentials", "mapping": "'password'", "default": "'token'",
        "keyword": "'password'", "comment": "a URL with credentials",
    }.items():  # fmt: skip
        assert reasons[f"on-demand feature view 'of_{name}'"].startswith(f"its function has {secret} written in it")


def test_no_secret_of_the_repositories_beside_the_tests_is_written(tmp_path: Path) -> None:
    found, _ = imported(REPOSITORIES / "warehouse", tmp_path / "warehouse.py")
    assert "secret" not in str(found.as_json())
    assert "PASSWORD" not in found.text


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.py": "raise ValueError('cannot reach redis://ALIBABA:SESAME@host/0')\n"}, "redis://host/0"),
        ({"a.py": "import os\nprint('redis://ALIBABA:SESAME@host/0', flush=True)\nos._exit(3)\n"}, "redis://host/0"),
        ({"a.py": "", "feature_store.yaml": "project: made\nonline_store:\n  password: SESAME: [\n"}, "line 3"),
        (
            {"a.py": "from feast import LabelView\nx = LabelView(name='redis://ALIBABA:SESAME@host/0')\n"},
            "redis://host/0",
        ),
    ],
)
def test_no_refusal_shows_one(files: dict[str, str], said: str, tmp_path: Path) -> None:
    with pytest.raises(GnomonError) as caught:
        import_feast(make_repository(tmp_path / "repo", files), tmp_path, 60.0)
    error = caught.value
    assert "SESAME" not in f"{error.message} {error.hint} {error.details}"
    assert said in error.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://key:se/cr@et@bucket/a", "s3://bucket/a"),
        ("s3://key:12/34@bucket/a", "s3://bucket/a"),
        ("abfss://box@account.dfs.core.windows.net/a", None),
        ("abfss://box:secret@account.dfs.core.windows.net/a", "abfss://box@account.dfs.core.windows.net/a"),
        ("postgresql://user@host:5432/db", "postgresql://host:5432/db"),
        ("redis://:pass@host/0 and http://a:b@c", "redis://host/0 and http://c"),
        ("http://host:8080/@user and me@example.org", None),
        ("kafka://a:9092,b:9092/@x", None),
        ("file:///lake/a:b@c", None),
        ("https://h/a?b=c&sig=secret&d=e", "https://h/a?b=c&sig=***&d=e"),
        ("no URL: a@b", None),
    ],
)
def test_credentials_in_urls(text: str, expected: str | None) -> None:
    assert without_credentials(text) == (text if expected is None else expected)


def test_names_of_secrets() -> None:
    assert all(map(is_secret_name, ("s3.secret-access-key", "connection_str", "pwd", "api_key", "password", "token")))
    assert not any(map(is_secret_name, ("key", "join_key", "tokens_per_s", "design", "bypass", "odd", "")))


def test_what_is_filled_in_later_is_no_secret_in_code() -> None:
    code = 'def f(password, token=None):\n    return g(f"redis://u:{password}@host", password=password, token="")\n'
    assert secret_in_code([code]) == ""
