"""What URLs of the online store say, and what is told about those that say nothing."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from gnomon.errors import InvalidInput
from gnomon.features.cluster_route import slot_of
from gnomon.features.redis_addresses import Endpoint, OnlineAddress, Tls, parse_online_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://", Endpoint()),
        ("redis://h:1/2", Endpoint("h", 1, database=2)),
        ("redis://h?db=3", Endpoint("h", database=3)),
        ("redis://[::1]:7000", Endpoint("::1", 7000)),
        ("redis://:p%40ss@h", Endpoint("h", password="p@ss")),
        ("redis://user:p:w@h:1/0", Endpoint("h", 1, username="user", password="p:w")),
        ("unix:///run/redis.sock?db=1", Endpoint(path="/run/redis.sock", database=1)),
        ("unix://u:p@/run/a%20b.sock", Endpoint(path="/run/a b.sock", username="u", password="p")),
        ("rediss://h", Endpoint("h", tls=Tls())),
        ("rediss://h?ssl_check_hostname=no", Endpoint("h", tls=Tls(check_hostname=False))),
        ("rediss://h?ssl_cert_reqs=none", Endpoint("h", tls=Tls(check_hostname=False, verify=False))),
    ],
)
def test_one_server(url: str, expected: Endpoint) -> None:
    assert parse_online_url(url) == OnlineAddress("server", (expected,))


def test_a_cluster() -> None:
    found = parse_online_url("redis+cluster://u:p@a:1,b,[::1]:3")
    assert (found.kind, found.name) == ("cluster", "a:1,b:6379,[::1]:3")
    assert {(e.username, e.password) for e in found.endpoints} == {("u", "p")}


def test_sentinels_have_a_password_of_their_own() -> None:
    found = parse_online_url("redis+sentinel://u:p@a:1,b/my%20shop/2?sentinel_password=q")
    assert (found.kind, found.service, found.name) == ("sentinel", "my shop", "a:1,b:26379/my shop")
    assert found.endpoints[0] == Endpoint("a", 1, password="q")
    assert found.primary == Endpoint(username="u", password="p", database=2, is_primary=True)
    assert parse_online_url("rediss+sentinel://a/s").primary.tls == Tls()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "no scheme"), ("h:6379", "no scheme"), ("http://h", "'http'"), ("redis://h:notaport", "host or port"),
        ("redis://h:0", "host or port"), ("redis://h:65536", "host or port"), ("redis://h/one", "'one'"),
        ("redis://a,b", "several"), ("unix://", "socket"), ("redis+sentinel://a:1", "service"),
        ("redis://h?ssl_ca_certs=/x", "rediss://"), ("rediss://h?ssl_ca_certs=/not/there.pem", "/not/there.pem"),
        ("rediss://h?ssl_cert_reqs=maybe", "maybe"), ("rediss://h?ssl_check_hostname=maybe", "maybe"),
        ("redis://h?dbb=1", "dbb"), ("redis://h?db=-1", "-1"), ("redis://[::1", "not a URL"),
        ("redis+cluster://a,,b:x", "host or port"),
    ],
)  # fmt: skip
def test_an_unusable_url_is_told(url: str, told: str) -> None:
    with pytest.raises(InvalidInput, match="URL of the online store") as error:
        parse_online_url(url)
    assert told in error.value.message
    assert error.value.hint


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8")))
def test_passwords_come_back_and_are_never_shown(password: str, user: str) -> None:
    found = parse_online_url(f"redis://{quote(user, '')}:{quote(password, '')}@h:1/0")
    assert (found.endpoints[0].username, found.endpoints[0].password) == (user, password)
    hidden = parse_online_url(f"redis://:{quote('PW' + password, '')}@h:1/0")
    assert "PW" not in f"{hidden!r} {hidden.name}"


def test_an_unusable_url_is_not_repeated() -> None:
    for url in ("redis://u:sesame@h:port", "redis://u:sesame@h/x", "redis://u:sesame@h?x=1", "ftp://u:sesame@h"):
        with pytest.raises(InvalidInput) as error:
            parse_online_url(url)
        assert "sesame" not in f"{error.value} {error.value.details}"


def test_files_of_tls_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    assert parse_online_url(f"rediss://h?ssl_ca_certs={tmp_path}/ca.pem").endpoints[0].tls is not None


@given(st.binary() | st.text("a{}", max_size=8).map(str.encode))
def test_slots_are_those_of_redis_py(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)
