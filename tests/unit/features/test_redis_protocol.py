"""Replies are the same however the bytes arrive."""

from __future__ import annotations

import hiredis
from hypothesis import given
from hypothesis import strategies as st

from gnomon.features.redis_protocol import parsed

_values = st.one_of(st.none(), st.binary(max_size=40), st.integers(0, 60_000).map(lambda size: b"x" * size))
_replies = st.lists(st.lists(_values, max_size=4), max_size=30)


def _bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


@given(_replies, st.lists(st.integers(1, 300_000), min_size=1, max_size=20))
def test_replies_come_whole_and_in_order(replies: list[list[bytes | None]], sizes: list[int]) -> None:
    wire = b"".join(b"*%d\r\n%b" % (len(reply), b"".join(map(_bulk, reply))) for reply in replies)
    reader, got, start = hiredis.Reader(), [], 0
    buffer = bytearray(300_000)
    while start < len(wire):
        for size in sizes:
            part = wire[start : start + size]
            buffer[: len(part)] = part  # what lies behind it is of an earlier receive
            got += parsed(reader, buffer, len(part))
            start += size
    assert got == replies
