"""Settings: the one place that reads the environment.

Every setting has a variable `GNOMON_<NAME>`, a unit in its name where it has one, a default and a reason. Read by
`client`, `cli` and by every process that the platform starts (they inherit the variables).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gnomon.errors import InvalidInput, Unavailable


class Settings(BaseSettings):
    """All settings of the platform."""

    model_config = SettingsConfigDict(env_prefix="GNOMON_", extra="ignore", frozen=True)

    home: Path = Field(default=Path("~/.gnomon"), validate_default=True)
    """Folder of everything that the platform keeps: tables, artifacts, state, logs. One platform per home."""

    url: str | None = None
    """Address of the gateway; by default that of the platform running in `home`."""

    token: SecretStr | None = None
    """Access token; by default the one that `gnomon up` wrote into `home`, readable by its owner only."""

    state_url: SecretStr | None = None
    """SQLAlchemy URL of the state database (PostgreSQL); SQLite inside `home` by default, with full synchronisation."""

    online_url: SecretStr | None = None
    """URL of the online store: `redis://`, `rediss://`, `unix://`, `redis+cluster://` or `redis+sentinel://`, as in
    [The online store](online_store.md); an embedded Valkey on loopback with a password by default."""

    online_timeout_s: float = 0.5
    """Deadline of one online read. A feature read takes well under a millisecond; half a second is a dead server."""

    host: str = "127.0.0.1"
    """Address that the gateway listens on; beyond loopback only by choice. All routes but health ask for the token."""

    port: int = Field(default=8000, ge=0, le=65535)
    """Port of the gateway; 0 takes a free one."""

    dashboard_port: int = Field(default=8265, ge=0, le=65535)
    """Port of Ray's dashboard and of `ray job submit`; 0 takes a free one."""

    cpus: int | None = None
    """Logical CPUs that Ray offers; the machine's by default, and at least 2."""

    object_store_bytes: int = 200_000_000
    """Size of Ray's object store. Tables travel as files, so that little passes through it."""

    clock_file: Path | None = None
    """File of a `HandClock` for demos and tests; the system's clock by default."""

    local_rows: int = 2_000_000
    """Inputs up to this many rows are handled in one process, in bounded batches: below it a distributed job costs more
    to start than it saves."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged."""

    scrape: tuple[str, ...] = ()
    """Prometheus endpoints that the gateway's `/metrics` passes on, as a JSON list; `gnomon up` names Ray's."""

    poll_s: float = 0.5
    """Pause between two iterations of the control plane. Short, because an idle iteration costs a millisecond."""

    push_wait_s: float = Field(default=0.02, ge=0, le=1)
    """A push, or a message of a topic, waits this long for others to share its commit, which takes about as long and
    makes a file."""

    stream_cache_bytes: int = Field(default=256 * 2**20, gt=0)
    """Events that the stream consumer holds in memory for one view; entities without news make way first."""

    prediction_flush_s: float = 1.0
    """A prediction is in the offline store at the latest this long after it was answered."""

    @cached_property
    def folder(self) -> Path:
        """Return `home` as an absolute path."""
        return self.home.expanduser().resolve()


def access_token(settings: Settings) -> str:
    """Look up the platform's access token.

    Args:
        settings: The token itself, or the home whose file `token` holds it.

    Returns:
        The token as clients send it, in the clear.

    Raises:
        Unavailable: The settings name none, and none was made in this home yet.
    """
    if settings.token:  # an empty one would let everybody in
        return settings.token.get_secret_value()
    file = settings.folder / "token"
    if not file.is_file():
        raise Unavailable(
            f"there is no access token in {settings.folder}", "`gnomon up` makes one, or set GNOMON_TOKEN"
        )
    return file.read_text().strip()


def source_url(variable: str) -> str:
    """Look up the URL of a database that a source reads.

    Args:
        variable: Name of the environment variable, as the source's definition names it.

    Returns:
        The URL, with its password.

    Raises:
        InvalidInput: The variable is not set where this process was started.
    """
    return source_variable(variable, "the database's SQLAlchemy URL")


def source_variable(variable: str, meaning: str) -> str:
    """Look up a value that a source's definition names and does not hold, such as a password.

    Args:
        variable: Name of the environment variable.
        meaning: What it is, for the error.

    Returns:
        The value.

    Raises:
        InvalidInput: The variable is not set where this process was started.
    """
    value = os.environ.get(variable, "")
    if not value:
        raise InvalidInput(
            f"the environment variable {variable} is not set: it holds {meaning}",
            "set it before `gnomon up`: the platform's processes inherit it",
        )
    return value


@dataclass(frozen=True)
class ObjectStoreAccess:
    """How object stores are reached, where their own libraries do not look it up; equal while the environment is.

    Attributes:
        endpoint_url: URL of a server that speaks S3's protocol; empty for Amazon's.
        region: Of S3; empty where each bucket is to be asked.
        ca_file: Certificates to trust; empty for the system's.
        unsigned: Whether S3 is asked without credentials, as public buckets allow.
        azure_key: Key of the storage account.
        azure_sas: Token in place of the key.
        identity: Another number for other credentials.
    """

    endpoint_url: str
    region: str
    ca_file: str
    unsigned: bool
    azure_key: str = field(repr=False)
    azure_sas: str = field(repr=False)
    identity: int = field(repr=False)


def object_store_access() -> ObjectStoreAccess:
    """Read the variables that the tools of Amazon and Microsoft know; that S3 may go unsigned is said as in polars."""
    given = os.environ.get
    credentials = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")
    return ObjectStoreAccess(
        endpoint_url=given("AWS_ENDPOINT_URL_S3") or given("AWS_ENDPOINT_URL", ""),
        region=given("AWS_REGION") or given("AWS_DEFAULT_REGION", ""),
        ca_file=given("AWS_CA_BUNDLE", ""),
        unsigned=given("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true", "yes"),
        azure_key=given("AZURE_STORAGE_ACCOUNT_KEY", ""),
        azure_sas=given("AZURE_STORAGE_SAS_TOKEN", ""),
        identity=hash(tuple(given(name) for name in (*credentials, "GOOGLE_APPLICATION_CREDENTIALS"))),
    )


def load_settings() -> Settings:
    """Read the settings from the environment.

    Returns:
        Settings with defaults where the environment says nothing.

    Raises:
        InvalidInput: A variable has a value that cannot be used; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        variable = "GNOMON_" + "_".join(str(part) for part in first["loc"]).upper()
        raise InvalidInput(f"{variable}: {first['msg']} (got {first.get('input')!r})", "change or unset it") from error
