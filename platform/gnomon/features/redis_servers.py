"""All servers of an online store, blocking: routes commands to them and runs the batches of a route at once.

Used by `features.redis_online_store`; `features.async_redis_servers` is its twin for coroutines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from gnomon.errors import Unavailable
from gnomon.features.cluster_route import ClusterRoute
from gnomon.features.redis_addresses import Endpoint, OnlineAddress, parse_online_url
from gnomon.features.redis_connections import RedisConnections, SentRequest
from gnomon.features.redis_failures import unanswered
from gnomon.features.redis_routes import Batch, Result, Route, SentinelRoute, ServerRoute, Steps, at_server
from gnomon.features.store_operations import Ask

T = TypeVar("T")


def route_of(address: OnlineAddress) -> Route:
    """Return the route for an address of any kind."""
    routes: dict[str, Callable[[OnlineAddress], Route]] = {
        "server": ServerRoute, "cluster": ClusterRoute, "sentinel": SentinelRoute
    }  # fmt: skip
    return routes[address.kind](address)


def steps_of(route: Route, ask: Ask) -> Steps[list[Any]]:
    """Return the steps by which a route answers; see `Ask`."""
    if not ask.commands:
        return route.primaries()
    return route.exchange(ask.commands, ask.keys) if ask.server is None else at_server(ask.server, ask.commands)


def late(batch: Batch, timeout_s: float) -> Unavailable:
    """Return the result of a batch that is not sent any more; says nothing about its server."""
    return unanswered(batch.endpoint.name, timeout_s, TimeoutError())


class RedisServers:
    """The servers behind one URL, shared by all threads of a process.

    Args:
        url: See `features.redis_addresses.parse_online_url`.
        timeout_s: For messages: the deadline that callers usually give.

    Attributes:
        address: `host:port` of all servers that the URL names; never the password.

    Raises:
        InvalidInput: The URL cannot be used.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        place = parse_online_url(url)
        self.address = place.name
        self._timeout_s = timeout_s
        self._route = route_of(place)
        self._pools: dict[Endpoint, RedisConnections] = {}
        self._only = self._pool(place.endpoints[0]) if place.kind == "server" else None

    def exchange(self, ask: Ask) -> list[Any]:
        """Send commands to their servers and return the replies in order.

        A reply may be a `hiredis.ReplyError`. Commands may be sent twice: when a connection was lost, or a server
        names another.

        Args:
            ask: What to send, and the deadline of the whole exchange.

        Returns:
            One reply per command, strings as bytes; or the endpoints of the servers that together hold all keys.

        Raises:
            Unavailable: A server that is needed does not answer in time.
        """
        deadline_s = time.monotonic() + ask.timeout_s
        if self._only is not None and ask.commands:
            return self._only.exchange(b"".join(ask.commands), len(ask.commands), deadline_s)
        return self._drive(steps_of(self._route, ask), deadline_s)

    def groups(self, keys: Sequence[bytes], most: int) -> list[Sequence[int]]:
        """Return indices of keys in groups that one script call may name, at most `most` in each."""
        return self._route.groups(keys, most)

    def close(self) -> None:
        """Close the idle connections; the next exchange opens new ones."""
        for pool in list(self._pools.values()):
            pool.close()

    def _pool(self, endpoint: Endpoint) -> RedisConnections:
        pool = self._pools.get(endpoint)
        return pool or self._pools.setdefault(endpoint, RedisConnections(endpoint, self._timeout_s))

    def _drive(self, steps: Steps[T], deadline_s: float) -> T:
        try:
            batches = next(steps)
            while True:
                batches = steps.send(self._perform(batches, deadline_s))
        except StopIteration as end:
            value: T = end.value
            return value

    def _perform(self, batches: Sequence[Batch], deadline_s: float) -> list[Result]:
        """Send to all servers, then read from each: they work at the same time, and read whatever we send meanwhile."""
        if time.monotonic() >= deadline_s:
            return [late(batch, self._timeout_s) for batch in batches]
        waiting: list[tuple[RedisConnections, SentRequest | Unavailable]] = []
        results: list[Result] = []
        try:
            for batch in batches:
                pool = self._pool(batch.endpoint)
                try:
                    sent = pool.send(b"".join(batch.commands), len(batch.commands), deadline_s)
                    waiting.append((pool, sent))
                except Unavailable as error:
                    waiting.append((pool, error))
            for pool, request in waiting:
                try:
                    results.append(request if isinstance(request, Unavailable) else pool.receive(request))
                except Unavailable as error:
                    results.append(error)
            return results
        finally:
            for pool, request in waiting[len(results) :]:
                if isinstance(request, SentRequest):
                    pool.abandon(request)
