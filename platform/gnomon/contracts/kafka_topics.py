"""KafkaTopic: the topic of a Kafka-compatible broker that a source's rows come from.

Part of `contracts.sources.DataSource`; read by `data.kafka_clients`. A definition is stored and shown, and so it names
the environment variables of secrets and never holds one.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from gnomon.contracts.columns import Dtype
from gnomon.contracts.specs import UNUSED, Part

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_HEADER = "header:"
_MESSAGE_TYPES: dict[str, Dtype] = {
    "key": "string", "timestamp": "timestamp", "partition": "int64", "offset": "int64"
}  # fmt: skip

_OPTIONS = re.compile(
    r"security\.protocol|isolation\.level|check\.crcs|enable\.ssl\.certificate\.verification"
    r"|(ssl|sasl|socket|fetch|reconnect|broker|client|metadata|connections)\..+|https\..+"
    r"|(receive\.message|message|max\.partition\.fetch)\..*bytes|api\.version\..+"
)
_SECRETS = re.compile(r".*(password|secret|passphrase).*|.*\.pem|sasl\.oauthbearer\.(config|extensions)")
_RUN_CODE = frozenset({"sasl.kerberos.kinit.cmd", "ssl.engine.location", "ssl.providers"})


def _as_servers(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


class KafkaTopic(Part, init=False):
    """A topic whose messages are the rows of a source, each a JSON object.

    Attributes:
        topic: Its name.
        servers: Where to begin to look for the cluster: `host:port`, or several of them.
        servers_env: Environment variable of the platform's processes with the same, where it differs by environment.
        format: How the value of a message is written: `json`, one object.
        columns: Columns that are taken from the message around the value: `key`, `timestamp`, `partition`, `offset` or
            `header:<name>` by the column's name. They win over members of the value of the same name.
        start: Where a source without a position begins: at the `earliest` message that is kept, or with those that come
            after the first look, `latest`.
        options: Properties of the client, librdkafka's, for security and the network, such as `security.protocol`.
        secrets: The same where the value is a secret: by property, the environment variable that holds it.

    Example:
        >>> KafkaTopic("taps", servers="kafka:9092", columns={"device": "key"}).column_types()
        {'device': 'string'}
    """

    positional: ClassVar[tuple[str, ...]] = ("topic",)
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    servers: Annotated[tuple[str, ...], BeforeValidator(_as_servers)] = ()
    servers_env: str | None = UNUSED
    format: Literal["json"] = "json"
    columns: dict[str, str] = Field(default_factory=dict)
    start: Literal["earliest", "latest"] = "earliest"
    options: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _servers_hold_no_secret(cls, values: Any) -> Any:
        """Refuse, first of all, what may have a password in it: no later error may show that."""
        servers = values.get("servers") if isinstance(values, dict) else None
        texts = _as_servers(servers) or ()
        if any(isinstance(text, str) and ("@" in text or "://" in text) for text in texts):
            raise ValueError("servers are written host:port, without a scheme and a user; secrets= names the rest")
        return values

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.servers) == (self.servers_env is not None):
            raise ValueError("give exactly one of servers and servers_env")
        for server in self.servers:
            if (found := _SERVER.fullmatch(server)) is None or not 0 < int(found.group(2)) < 65536:
                raise ValueError(f"server '{server}' is not written host:port")
        if self.servers_env is not None:
            _require_variable("servers_env", self.servers_env)
        return self

    @model_validator(mode="after")
    def _columns_known(self) -> Self:
        for name, part in self.columns.items():
            if part not in _MESSAGE_TYPES and not (part.startswith(_HEADER) and len(part) > len(_HEADER)):
                known = ", ".join([*_MESSAGE_TYPES, f"{_HEADER}<name>"])
                raise ValueError(f"column '{name}' is taken from '{part}', which no message has; it may be: {known}")
        return self

    @model_validator(mode="after")
    def _properties_allowed(self) -> Self:
        for name in (*self.options, *self.secrets):
            if name in _RUN_CODE or not _OPTIONS.fullmatch(name):
                raise ValueError(
                    f"the property '{name}' is not for a source to set: those of security (security.protocol, ssl.…, "
                    "sasl.…) and of the network (socket.…, client.…, fetch.…) are"
                )
        for name in self.options:
            if _SECRETS.fullmatch(name):
                raise ValueError(f"'{name}' is a secret: name its environment variable, secrets={{'{name}': 'NAME'}}")
        for name, variable in self.secrets.items():
            if name in self.options:
                raise ValueError(f"'{name}' is given twice, in options and in secrets")
            _require_variable(f"secrets['{name}']", variable)
        return self

    def column_types(self) -> dict[str, Dtype]:
        """Return the types of the columns that are taken from around the value, in the order of declaration."""
        return {name: _MESSAGE_TYPES.get(part, "string") for name, part in self.columns.items()}

    def place(self) -> str:
        """Return where the topic is, in words that hold no secret."""
        return f"topic '{self.topic}' of {','.join(self.servers) or self.servers_env}"

    def partition_place(self, partition: int) -> str:
        """Return the name of a partition as quarantine tables have it in `file`."""
        return f"topic {self.topic}, partition {partition}"


def header_of(part: str) -> str | None:
    """Return the name of the header that a column is taken from, None where it is from something else."""
    return part.removeprefix(_HEADER) if part.startswith(_HEADER) else None


def _require_variable(what: str, name: str) -> None:
    """Raise, without showing it, where a name may be the secret itself."""
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{what} is not the name of an environment variable: capital letters, digits and '_'")
