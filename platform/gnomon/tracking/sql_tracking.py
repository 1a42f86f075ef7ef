"""SqlTracker: the `RunTracker` over the state database. Opened by `client` and by training workers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    ForeignKey,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from gnomon.contracts.clocks import Clock, from_us
from gnomon.contracts.registry import Run
from gnomon.errors import Conflict, unknown_name
from gnomon.storage.sql import SERIAL, create_tables, json_text, reading, transaction

METADATA = MetaData()
_RUNS = Table(
    "gnomon_runs",
    METADATA,
    Column("number", SERIAL, primary_key=True),
    Column("run_id", Text, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("parameters", Text, nullable=False),
    Column("error", Text, nullable=False),
)
_SERIES = Table(
    "gnomon_run_series",
    METADATA,
    Column("run_id", Text, ForeignKey(_RUNS.c.run_id), primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("value", Double),
)
_FINALS = Table(
    "gnomon_run_metrics",
    METADATA,
    Column("run_id", Text, ForeignKey(_RUNS.c.run_id), primary_key=True),
    Column("metric", Text, primary_key=True),
    Column("value", Double),
)


class SqlTracker:
    """Runs, their parameters and metrics; see `RunTracker` for what each method promises.

    A number that does not exist (NaN: training diverged) is kept and comes back as NaN.

    Args:
        engine: From `storage.sql.open_database`.
        clock: Tells when a run started and ended.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        create_tables(engine, METADATA)

    def start(self, run_id: str, model: str, parameters: Mapping[str, Any]) -> Run:
        """Begin a run, or set one that exists back to running; its start and its series stay."""
        fresh = {"state": "running", "finished_us": None, "parameters": json_text(dict(parameters)), "error": ""}
        now_us = self._clock.now_us()
        with transaction(self._engine) as connection:
            known = _find(connection, run_id)
            if known is None:
                connection.execute(insert(_RUNS).values(run_id=run_id, model=model, started_us=now_us, **fresh))
            elif known.model != model:
                hint = "a run trains one model: give each run an id of its own"
                raise Conflict(f"run '{run_id}' trains model '{known.model}', not '{model}'", hint)
            else:
                connection.execute(update(_RUNS).where(_RUNS.c.run_id == run_id).values(**fresh))
                connection.execute(delete(_FINALS).where(_FINALS.c.run_id == run_id))
            return _run(connection, _require(connection, run_id))

    def log(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics of a step; a metric logged again for it replaces the earlier value, others stay."""
        s = _SERIES.c
        with transaction(self._engine) as connection:
            _require(connection, run_id)
            again = (s.run_id == run_id) & (s.step == step) & s.metric.in_(list(metrics))
            connection.execute(delete(_SERIES).where(again))
            rows = [{"run_id": run_id, "step": step, "metric": k, "value": _stored(v)} for k, v in metrics.items()]
            if rows:
                connection.execute(insert(_SERIES), rows)

    def finish(self, run_id: str, metrics: Mapping[str, float], error: str = "") -> Run:
        """End a run: failed when there is an error, finished otherwise."""
        end = {"state": "failed" if error else "finished", "finished_us": self._clock.now_us(), "error": error}
        with transaction(self._engine) as connection:
            _require(connection, run_id)
            connection.execute(update(_RUNS).where(_RUNS.c.run_id == run_id).values(**end))
            connection.execute(delete(_FINALS).where(_FINALS.c.run_id == run_id))
            rows = [{"run_id": run_id, "metric": name, "value": _stored(v)} for name, v in metrics.items()]
            if rows:
                connection.execute(insert(_FINALS), rows)
            return _run(connection, _require(connection, run_id))

    def series(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return (step, value) by step; empty when the run never logged that metric."""
        s = _SERIES.c
        query = select(s.step, s.value).where(s.run_id == run_id, s.metric == metric).order_by(s.step)
        with reading(self._engine) as connection:
            _require(connection, run_id)
            return [(row.step, _read(row.value)) for row in connection.execute(query)]

    def runs(self, model: str | None = None) -> list[Run]:
        """Return runs, newest first."""
        query = select(_RUNS).order_by(_RUNS.c.number.desc())
        if model is not None:
            query = query.where(_RUNS.c.model == model)
        with reading(self._engine) as connection:
            return [_run(connection, row) for row in connection.execute(query).all()]


def _stored(value: float) -> float | None:
    # SQLite turns NaN into NULL; both databases are given NULL.
    return None if math.isnan(value) else float(value)


def _read(value: float | None) -> float:
    return math.nan if value is None else value


def _find(connection: Connection, run_id: str) -> Row[Any] | None:
    return connection.execute(select(_RUNS).where(_RUNS.c.run_id == run_id)).one_or_none()


def _require(connection: Connection, run_id: str) -> Row[Any]:
    row = _find(connection, run_id)
    if row is None:
        newest = select(_RUNS.c.run_id).order_by(_RUNS.c.number.desc()).limit(100)
        raise unknown_name("run", run_id, connection.execute(newest).scalars())
    return row


def _run(connection: Connection, row: Row[Any]) -> Run:
    finals = select(_FINALS.c.metric, _FINALS.c.value).where(_FINALS.c.run_id == row.run_id).order_by(_FINALS.c.metric)
    return Run(
        run_id=row.run_id,
        model=row.model,
        state=row.state,
        started=from_us(row.started_us),
        finished=None if row.finished_us is None else from_us(row.finished_us),
        parameters=json.loads(row.parameters),
        metrics={row.metric: _read(row.value) for row in connection.execute(finals)},
        error=row.error,
    )
