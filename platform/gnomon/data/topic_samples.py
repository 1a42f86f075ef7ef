"""Looks at a topic before its source is applied: whether it can be read, and what its first messages hold.

Called by `source_schema`, and so by `gnomon plan` and `gnomon apply`.
"""

from __future__ import annotations

import time
from contextlib import closing

from gnomon.contracts.sources import DataSource
from gnomon.data.json_rows import parse_object
from gnomon.data.kafka_clients import topic_of
from gnomon.data.topic_positions import TopicPosition
from gnomon.data.topic_readers import FetchLimits, PositionLost, TopicReader
from gnomon.errors import InvalidInput

_ROWS = 1000
_LOOK_S = 5.0
_WAIT_S = 1.0


def first_values(source: DataSource, *, needed: bool) -> bytes:
    """Return values of messages that a topic holds, and find out whether it can be read at all.

    Args:
        source: Of format `kafka`; nothing is committed.
        needed: Whether the types of columns are to be found in the messages, because they are not declared.

    Returns:
        One JSON object a line, of up to about a thousand messages; none where nothing is needed.

    Raises:
        InvalidInput: The client cannot be made; or messages are needed, and there is none that is a JSON object.
        NotFound: There is no such topic.
        Forbidden: It may not be read.
        Unavailable: No broker answers.
    """
    with closing(TopicReader(source)) as reader:
        if not needed:
            reader.shape()
            return b""
        values = _read(reader)
    if not values:
        raise InvalidInput(
            f"source '{source.name}': {topic_of(source).place()} holds no JSON object that tells the types of columns",
            f"declare them: fields={{'{source.id[0]}': 'string', …}}",
        )
    return b"\n".join(values)


def _read(reader: TopicReader) -> list[bytes]:
    position = reader.begin(TopicPosition(number=0))  # not the first: from the earliest message on, whatever `start`
    ends = {partition: high for partition, (_, high) in reader.spans().items()}
    values: list[bytes] = []
    until_s = time.monotonic() + _LOOK_S
    while len(values) < _ROWS and time.monotonic() < until_s:
        if all(position.next_offsets[partition] >= end for partition, end in ends.items()):
            break
        try:
            fetch = reader.read(position, FetchLimits(rows=_ROWS), _WAIT_S)
        except PositionLost:
            position = reader.begin(position)
            continue
        position = fetch.position
        for message in fetch.messages:
            try:
                parse_object(message.value() or b"")
            except ValueError:
                continue  # it will be quarantined; here it tells no type
            values.append((message.value() or b"").replace(b"\n", b" ").replace(b"\r", b" "))
    return values
