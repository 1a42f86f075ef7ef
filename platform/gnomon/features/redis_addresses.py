"""Where the online store's servers are: what its URL says, as plain values.

Used by `features.redis_servers` and `features.async_redis_servers`. The forms are described in
platform/docs/online_store.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from gnomon.errors import InvalidInput, did_you_mean

_HINT: Final = (
    "write it as redis://[user:password@]host:port/database, rediss://…, unix://…, redis+cluster://host:port,… "
    "or redis+sentinel://host:port,…/service/database"
)
_SCHEMES: Final = {
    "redis": "server", "rediss": "server", "unix": "server", "redis+cluster": "cluster", "rediss+cluster": "cluster",
    "redis+sentinel": "sentinel", "rediss+sentinel": "sentinel",
}  # fmt: skip
_TLS_PARAMETERS: Final = (
    "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname", "ssl_cert_reqs"
)  # fmt: skip
_SENTINEL_PARAMETERS: Final = ("sentinel_username", "sentinel_password")
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?")
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


@dataclass(frozen=True)
class Tls:
    """How a server proves who it is, and how we do; paths of PEM files, empty where there is none."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    key_password: str = field(default="", repr=False)
    check_hostname: bool = True
    verify: bool = True


@dataclass(frozen=True)
class Endpoint:
    """One server, and who we are to it; `path` is a Unix socket and stands for host and port."""

    host: str = "localhost"
    port: int = 6379
    path: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    database: int = 0
    tls: Tls | None = None
    is_primary: bool = False
    """Connections to a replica are refused."""

    @property
    def name(self) -> str:
        """Return `host:port` or the socket's path; never the password."""
        return self.path or f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class OnlineAddress:
    """What a URL says.

    Attributes:
        kind: One server, a cluster of which some nodes are named, or a service that sentinels know the primary of.
        endpoints: The server, the named nodes, or the sentinels.
        primary: For a service: credentials, database and TLS of its servers; host and port are not known.
        service: For a service: its name.
    """

    kind: Literal["server", "cluster", "sentinel"]
    endpoints: tuple[Endpoint, ...]
    primary: Endpoint = field(default_factory=Endpoint)
    service: str = ""

    @property
    def name(self) -> str:
        """Return all addresses, and the service; never a password."""
        names = ",".join(endpoint.name for endpoint in self.endpoints)
        return f"{names}/{self.service}" if self.service else names


def parse_online_url(url: str) -> OnlineAddress:
    """Read a URL of the online store.

    Args:
        url: One of the forms in platform/docs/online_store.md; user, password and paths are percent-encoded.

    Returns:
        Endpoints in the order of the URL.

    Raises:
        InvalidInput: It has another form, an unknown parameter, or names a file that is not there. The message never
            has the URL in it, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        parameters = {
            name: values[-1] for name, values in parse_qs(parts.query, True, strict_parsing=bool(parts.query)).items()
        }
    except ValueError as error:
        raise _unusable("it is not a URL") from error
    kind = _SCHEMES.get(parts.scheme)
    if kind is None:
        raise _unusable(f"its scheme is '{parts.scheme}'" if url.count("://") else "it has no scheme")
    known = ("db", *_TLS_PARAMETERS, *(_SENTINEL_PARAMETERS if kind == "sentinel" else ()))
    for name in parameters:
        if name not in known:
            raise InvalidInput(
                f"the URL of the online store has the unknown parameter '{name}'", did_you_mean(name, known)
            )
    user, hosts = _user_and_hosts(parts)
    if parts.scheme == "unix":
        path = unquote(f"{hosts}{parts.path}")
        if not path:
            raise _unusable("it names no socket")
        return OnlineAddress("server", (Endpoint(path=path, database=_database("", parameters), **user),))
    tls = _tls(parameters, parts.scheme.startswith("rediss"))
    places = [_host_and_port(text, 26379 if kind == "sentinel" else 6379) for text in hosts.split(",")]
    path = parts.path.strip("/")
    if kind != "sentinel":
        if kind == "server" and len(places) > 1:
            raise _unusable("it names several servers: use redis+cluster:// or redis+sentinel://")
        database = _database(path, parameters)
        endpoints = tuple(Endpoint(host, port, database=database, tls=tls, **user) for host, port in places)
        return OnlineAddress("cluster" if kind == "cluster" else "server", endpoints)
    service, _, path = path.partition("/")
    if not service:
        raise _unusable("it names no service of the sentinels")
    ours: dict[str, Any] = {
        "username": parameters.get("sentinel_username", ""),
        "password": parameters.get("sentinel_password", ""),
    }
    primary = Endpoint(database=_database(path, parameters), tls=tls, is_primary=True, **user)
    sentinels = tuple(Endpoint(host, port, tls=tls, **ours) for host, port in places)
    return OnlineAddress("sentinel", sentinels, primary, unquote(service))


def _user_and_hosts(parts: SplitResult) -> tuple[dict[str, Any], str]:
    user, _, hosts = parts.netloc.rpartition("@")
    username, _, password = user.partition(":")
    return {"username": unquote(username), "password": unquote(password)}, hosts


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or default) < 65536:
        raise _unusable("a host or port in it is not one")
    return found["host"].strip("[]") or "localhost", int(found["port"] or default)


def _database(path: str, parameters: Mapping[str, str]) -> int:
    text = parameters.get("db", path) or "0"
    if not (text.isascii() and text.isdigit()):
        raise _unusable(f"its database is '{text}' and not a number")
    return int(text)


def _tls(parameters: Mapping[str, str], wanted: bool) -> Tls | None:
    given = [name for name in _TLS_PARAMETERS if name in parameters]
    if not wanted:
        if given:
            raise _unusable(f"'{given[0]}' is for rediss://")
        return None
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if parameters.get(name) and not Path(parameters[name]).is_file():
            raise InvalidInput(
                f"the URL of the online store names '{parameters[name]}' as {name}, which is no file",
                "give the path of a PEM file",
            )
    requirement = parameters.get("ssl_cert_reqs", "required")
    if requirement not in ("required", "none"):
        raise _unusable(f"ssl_cert_reqs is '{requirement}' and neither 'required' nor 'none'")
    check = parameters.get("ssl_check_hostname", "true").lower()
    if check not in _TRUE + _FALSE:
        raise _unusable(f"ssl_check_hostname is '{check}' and neither 'true' nor 'false'")
    return Tls(
        parameters.get("ssl_ca_certs", ""), parameters.get("ssl_certfile", ""), parameters.get("ssl_keyfile", ""),
        parameters.get("ssl_password", ""), check in _TRUE and requirement == "required", requirement == "required",
    )  # fmt: skip


def _unusable(why: str) -> InvalidInput:
    return InvalidInput(f"the URL of the online store cannot be used: {why}", _HINT)
