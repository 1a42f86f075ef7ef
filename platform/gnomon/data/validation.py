"""Judges raw rows: what can be read and keeps the source's rules becomes table rows, the rest rejects with a reason.

Called by `ingestion` and, within tasks, by `ray_ingestion`: the same function in both, so that where a row is judged
changes nothing. Whole columns are read and compared at once; only rejected rows are looked at one by one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.clocks import from_us
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME, Dtype
from gnomon.contracts.durations import duration_us
from gnomon.contracts.sources import DataSource
from gnomon.data.casting import ARROW_TYPES, Reading, flat, read_cells
from gnomon.data.column_reading import ColumnsRead, read_columns
from gnomon.data.contract_reports import Tally
from gnomon.data.digests import row_digests
from gnomon.data.field_rules import Fault, broken_rules
from gnomon.data.raw_rows import RawRows, Reject
from gnomon.data.row_rules import row_rules, rule_fault
from gnomon.data.source_files import FilePart
from gnomon.data.source_readers import read_part
from gnomon.data.text_steps import as_written
from gnomon.errors import InvalidInput, did_you_mean

FUTURE_TOLERANCE_US = 300_000_000
"""Five minutes: how far ahead of our clock an event may lie, because the clocks of two machines differ."""

TIME = ARROW_TYPES["timestamp"]
REJECT_FIELDS: tuple[tuple[str, pa.DataType], ...] = (
    ("file", pa.string()), ("line", pa.int64()), ("rule", pa.string()), ("reason", pa.string()), ("raw", pa.string()),
)  # fmt: skip
"""Columns of a quarantine table beside the system columns and `batch`."""


_SHOWN_LETTERS = 80


@dataclass(frozen=True)
class Judged:
    """The rows of one part, all of them in one of the two tables.

    Attributes:
        rows: Columns of the source and the system columns.
        rejects: System columns, with `<SHA-256 of the file>:<line>` as the id, and `REJECT_FIELDS`. What was extracted
            has `<place>:<digest>` instead: read again it is the same.
        tallies: How often each row rule of the contract was checked and broken, by its label.
        changed: How many values each transform of the source changed, in the order of declaration.
    """

    rows: pa.Table
    rejects: pa.Table
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    changed: tuple[int, ...] = ()


def table_schema(schema: Mapping[str, Dtype]) -> pa.Schema:
    """Return the Arrow schema of a source's table."""
    system = [
        (EVENT_TIME, TIME),
        (KNOWN_TIME, TIME),
        (INGESTED_AT, TIME),
        (EVENT_ID, pa.string()),
        (DIGEST, pa.string()),
    ]
    return pa.schema([*((name, ARROW_TYPES[dtype]) for name, dtype in schema.items()), *system])


def reject_schema() -> pa.Schema:
    """Return the Arrow schema of rejects."""
    return pa.schema([*list(table_schema({})), *REJECT_FIELDS])


def read_and_judge(part: FilePart, source: DataSource, schema: Mapping[str, Dtype], now_us: int) -> Judged:
    """Read the rows of a part and judge them; arguments and result as of `judge`, errors as of `read_part` too."""
    return judge(read_part(part, as_written(source, schema)), part, source, schema, now_us)


def judge(
    raw: RawRows, part: FilePart, source: DataSource, schema: Mapping[str, Dtype], now_us: int, *,
    refuse_zoneless: bool = True,
) -> Judged:  # fmt: skip
    """Split raw rows into table rows and rejects.

    Args:
        raw: What a reader found in the part.
        part: Where it was found.
        source: Its id, times and rules.
        schema: Types of all columns of the source.
        now_us: Becomes the ingestion time; event times more than five minutes later are refused.
        refuse_zoneless: Refuse a part of whose times none has a zone as a whole; else each of its rows.

    Returns:
        As many rows and rejects as the part has rows. A row that breaks several rules is rejected for the first.

    Raises:
        InvalidInput: The file lacks a required column, or not one time in it has a zone and none is declared.
    """
    require_columns(part, source)
    read = read_columns(raw, source, schema)
    if refuse_zoneless:
        _require_zones(raw, part, source, read.readings)
    columns = {name: reading.values for name, reading in read.readings.items()}
    event_time = columns[source.event_time]
    ids = event_ids([columns[name] for name in source.id])
    faults = broken_rules(source, schema, read.readings, ids, now_us + FUTURE_TOLERANCE_US)
    good = np.ones(raw.rows, dtype=bool)
    rejects = list(raw.rejects)
    for fault in faults:
        found = np.flatnonzero(fault.rows & good)
        good[found] = False
        rejects.extend(_rejects(raw, read, found, fault, event_time))
    tallies: dict[str, Tally] = {}
    for rule in row_rules(source):
        fault = rule_fault(source, rule, columns)
        found = np.flatnonzero(fault.rows & good)
        tallies[fault.rule] = Tally.of(int(good.sum()), len(found), ids.take(found[:5]).to_pylist())
        if rule.severity == "quarantine":
            good[found] = False
            rejects.extend(_rejects(raw, read, found, fault, event_time))
    known_time = _known_time(columns, source)
    system = [event_time, known_time, pa.array(np.full(raw.rows, now_us)).cast(TIME), ids]
    whole = pa.table([*columns.values(), *system, row_digests(columns)], schema=table_schema(schema))
    rows = whole if good.all() else whole.filter(pa.array(good))
    return Judged(rows, reject_table(rejects, part, now_us), tallies, read.changed)


def require_columns(part: FilePart, source: DataSource) -> None:
    """Refuse a file without one of the source's required columns; objects of JSON may lack any.

    Args:
        part: Any part of the file.
        source: Its required columns count.

    Raises:
        InvalidInput: It lacks one; the message names both.
    """
    for name in source.required_columns() if part.header else ():
        if name not in part.header:
            raise InvalidInput(
                f"source '{source.name}': {part.place()} has no column '{name}'", did_you_mean(name, part.header)
            )


def event_ids(parts: list[pa.Array]) -> pa.Array:
    """Join id columns to one text: injectively, with `|` between them and backslash before `|` and backslash within.

    A single column is taken as it is. Null, and an empty single id, give null.
    """
    texts = [read_cells(part, "string").values for part in parts]
    if len(texts) == 1:
        return pc.if_else(pc.equal(pc.utf8_length(texts[0]), 0), pa.scalar(None, pa.string()), texts[0])
    escaped = [pc.replace_substring(pc.replace_substring(text, "\\", "\\\\"), "|", "\\|") for text in texts]
    return pc.binary_join_element_wise(*escaped, "|")


def reject_table(rejects: list[Reject], part: FilePart, now_us: int) -> pa.Table:
    """Return rejects as rows of the quarantine table; an unknown event time becomes the ingestion time."""
    times = [reject.event_time_us if reject.event_time_us is not None else now_us for reject in rejects]
    digests = [_reject_digest(reject) for reject in rejects]
    names = [reject.line if not part.label else digest for reject, digest in zip(rejects, digests, strict=True)]
    columns = [
        pa.array(times, pa.int64()).cast(TIME),
        pa.array([now_us] * len(rejects), pa.int64()).cast(TIME),
        pa.array([now_us] * len(rejects), pa.int64()).cast(TIME),
        pa.array([f"{part.label or part.fingerprint}:{name}" for name in names], pa.string()),
        pa.array(digests, pa.string()),
        pa.array([part.label or part.path] * len(rejects), pa.string()),
        pa.array([reject.line for reject in rejects], pa.int64()),
        *(pa.array([getattr(r, name) for r in rejects], pa.string()) for name in ("rule", "reason", "raw")),
    ]
    return pa.table(columns, schema=reject_schema())


def _reject_digest(reject: Reject) -> str:
    return hashlib.sha256(f"{reject.rule}\n{reject.raw}".encode(errors="replace")).hexdigest()[:32]


def _known_time(columns: Mapping[str, pa.Array], source: DataSource) -> pa.Array:
    if source.known_time is not None:
        return columns[source.known_time]
    event_us = columns[source.event_time].cast(pa.int64())
    return pc.add(event_us, duration_us(source.known_delay)).cast(TIME)


def _require_zones(raw: RawRows, part: FilePart, source: DataSource, readings: Mapping[str, Reading]) -> None:
    """Refuse a part in which no time of a column has a zone: that is the source's nature, not one bad row."""
    for name, reading in readings.items():
        if reading.zoneless.any() and reading.values.null_count == raw.rows:
            example = flat(raw.columns[name])[int(np.flatnonzero(reading.zoneless)[0])].as_py()
            raise InvalidInput(
                f"source '{source.name}': the times in column '{name}' of {part.place()} have no zone, "
                f"such as '{example}'",
                f"declare it: DataSource('{source.name}', timezone='UTC', …)",
            )


def _rejects(
    raw: RawRows, read: ColumnsRead, found: npt.NDArray[np.int64], fault: Fault, event_time: pa.Array
) -> Iterator[Reject]:  # fmt: skip
    times_us = event_time.cast(pa.int64()).take(found).to_pylist()
    cells: list[Any]
    if fault.rule == "future":
        cells, times_us = [from_us(time_us).isoformat() for time_us in times_us], [None] * len(found)
    else:
        cells = read.quoted(raw, fault.column, found)
    for line, cell, text, time_us in zip(raw.lines[found], cells, raw.raw(found), times_us, strict=True):
        shown = str(cell) if len(str(cell)) <= _SHOWN_LETTERS else f"{str(cell)[:_SHOWN_LETTERS]}…"
        yield Reject(int(line), fault.rule, fault.reason.replace("{}", shown), text, time_us)
