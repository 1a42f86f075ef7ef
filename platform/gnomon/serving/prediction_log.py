"""OfflinePredictionLog: predictions and outcomes as tables of the offline store.

`predictions__<deployment>` has one row a prediction; model inputs are the columns `number.<input>` or `text.<input>`,
ages and statuses of looked-up inputs `age_us.<input>` and `status.<input>`, keys `key.<name>` as text.
`outcomes__<deployment>` has one row a reported outcome. Written by replicas and the gateway, read by monitoring.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.clocks import Clock, SystemClock
from gnomon.contracts.columns import EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.predictions import Outcome, PredictionPage, PredictionRecord
from gnomon.errors import Conflict, InvalidInput

_TIME = pa.timestamp("us", tz="UTC")
_FIXED = ("prediction_id", "version", "variant", "time_us", "output", "latency_us", "outcome")


class OfflinePredictionLog:
    """The `PredictionLog` over an offline store.

    Args:
        offline: Where the tables are.
        clock: Says when rows were stored.
    """

    def __init__(self, offline: OfflineStore, clock: Clock | None = None) -> None:
        self._offline = offline
        self._clock = clock or SystemClock()

    def append(self, deployment: str, records: Sequence[PredictionRecord], batch_id: str) -> None:
        """Store records durably; a repeated batch adds nothing."""
        if records:
            self._offline.append(predictions_table(deployment), _prediction_rows(records, self._clock), batch_id)

    def append_outcomes(self, deployment: str, outcomes: Sequence[Outcome], batch_id: str) -> int:
        """Store outcomes durably; those that say what is known already are left out.

        Args:
            deployment: The endpoint that predicted.
            outcomes: Of any predictions, logged yet or not; of several for one prediction the latest counts.
            batch_id: Names this batch; repeating it adds nothing.

        Returns:
            How many were new: another value than known, or of a prediction without one; 0 for a repeated batch.

        Raises:
            InvalidInput: A value is not finite.
        """
        for outcome in outcomes:
            if not math.isfinite(outcome.value):
                raise InvalidInput(
                    f"the outcome of prediction '{outcome.prediction_id}' is {outcome.value}", "give a finite number"
                )
        table = outcomes_table(deployment)
        while not self._offline.contains(table, batch_id):
            version = self._offline.version(table)
            newest = {o.prediction_id: o for o in sorted(outcomes, key=lambda o: o.time_us)}
            known = self._latest_values(table, version, list(newest))
            fresh = [o for o in newest.values() if known.get(o.prediction_id) != o.value]
            if not fresh:
                return 0
            try:
                rows = _outcome_rows(fresh, self._clock)
                done = self._offline.append(table, rows, batch_id, expected_version=version)
            except Conflict:
                continue  # somebody reported meanwhile; decide anew what is new
            return 0 if done.repeated else done.rows
        return 0

    def read(self, deployment: str, after_us: int, until_us: int) -> pa.Table:
        """Return predictions with their outcomes; see `PredictionLog.read`. Of a repeated id the latest counts."""
        table = predictions_table(deployment)
        if self._offline.version(table) < 0:
            return _empty()
        rows = _newest(self._offline.read(table, after_us=after_us, until_us=until_us))
        return self._as_told(rows.sort_by([(EVENT_TIME, "ascending"), (EVENT_ID, "ascending")]), deployment, until_us)

    def page(
        self, deployment: str, after_us: int, until_us: int, *, limit: int, before: tuple[int, str] | None = None
    ) -> PredictionPage:  # fmt: skip
        """Return the newest predictions of a period; see `PredictionLog.page`. Of the period only ids and times."""
        table = predictions_table(deployment)
        version = self._offline.version(table)
        if version < 0:
            return PredictionPage(_empty(), 0, is_last=True)
        wanted = [EVENT_ID, EVENT_TIME, INGESTED_AT]
        known = _newest(self._offline.read(
            table, columns=wanted, after_us=after_us, until_us=until_us, version=version
        ))  # fmt: skip
        older = _before(known, before)
        newest_first = [(EVENT_TIME, "descending"), (EVENT_ID, "descending")]
        listed = older.sort_by(newest_first).slice(0, limit)
        is_last = listed.num_rows == older.num_rows
        if not listed.num_rows:
            return PredictionPage(_empty(), known.num_rows, is_last)
        times = pc.min_max(listed[EVENT_TIME].cast(pa.int64())).as_py()
        rows = self._offline.read(table, after_us=times["min"] - 1, until_us=times["max"], version=version)
        rows = _newest(_rows_of(rows, listed[EVENT_ID].combine_chunks())).sort_by(newest_first)
        return PredictionPage(self._as_told(rows, deployment, until_us), known.num_rows, is_last)

    def _as_told(self, rows: pa.Table, deployment: str, until_us: int) -> pa.Table:
        """Return stored predictions as `read` promises them, in the order that they have."""
        columns = {
            "prediction_id": rows[EVENT_ID],
            "version": rows["version"],
            "variant": rows["variant"],
            "time_us": rows[EVENT_TIME].cast(pa.int64()),
            "output": rows["output"],
            "latency_us": rows["latency_us"],
            "outcome": self._outcomes_of(rows[EVENT_ID], deployment, until_us),
        }
        return pa.table({**columns, **_inputs(rows)})

    def _outcomes_of(self, ids: pa.ChunkedArray, deployment: str, until_us: int) -> pa.ChunkedArray | pa.Array:
        table = outcomes_table(deployment)
        if self._offline.version(table) < 0:
            return pa.nulls(len(ids), pa.float64())
        wanted = [EVENT_ID, EVENT_TIME, INGESTED_AT, "value"]
        known = _newest(_rows_of(self._offline.read(table, columns=wanted, until_us=until_us), ids.combine_chunks()))
        places = pc.index_in(ids, value_set=known[EVENT_ID].combine_chunks())
        return known["value"].combine_chunks().take(places.combine_chunks())

    def _latest_values(self, table: str, version: int, ids: Sequence[str]) -> dict[str, float]:
        if version < 0:
            return {}
        wanted = [EVENT_ID, EVENT_TIME, INGESTED_AT, "value"]
        rows = self._offline.read(table, columns=wanted, version=version)
        known = _newest(_rows_of(rows, pa.array(ids, rows[EVENT_ID].type)))
        return dict(zip(known[EVENT_ID].to_pylist(), known["value"].to_pylist(), strict=True))


def predictions_table(deployment: str) -> str:
    """Return the name of a deployment's table of predictions."""
    return f"predictions__{deployment}"


def outcomes_table(deployment: str) -> str:
    """Return the name of a deployment's table of outcomes."""
    return f"outcomes__{deployment}"


def _prediction_rows(records: Sequence[PredictionRecord], clock: Clock) -> pa.Table:
    times = pa.array([r.time_us for r in records], pa.int64()).cast(_TIME)
    columns: dict[str, Any] = {
        EVENT_TIME: times,
        KNOWN_TIME: times,
        INGESTED_AT: _now(len(records), clock),
        EVENT_ID: pa.array([r.prediction_id for r in records], pa.string()),
        "model": pa.array([r.model for r in records], pa.string()),
        "version": pa.array([r.version for r in records], pa.int64()),
        "variant": pa.array([r.variant for r in records], pa.string()),
        "output": pa.array([r.output for r in records], pa.float64()),
        "latency_us": pa.array([r.latency_us for r in records], pa.int64()),
    }
    for name in _names(r.keys for r in records):
        values = [r.keys.get(name) for r in records]
        columns[f"key.{name}"] = pa.array([None if v is None else str(v) for v in values], pa.string())
    for name in _names(r.inputs for r in records):
        column, kind = _input_column([r.inputs.get(name) for r in records])
        columns[f"{kind}.{name}"] = column
    for name in _names(r.age_us for r in records):
        columns[f"age_us.{name}"] = pa.array([r.age_us.get(name) for r in records], pa.int64())
    for name in _names(r.status for r in records):
        columns[f"status.{name}"] = pa.array([r.status.get(name) for r in records], pa.int8())
    return pa.table(columns)


def _names(mappings: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _input_column(values: list[Any]) -> tuple[pa.Array, str]:
    if any(isinstance(value, str) for value in values):
        return pa.array([None if v is None else str(v) for v in values], pa.string()), "text"
    return pa.array([None if v is None else float(v) for v in values], pa.float64(), from_pandas=True), "number"


def _outcome_rows(outcomes: Sequence[Outcome], clock: Clock) -> pa.Table:
    times = pa.array([o.time_us for o in outcomes], pa.int64()).cast(_TIME)
    return pa.table({
        EVENT_TIME: times,
        KNOWN_TIME: times,
        INGESTED_AT: _now(len(outcomes), clock),
        EVENT_ID: pa.array([o.prediction_id for o in outcomes], pa.string()),
        "value": pa.array([o.value for o in outcomes], pa.float64()),
    })  # fmt: skip


def _now(rows: int, clock: Clock) -> pa.Array:
    return pa.repeat(pa.scalar(clock.now_us(), pa.int64()), rows).cast(_TIME)


def _rows_of(rows: pa.Table, ids: pa.Array) -> pa.Table:
    """Keep the rows of some event ids, so that what comes after costs by them and not by the whole table."""
    return rows.filter(pc.is_in(rows[EVENT_ID], value_set=ids))


def _newest(rows: pa.Table) -> pa.Table:
    """Keep one row an event id: of the latest event time, then the latest stored."""
    order = pc.sort_indices(rows, [(EVENT_ID, "ascending"), (EVENT_TIME, "ascending"), (INGESTED_AT, "ascending")])
    rows = rows.take(order)
    ids = rows[EVENT_ID].combine_chunks()
    if len(ids) < 2:
        return rows
    is_last = np.append(pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False), True)
    return rows.filter(pa.array(is_last))


def _inputs(rows: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the columns of model inputs by input name.

    An input that was text in one version and a number in another is what most of these rows hold.
    """
    found: dict[str, pa.ChunkedArray] = {}
    for column in rows.column_names:
        kind, _, name = column.partition(".")
        if kind not in ("number", "text") or not name:
            continue
        if name not in found or rows[column].null_count < found[name].null_count:
            found[name] = rows[column]
    return found


def _before(rows: pa.Table, place: tuple[int, str] | None) -> pa.Table:
    """Keep the rows with a lesser (time, id)."""
    if place is None:
        return rows
    times = rows[EVENT_TIME].cast(pa.int64())
    has_lesser_id = pc.and_(pc.equal(times, place[0]), pc.less(rows[EVENT_ID], place[1]))
    return rows.filter(pc.or_(pc.less(times, place[0]), has_lesser_id))


def _empty() -> pa.Table:
    types = [pa.string(), pa.int64(), pa.string(), pa.int64(), pa.float64(), pa.int64(), pa.float64()]
    return pa.schema(list(zip(_FIXED, types, strict=True))).empty_table()
