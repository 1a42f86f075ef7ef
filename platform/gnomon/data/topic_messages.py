"""Makes rows of the messages of a topic, and judges them by the rules of every source.

Called by `topic_batches`. What is no row goes to quarantine, with the partition as `file` and the offset as `line`: a
message without a value, one that is no JSON object, one whose key or header is not text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, Dtype
from gnomon.contracts.kafka_topics import KafkaTopic, header_of
from gnomon.contracts.sources import DataSource
from gnomon.data.json_rows import parse_object, read_json_lines
from gnomon.data.kafka_clients import topic_of
from gnomon.data.raw_rows import RawRows, Reject
from gnomon.data.source_files import FilePart
from gnomon.data.text_steps import as_written
from gnomon.data.validation import TIME, Judged, judge

if TYPE_CHECKING:
    from confluent_kafka import Message

_BOM = b"\xef\xbb\xbf"


def judge_messages(
    messages: Sequence[Message], source: DataSource, schema: Mapping[str, Dtype], now_us: int
) -> Judged:  # fmt: skip
    """Split messages into table rows and rejects.

    Args:
        messages: In any order.
        source: Its id, times and rules.
        schema: Types of all of its columns.
        now_us: Becomes the ingestion time.

    Returns:
        As many rows and rejects as there are messages. A reject's event time is the message's timestamp, and its id the
        partition and offset: read again it is the same.

    Raises:
        InvalidDefinition: A rule of the source cannot be applied.
    """
    topic = topic_of(source)
    part = FilePart("", "", "jsonl", 0, 0, 0, 0, len(messages), (), (0, 0), topic.place())
    raw = _raw_rows(messages, topic, as_written(source, schema))
    done = judge(raw, part, source, schema, now_us, refuse_zoneless=False)
    return replace(done, rejects=_placed(done.rejects, messages, topic)) if done.rejects.num_rows else done


def message_columns(messages: Sequence[Message], topic: KafkaTopic) -> dict[str, pa.Array]:
    """Return the columns that are taken from around the values, one cell a message; null where it has none.

    Args:
        messages: In any order; their keys and headers are text, or count as having none.
        topic: Says which columns.

    Returns:
        By name, text for keys and headers.
    """
    found: dict[str, pa.Array] = {}
    for name, part in topic.columns.items():
        if part == "timestamp":
            found[name] = pa.array([_timestamp_us(message) for message in messages], pa.int64()).cast(TIME)
        elif part in ("partition", "offset"):
            found[name] = pa.array([getattr(message, part)() for message in messages], pa.int64())
        else:
            found[name] = pa.array([_text(message, part) for message in messages], pa.string())
    return found


@dataclass(frozen=True)
class _Lines:
    """The values that may be rows, as one JSON text a line, and the numbers of their messages."""

    texts: list[bytes]
    numbers: list[int]
    rejects: list[Reject]


def _raw_rows(messages: Sequence[Message], topic: KafkaTopic, schema: Mapping[str, Dtype]) -> RawRows:
    """Read messages as rows, numbered by their place among them."""
    lines = _lines(messages, topic)
    within = {name: dtype for name, dtype in schema.items() if name not in topic.columns}
    read = read_json_lines(b"\n".join(lines.texts), within, 0)
    numbers = np.array(lines.numbers, dtype=np.int64)
    kept = numbers[read.lines]
    around = message_columns([messages[number] for number in kept], topic)
    rejects = [replace(reject, line=int(numbers[reject.line])) for reject in read.rejects]
    columns = {**read.columns, **{name: pa.chunked_array([array]) for name, array in around.items()}}

    def raw(positions: npt.NDArray[np.int64]) -> list[str]:
        return [(messages[kept[position]].value() or b"").decode(errors="replace") for position in positions]

    return RawRows(columns, len(kept), kept, (*lines.rejects, *rejects), raw)


def _lines(messages: Sequence[Message], topic: KafkaTopic) -> _Lines:
    lines = _Lines([], [], [])
    for number, message in enumerate(messages):
        value = message.value()
        fault = _fault(message, value, topic.columns.values())
        if value is not None and fault is None:
            value = value.removeprefix(_BOM)
            if not value.strip():
                fault = "json", "not a JSON object: the value is empty"
            elif b"\n" in value or b"\r" in value:  # between its parts, or it is none: text has no such letter in JSON
                try:
                    parse_object(value)
                except ValueError as error:
                    fault = "json", f"not a JSON object: {error}"
                value = value.replace(b"\n", b" ").replace(b"\r", b" ")
        if fault is not None:
            lines.rejects.append(Reject(number, *fault, _as_json(message)))
        else:
            assert value is not None, "a message without a value is at fault"
            lines.texts.append(value)
            lines.numbers.append(number)
    return lines


def _fault(message: Message, value: bytes | None, parts: Iterable[str]) -> tuple[str, str] | None:
    """Return the rule that a message breaks as a whole, and why."""
    if value is None:
        return "tombstone", "the message has no value: that deletes a key, and an event is not deleted"
    for part in parts:
        try:
            _text(message, part)
        except UnicodeDecodeError:
            return "text", f"the message's {part} is not UTF-8 text"
    return None


def _text(message: Message, part: str) -> str | None:
    """Return key or header as text; the last header of a name counts."""
    header = header_of(part)
    found: str | bytes | None = message.key() if part == "key" else None
    if header is not None:
        found = next((value for name, value in reversed(_headers(message)) if name == header), None)
    return found.decode() if isinstance(found, bytes) else found


def _headers(message: Message) -> list[tuple[str, str | bytes | None]]:
    found = message.headers() or []
    return list(found.items()) if isinstance(found, dict) else list(found)


def _timestamp_us(message: Message) -> int | None:
    """Return the message's timestamp; None for one in the format before timestamps."""
    kind, time_ms = message.timestamp()
    return time_ms * 1000 if kind and time_ms >= 0 else None


def _as_json(message: Message) -> str:
    shown: dict[str, Any] = {"key": _shown(message.key()), "value": _shown(message.value())}
    if headers := _headers(message):
        shown["headers"] = {name: _shown(value) for name, value in headers}
    return json.dumps(shown, ensure_ascii=False)


def _shown(text: bytes | str | None) -> str | None:
    return text.decode(errors="replace") if isinstance(text, bytes) else text


def _placed(rejects: pa.Table, messages: Sequence[Message], topic: KafkaTopic) -> pa.Table:
    """Name rejects by their places in the topic instead of their numbers among the messages."""
    found = [messages[number] for number in rejects["line"].to_pylist()]
    places = [topic.partition_place(message.partition()) for message in found]
    columns = {
        EVENT_TIME: pa.array([_timestamp_us(message) or 0 for message in found], pa.int64()).cast(TIME),
        EVENT_ID: pa.array([f"{place}:{m.offset()}" for place, m in zip(places, found, strict=True)], pa.string()),
        "file": pa.array(places, pa.string()),
        "line": pa.array([message.offset() for message in found], pa.int64()),
    }
    for name, array in columns.items():
        rejects = rejects.set_column(rejects.schema.get_field_index(name), rejects.schema.field(name), array)
    return rejects
