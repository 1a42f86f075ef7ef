"""How the online store is reached: TLS, users and sockets on real servers, and what is told when one is wrong."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.loop_store import LoopStore, open_loop_store
from tests.redis_topologies import HOST, PASSWORD, RunningServer, redis_with_tls

from gnomon.errors import Unavailable
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.testing.online_rows import layout_of, read, table_of, values_of

LAYOUT = layout_of({"i": "int64"})
Store = RedisOnlineStore | LoopStore
Make = Callable[[str, str, float], Store]
USER, USER_PASSWORD = "features", "sesame/@:?"
QUOTED = "sesame%2F%40%3A%3F"


@pytest.fixture(params=[RedisOnlineStore, open_loop_store], ids=["blocking", "async"])
def make(request: pytest.FixtureRequest) -> Make:
    """The class of a store: the blocking one, or the asynchronous one in a loop of its own."""
    made: Make = request.param
    return made


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _authority(folder: Path, name: str) -> None:
    _openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
    )  # fmt: skip


def _certificate(folder: Path, name: str, authority: str, names: str) -> None:
    (folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
    _openssl(
        folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key",
        "-out", f"{name}.csr", "-subj", f"/CN={name}",
    )  # fmt: skip
    _openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
        "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
    )  # fmt: skip


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, a server's and a client's certificate of the first, a client's of the second."""
    folder = tmp_path_factory.mktemp("certificates")
    for authority in ("ours", "theirs"):
        _authority(folder, authority)
    _certificate(folder, "server", "ours", f"IP:{HOST}")
    _certificate(folder, "client", "ours", "DNS:client")
    _certificate(folder, "stranger", "theirs", "DNS:stranger")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[RunningServer]:
    """A server that asks for TLS, and for a client's certificate."""
    lines = [
        "port 0", f"requirepass {PASSWORD}", 'save ""',
        *(f"tls-{what}-file {certificates}/{name}" for what, name in
          (("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ours.pem"))),
    ]  # fmt: skip
    running = RunningServer(tmp_path_factory.mktemp("tls"), binary=redis_with_tls(), lines=lines, port_line="tls-port")
    with running:
        yield running


def tls_store(
    make: Make, server: RunningServer, certificates: Path, parameters: str, host: str = HOST
) -> RedisOnlineStore | LoopStore:
    url = f"rediss://:{PASSWORD}@{host}:{server.port}?{parameters.replace('@', f'{certificates}/')}"
    return make(url, "p", 3.0)


CLIENT = "&ssl_certfile=@client.pem&ssl_keyfile=@client.key"


def test_tls_with_certificates_of_both_sides(make: Make, server: RunningServer, certificates: Path) -> None:
    store = tls_store(make, server, certificates, "ssl_ca_certs=@ours.pem" + CLIENT)
    store.clear(LAYOUT)
    rows = [{"id": n, "at": 1, "i": n} for n in range(20_000)]  # a reply of many TLS records
    assert store.write(LAYOUT, table_of(LAYOUT, rows)).written_rows == len(rows)
    assert values_of(read(store, [LAYOUT], *range(len(rows))), "spend.i") == list(range(len(rows)))


@pytest.mark.parametrize("parameters", ["ssl_cert_reqs=none", "ssl_ca_certs=@ours.pem&ssl_check_hostname=false"])
def test_checks_can_be_left_out(make: Make, server: RunningServer, certificates: Path, parameters: str) -> None:
    tls_store(make, server, certificates, parameters + CLIENT, "localhost").ping()


@pytest.mark.parametrize(
    ("parameters", "host", "told", "hint"),
    [
        (CLIENT, HOST, "certificate that cannot be verified", "ssl_ca_certs"),
        ("ssl_ca_certs=@theirs.pem" + CLIENT, HOST, "certificate that cannot be verified", "ssl_ca_certs"),
        ("ssl_ca_certs=@ours.pem" + CLIENT, "localhost", "certificate that cannot be verified", "host as in"),
        ("ssl_ca_certs=@ours.pem", HOST, "TLS", "ssl_certfile"),
        ("ssl_ca_certs=@ours.pem&ssl_certfile=@stranger.pem&ssl_keyfile=@stranger.key", HOST, "TLS", "ssl_certfile"),
    ],
)
def test_a_wrong_certificate_is_told(
    make: Make, server: RunningServer, certificates: Path, parameters: str, host: str, told: str, hint: str
) -> None:
    with pytest.raises(Unavailable) as error:
        tls_store(make, server, certificates, parameters.lstrip("&"), host).ping()
    assert told in error.value.message
    assert f"{host}:{server.port}" in error.value.message
    assert hint in error.value.hint
    assert PASSWORD not in f"{error.value} {error.value.details}"


def test_tls_where_there_is_none_and_none_where_there_is(make: Make, server: RunningServer, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot be reached|does not speak"):
        make(f"redis://:{PASSWORD}@{HOST}:{server.port}", "p", 3.0).ping()
    with RunningServer(tmp_path, [f"requirepass {PASSWORD}"]) as plain, pytest.raises(Unavailable, match="TLS"):
        make(f"rediss://:{PASSWORD}@{HOST}:{plain.port}", "p", 3.0).ping()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a user of little rights, and a socket."""
    folder = tmp_path_factory.mktemp("plain")
    rules = "~g:shop:* +hmget +hget +hset +hdel +hkeys +eval +evalsha +scan +ping +select"
    lines = [
        f"requirepass {PASSWORD}", 'save ""', f"unixsocket {folder}/valkey.sock",
        f'user {USER} on ">{USER_PASSWORD}" {rules}',
    ]  # fmt: skip
    with RunningServer(folder, lines) as running:
        yield running


def test_a_user_with_the_documented_rights_does_everything(make: Make, plain: RunningServer) -> None:
    store = make(f"redis://{USER}:{QUOTED}@{HOST}:{plain.port}/1", "shop", 3.0)
    store.ping()
    rows = table_of(LAYOUT, [{"id": 1, "at": 1, "i": 5}, {"id": 2, "at": 1, "i": 6}])
    assert store.write(LAYOUT, rows).written_rows == 2
    assert store.delete(LAYOUT, table_of(LAYOUT, [{"id": 2, "at": 2}])).written_rows == 1
    assert values_of(read(store, [LAYOUT], 1, 2), "spend.i") == [5, None]
    assert store.clear(LAYOUT) == 1


def test_a_user_without_rights_is_told(make: Make, plain: RunningServer) -> None:
    store = make(f"redis://{USER}:{QUOTED}@{HOST}:{plain.port}", "other", 3.0)
    with pytest.raises(Unavailable, match="NOPERM") as error:
        read(store, [LAYOUT], 1)
    assert "grant" in error.value.hint


@pytest.mark.parametrize("user", [f"{USER}:not-sesame", "nobody:not-sesame", ":not-sesame"])
def test_a_wrong_user_or_password_is_told(make: Make, plain: RunningServer, user: str) -> None:
    store = make(f"redis://{user}@{HOST}:{plain.port}", "shop", 3.0)
    with pytest.raises(Unavailable, match="refuses the password") as error:
        store.ping()
    assert "not-sesame" not in f"{error.value} {error.value.details}"


def test_no_password_where_one_is_asked_for(make: Make, plain: RunningServer) -> None:
    with pytest.raises(Unavailable, match="NOAUTH") as error:
        make(f"redis://{HOST}:{plain.port}", "shop", 3.0).ping()
    assert "give it" in error.value.hint


def test_a_database_that_is_not_there(make: Make, plain: RunningServer) -> None:
    with pytest.raises(Unavailable, match="no database 999"):
        make(f"redis://:{PASSWORD}@{HOST}:{plain.port}/999", "shop", 3.0).ping()


def test_a_socket(make: Make, plain: RunningServer) -> None:
    path = plain.folder / "valkey.sock"
    store = make(f"unix://{USER}:{QUOTED}@{path}", "shop", 3.0)
    store.write(LAYOUT, table_of(LAYOUT, [{"id": 3, "at": 1, "i": 7}]))
    assert values_of(read(store, [LAYOUT], 3), "spend.i") == [7]


def test_a_socket_that_is_not_there(make: Make, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"none\.sock.*FileNotFoundError"):
        make(f"unix://:{PASSWORD}@{tmp_path}/none.sock", "shop", 3.0).ping()
