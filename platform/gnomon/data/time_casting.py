"""Reads columns of times as microseconds UTC, the rules in one place.

Called by `validation` for event times, known times and other timestamp columns, and by `source_schema`.

A time with a zone is taken as it is. A time without one is taken in the source's declared `timezone`; of the two
moments of an hour that a clock change repeats, the earlier; a time in the hour that it skips cannot be read. Where no
zone is declared, such times are marked, never guessed. Text is ISO 8601 or the source's `time_format`; a number is a
time only where that names a unit since 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.sources import EPOCH_UNITS_US, DataSource
from gnomon.data.casting import ARROW_TYPES, Mask, Reading, as_mask, null_texts_dropped, read_cells
from gnomon.errors import InvalidDefinition

_NAIVE = pa.timestamp("us")
_AWARE = ARROW_TYPES["timestamp"]
_YEAR_1_S, _YEAR_9999_S = -62_135_596_800, 253_402_300_799
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)$"
_ISO = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?$"


def read_times(cells: pa.Array, source: DataSource, *, is_event: bool) -> Reading:
    """Read a flat column of text, dates or timestamps as times.

    Args:
        cells: From `casting.flat`.
        source: Its `timezone` and `time_format` apply.
        is_event: Whether the column is the event time or known time. In another column a date without a zone is
            midnight UTC; here a date needs a zone like every time.

    Returns:
        Timestamps in microseconds UTC; finer units are cut off.

    Raises:
        InvalidDefinition: The zone is unknown, or the format is no strptime format.
    """
    if pa.types.is_timestamp(cells.type) and cells.type.tz is not None:
        return Reading.of(_in_microseconds(cells, _AWARE), cells)
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        naive = _in_microseconds(cells, _NAIVE)
        dates = np.full(len(cells), pa.types.is_date(cells.type))
        return _placed(cells, pa.nulls(len(cells), _AWARE), naive, dates, source, is_event)
    if pa.types.is_integer(cells.type) and source.time_format in EPOCH_UNITS_US:
        cells = cells.cast(pa.string())
    if cells.type != pa.string():
        return Reading.of(pa.nulls(len(cells), _AWARE), cells)
    texts = null_texts_dropped(cells)
    aware, naive = _read_iso(texts)
    rest = as_mask(pc.and_(texts.is_valid(), pc.and_(aware.is_null(), naive.is_null())))
    if source.time_format is not None and rest.any():
        formatted = _read_format(pc.if_else(pa.array(rest), texts, pa.scalar(None, pa.string())), source)
        if formatted.type == _AWARE:
            aware = pc.coalesce(aware, formatted.cast(_AWARE))
        else:
            naive = pc.coalesce(naive, formatted.cast(_NAIVE))
    dates = as_mask(pc.match_substring_regex(texts, _DATE))
    return _placed(texts, aware, naive, dates, source, is_event)


def _placed(
    cells: pa.Array, aware: pa.Array, naive: pa.Array, dates: Mask, source: DataSource, is_event: bool
) -> Reading:  # fmt: skip
    """Give naive times their zone, or mark them."""
    zoneless = as_mask(naive.is_valid())
    if source.timezone is not None:
        return Reading.of(pc.coalesce(aware, _localized(naive, source)), cells)
    if not is_event:
        midnights = pc.if_else(pa.array(dates), naive, pa.scalar(None, _NAIVE)).cast(_AWARE)
        aware, zoneless = pc.coalesce(aware, midnights), zoneless & ~dates
    return Reading.of(aware, cells, zoneless)


def _localized(naive: pa.Array, source: DataSource) -> pa.Array:
    series = pl.Series(values=naive, dtype=pl.Datetime("us"))
    try:
        placed = series.dt.replace_time_zone(source.timezone, ambiguous="earliest", non_existent="null")
    except pl.exceptions.ComputeError as error:
        raise InvalidDefinition(
            f"source '{source.name}': timezone '{source.timezone}' is not known",
            "name a zone of the IANA database, such as 'Europe/Berlin' or 'UTC'",
        ) from error
    return placed.dt.convert_time_zone("UTC").to_arrow().cast(_AWARE)


def _in_microseconds(cells: pa.Array, target: pa.DataType) -> pa.Array:
    """Cast to microseconds; finer units are cut off, and what is out of their range becomes null."""
    coarse = pa.types.is_date(cells.type) or cells.type.unit in ("s", "ms")
    try:
        return cells.cast(target, safe=coarse)
    except pa.ArrowInvalid:
        per_s = {"s": 1, "ms": 1000}[getattr(cells.type, "unit", "ms")]
        counts = cells.cast(pa.int64())
        fits = pc.and_(pc.greater_equal(counts, _YEAR_1_S * per_s), pc.less_equal(counts, _YEAR_9999_S * per_s))
        return pc.if_else(fits, cells, pa.scalar(None, cells.type)).cast(target)


def _read_iso(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the aware times and the naive times among ISO 8601 texts, each null elsewhere."""
    texts = pc.replace_substring_regex(texts, r"\s?(UTC|GMT|z)$", "Z")
    texts = pc.replace_substring_regex(texts, r"(\d{2}:\d{2})\s+([+-]\d{2})", r"\1\2")
    texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")
    iso = pc.match_substring_regex(texts, _ISO)
    zoned = pc.and_(iso, pc.match_substring_regex(texts, r":\d{2}(\.\d+)?" + _ZONE))
    nothing = pa.scalar(None, pa.string())
    aware = pc.if_else(zoned, texts, nothing)
    naive = pc.if_else(pc.and_not(iso, zoned), texts, nothing)
    return _cast_iso(aware, _AWARE), _cast_iso(naive, _NAIVE)


def _cast_iso(texts: pa.Array, target: pa.DataType) -> pa.Array:
    try:
        return texts.cast(target)
    except pa.ArrowInvalid:  # a text has the shape of a time and is none, such as a 30th of February
        return _each(texts, datetime.fromisoformat, target)


def _read_format(texts: pa.Array, source: DataSource) -> pa.Array:
    """Read texts by the source's strptime format, fast where polars reads the same as Python does."""
    time_format = source.time_format or ""
    if time_format in EPOCH_UNITS_US:
        return _read_epochs(texts, EPOCH_UNITS_US[time_format])
    try:
        datetime.strptime(datetime(2001, 2, 3, tzinfo=UTC).strftime(time_format), time_format)
    except ValueError as error:
        raise InvalidDefinition(
            f"source '{source.name}': time_format '{time_format}' is no strptime format: {error}",
            f"such as '%Y/%m/%d %H:%M', or one of {', '.join(EPOCH_UNITS_US)}",
        ) from error
    target = _AWARE if "%z" in time_format else _NAIVE
    fast_format = time_format.replace(".%f", "%.f").replace("%f", "%6f")
    series = pl.Series(values=texts, dtype=pl.String)
    try:
        fast = series.str.to_datetime(fast_format, strict=False, time_unit="us").to_arrow().cast(target)
    except pl.exceptions.PolarsError:  # a format that only Python's own strptime knows
        fast = pa.nulls(len(texts), target)
    rest = pc.if_else(fast.is_null(), texts, pa.scalar(None, pa.string()))
    if rest.null_count == len(rest):
        return fast
    return pc.coalesce(fast, _each(rest, lambda text: datetime.strptime(text, time_format), target))


def _read_epochs(texts: pa.Array, unit_us: int) -> pa.Array:
    """Read whole numbers of a unit since 1970; null where they are none or beyond the years 1 to 9999."""
    counts = read_cells(texts, "int64").values
    least, most = (seconds * 1_000_000 // unit_us for seconds in (_YEAR_1_S, _YEAR_9999_S))
    fits = pc.and_(pc.greater_equal(counts, least), pc.less_equal(counts, most))
    return pc.multiply(pc.if_else(fits, counts, pa.scalar(None, pa.int64())), unit_us).cast(_AWARE)


def _each(texts: pa.Array, read: Callable[[str], datetime], target: pa.DataType) -> pa.Array:
    """Read every distinct text by itself; null where that fails."""
    encoded = texts.dictionary_encode()
    values: list[datetime | None] = []
    for text in encoded.dictionary.to_pylist():
        try:
            values.append(read(text))
        except (ValueError, OverflowError):
            values.append(None)
    return pa.array(values, type=target).take(encoded.indices)
