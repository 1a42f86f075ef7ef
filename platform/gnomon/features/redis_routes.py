"""Which server a command goes to: decisions only, so that blocking and asynchronous clients share them.

A route is a generator: it yields batches, which a client sends to their servers at once, and is sent one result per
batch. Driven by `features.redis_servers` and `features.async_redis_servers`; the cluster's is `features.cluster_route`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from gnomon.errors import Unavailable
from gnomon.features.redis_addresses import Endpoint, OnlineAddress
from gnomon.features.redis_failures import refused
from gnomon.features.redis_protocol import ReplyError, command

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Commands for one server, answered by one reply each."""

    endpoint: Endpoint
    commands: Sequence[bytes]


Result = list[Any] | Unavailable
"""The replies to a batch in order, or why there are none."""
Steps = Generator[Sequence[Batch], Sequence[Result], T]


class Route(Protocol):
    """Finds the servers of commands, and tries again where a server says that another is meant."""

    def exchange(self, commands: Sequence[bytes], keys: Sequence[bytes]) -> Steps[list[Any]]:
        """Return the replies to commands in their order; `keys` has one key of each command, or nothing at all."""
        ...

    def primaries(self) -> Steps[list[Endpoint]]:
        """Return the servers that together hold all keys."""
        ...

    def groups(self, keys: Sequence[bytes], most: int) -> list[Sequence[int]]:
        """Return indices of keys in groups of at most `most` that one script call may name, in order in each group."""
        ...


def slices_of(count: int, most: int) -> list[Sequence[int]]:
    """Return 0 … count − 1 in ranges of at most `most`."""
    return [range(start, min(start + most, count)) for start in range(0, count, most)]


class ServerRoute:
    """One server, always the same.

    Args:
        address: Of the kind `server`.
    """

    def __init__(self, address: OnlineAddress) -> None:
        self.endpoint = address.endpoints[0]

    def exchange(self, commands: Sequence[bytes], keys: Sequence[bytes]) -> Steps[list[Any]]:
        """Send all to the server; see `Route.exchange`."""
        return at_server(self.endpoint, commands)

    def primaries(self) -> Steps[list[Endpoint]]:
        """Return the server."""
        yield from ()
        return [self.endpoint]

    def groups(self, keys: Sequence[bytes], most: int) -> list[Sequence[int]]:
        """Return ranges; see `Route.groups`."""
        return slices_of(len(keys), most)


class SentinelRoute:
    """The primary of a service, which sentinels know; asked for again when the known one fails or turns read-only.

    Args:
        address: Of the kind `sentinel`.
    """

    def __init__(self, address: OnlineAddress) -> None:
        self._address = address
        self._sentinels = list(address.endpoints)
        self._primary: Endpoint | None = None

    def exchange(self, commands: Sequence[bytes], keys: Sequence[bytes]) -> Steps[list[Any]]:
        """Send all to the primary, and once more to another when there is one; see `Route.exchange`."""
        primary = self._primary or (yield from self._resolve())
        (result,) = yield [Batch(primary, commands)]
        if not _needs_another(result):
            return replies_of(result)
        self._primary = None
        try:
            another = yield from self._resolve()
        except Unavailable:
            return replies_of(result)  # says what failed first
        if another != primary:
            (result,) = yield [Batch(another, commands)]
        return replies_of(result)

    def primaries(self) -> Steps[list[Endpoint]]:
        """Return the primary of now."""
        return [(yield from self._resolve())]

    def groups(self, keys: Sequence[bytes], most: int) -> list[Sequence[int]]:
        """Return ranges; see `Route.groups`."""
        return slices_of(len(keys), most)

    def _resolve(self) -> Steps[Endpoint]:
        """Ask one sentinel after another."""
        service = self._address.service
        question = command(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service.encode())
        failures = []
        for sentinel in self._sentinels:
            (result,) = yield [Batch(sentinel, [question])]
            if isinstance(result, Unavailable):
                failures.append(result.message)
                # the next one to ask is another, since a frozen one takes the whole deadline
                self._sentinels = [*(other for other in self._sentinels if other != sentinel), sentinel]
            elif isinstance(result[0], ReplyError):
                failures.append(refused(sentinel.name, result[0]).message)
            elif isinstance(result[0], list):
                host, port = result[0]
                self._primary = replace(self._address.primary, host=host.decode(), port=int(port))
                return self._primary
        raise Unavailable(
            f"no sentinel of {self._address.name} names a primary of '{service}'"
            + (f": {'; '.join(failures)}" if failures else ""),
            "start the sentinels, or correct GNOMON_ONLINE_URL",
            {"address": self._address.name, "service": service},
        )


def at_server(server: Endpoint, commands: Sequence[bytes]) -> Steps[list[Any]]:
    """Send all to one server."""
    (result,) = yield [Batch(server, commands)]
    return replies_of(result)


def replies_of(result: Result) -> list[Any]:
    """Return the replies, or raise what there is instead."""
    if isinstance(result, Unavailable):
        raise result
    return result


def _needs_another(result: Result) -> bool:
    if isinstance(result, Unavailable):
        return True
    return any(isinstance(reply, ReplyError) and str(reply).startswith("READONLY") for reply in result)
