"""Commands of the Redis protocol as bytes, scripts, and the first words of a connection; no input or output.

Used by the stores, connections and routes of `features`, blocking and not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import hiredis

from gnomon.features.redis_addresses import Endpoint

_FEED_BYTES = 1 << 14
"""What the parser is given at once: with every reply it moves all that it still has to the front of its buffer."""

ReplyError = hiredis.ReplyError
"""What a server answers to a command that it refuses; its text begins with a code in capitals."""


def command(*parts: bytes) -> bytes:
    """Return one command as the server reads it."""
    body = b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])
    return b"*%d\r\n%b" % (len(parts), body)


class Script:
    """A Lua script of this package and the digest that servers know it by.

    Args:
        *names: Files in `gnomon.features`, one after the other.
    """

    def __init__(self, *names: str) -> None:
        self.text = b"".join(files("gnomon.features").joinpath(name).read_bytes() for name in names)
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Sequence[bytes], arguments: Sequence[bytes]) -> bytes:
        """Return the command that runs it, for a server that knows it."""
        return command(b"EVALSHA", self.digest, b"%d" % len(keys), *keys, *arguments)

    def teach(self, keys: Sequence[bytes], arguments: Sequence[bytes]) -> bytes:
        """Return the command that runs it and makes it known."""
        return command(b"EVAL", self.text, b"%d" % len(keys), *keys, *arguments)


def is_unknown_script(reply: Any) -> bool:
    """Return whether a reply says that the server does not know the script of an `EVALSHA`."""
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")


def greeting(endpoint: Endpoint) -> list[bytes]:
    """Return what a new connection says first, all at once: who we are and which database we want."""
    commands = []
    if endpoint.password or endpoint.username:
        user = [endpoint.username.encode()] if endpoint.username else []
        commands.append(command(b"AUTH", *user, endpoint.password.encode()))
    if endpoint.database:
        commands.append(command(b"SELECT", b"%d" % endpoint.database))
    if endpoint.is_primary:
        commands.append(command(b"ROLE"))
    if endpoint.tls is not None and not commands:
        commands.append(command(b"PING"))  # a certificate of ours that is refused shows with the first reply
    return commands


def parsed(reader: hiredis.Reader, received: bytes | bytearray, count: int) -> Iterator[Any]:
    """Yield the replies that are complete with what was received, in order; one may be a `ReplyError`.

    Args:
        reader: Of the connection; keeps the beginning of a reply that is not complete.
        received: Begins with the bytes that came.
        count: How many they are.

    Yields:
        Any: A reply as `hiredis` gives it.

    Raises:
        hiredis.ProtocolError: This is not the Redis protocol.
    """
    for start in range(0, count, _FEED_BYTES):
        reader.feed(received, start, min(_FEED_BYTES, count - start))  # type: ignore[arg-type]  # any buffer does
        while (reply := reader.gets()) is not False:
            yield reply


class GreetingRefused(ConnectionError):
    """A server did not accept the greeting.

    Args:
        why: What it does, as the end of a sentence.
        hint: What to do.
    """

    def __init__(self, why: str, hint: str) -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


def hung_up(error: OSError) -> OSError:
    """Return what is told of a server with TLS that ends the connection while it is greeted.

    Whether its alert or the end of the connection arrives first is a matter of chance.
    """
    if not isinstance(error, ConnectionError) or isinstance(error, GreetingRefused):
        return error
    return GreetingRefused(
        "ends the connection after the TLS handshake",
        "give ssl_certfile and ssl_keyfile in GNOMON_ONLINE_URL: it may ask for a certificate of its own authority",
    )


def check_greeting(endpoint: Endpoint, replies: Sequence[Any]) -> None:
    """Check the replies to `greeting`.

    Args:
        endpoint: The server that was greeted.
        replies: One per command, in order.

    Raises:
        GreetingRefused: It refuses the password or the database, or is a replica.
    """
    for reply in replies:
        if isinstance(reply, ReplyError):
            text = str(reply)
            if text.startswith("NOPERM") and endpoint.is_primary and reply is replies[-1]:
                continue  # the user may not ask for the role; a write to a replica says READONLY
            if text.startswith("NOAUTH"):
                continue  # as the first command will be told
            if "DB index" in text or text.startswith("ERR SELECT"):
                raise GreetingRefused(
                    f"has no database {endpoint.database}", "correct the database in GNOMON_ONLINE_URL"
                )
            if text.startswith("LOADING"):
                raise GreetingRefused("is still loading its data", "repeat when it has loaded")
            if text.startswith("NOPERM"):
                raise GreetingRefused("does not let the user choose a database", "grant the user SELECT")
            raise GreetingRefused("refuses the password", "correct the user and password in GNOMON_ONLINE_URL")
        if isinstance(reply, list) and endpoint.is_primary and reply[:1] != [b"master"]:
            raise GreetingRefused("is a replica", "repeat when the sentinels know the new primary")
