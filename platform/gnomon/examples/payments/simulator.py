"""Simulates card payments and their fraud reports, for the example app `payments` and for tests.

This is a simulator of our own, no real data: everything that it yields is made up from a seed. It is written in the
spirit of the simulator in the open "fraud detection handbook": customers with a home, a spend level and a frequency
pay at terminals near them, and fraudsters follow a few scenarios (`world`). Each day is generated from seeds of its
own, so a longer simulation begins with the shorter one, and a drift changes nothing before its day.

The example's demo, its app file's tests and benchmarks call `simulate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.errors import InvalidInput, did_you_mean
from gnomon.examples.payments.world import DAY_S, NEAR_TERMINALS, Day, Stream, populate, random_of, simulate_day

REPORT_DELAY = timedelta(days=7)

_US_PER_S = 1_000_000
_TIME = pa.timestamp("us", tz="UTC")
_DRIFT_KINDS = ("concept", "benign")
_LATE_RATIO = 0.03  # of the payments are ingested hours late


@dataclass(frozen=True)
class Drift:
    """A change of the world from the first second of a day on.

    Args:
        kind: `concept` changes what fraud looks like: stolen cards and large amounts give way to card testing, while
            honest amounts rise by 75 %; a model from before loses, a model trained on the new days recovers.
            `benign` is a price rise: every amount, honest or not, is multiplied by 1.5; the inputs shift and what
            separates fraud stays.
        from_day: First day of the change, counted from 0 at the simulation's start.
    """

    kind: Literal["concept", "benign"]
    from_day: int


@dataclass(frozen=True)
class Payments:
    """What a simulation yields, as two tables, each sorted by the time at which its rows come into being.

    Args:
        payments: `tx_id` (string, unique), `customer_id`, `terminal_id`, `amount` (> 0, two decimals), `currency`,
            `paid_at`, `ingested_at`; sorted by `paid_at`. A few percent are ingested hours late.
        fraud_reports: `tx_id`, `customer_id`, `terminal_id`, `amount`, `paid_at`, `is_fraud`, `reported_at`; exactly
            one row per payment, `reported_at` = `paid_at` + 7 days; sorted by `reported_at`.
    """

    payments: pa.Table
    fraud_reports: pa.Table

    def between(self, start: datetime, end: datetime) -> Payments:
        """Return the payments paid and the reports made in `[start, end)`; adjoining periods share no row.

        Args:
            start: Aware time of the first instant that is in.
            end: Aware time of the first instant that is out.

        Returns:
            Both tables in their order. The reports of a period belong to the payments of seven days earlier.

        Raises:
            InvalidInput: A time has no zone.
        """
        return Payments(
            _rows_between(self.payments, "paid_at", start, end),
            _rows_between(self.fraud_reports, "reported_at", start, end),
        )

    def reports_on(self, start: datetime, end: datetime) -> pa.Table:
        """Return the reports on the payments paid in `[start, end)`, whenever they were made.

        Args:
            start: Aware time of the first instant that is in.
            end: Aware time of the first instant that is out.

        Returns:
            Rows of `fraud_reports`, in the order of the payments.

        Raises:
            InvalidInput: A time has no zone.
        """
        return _rows_between(self.fraud_reports, "paid_at", start, end)


def simulate(
    seed: int,
    start: datetime,
    days: int,
    customers: int = 400,
    terminals: int = 150,
    drift: Drift | Sequence[Drift] | None = None,
) -> Payments:
    """Simulate `days` days of payments; equal arguments give equal bytes.

    Args:
        seed: Seed of everything random, 0 or more.
        start: Midnight in UTC at which day 0 begins.
        days: Number of days, 1 or more. More days leave the earlier ones as they are.
        customers: Number of customers, 1 or more; each pays about 1.6 times a day. Ids count from 0.
        terminals: Number of terminals, 12 or more. Ids count from 0.
        drift: Changes on the way; several may be in force at once. None: the world stays as it is.

    Returns:
        About `1.6 * customers * days` payments, about 2 to 4 % of them fraud, and a report for each.

    Raises:
        InvalidInput: A number is out of range, a drift's kind is unknown, or `start` is not a midnight in UTC.

    Example:
        >>> from datetime import UTC, datetime
        >>> week = simulate(seed=1, start=datetime(2026, 1, 1, tzinfo=UTC), days=7, customers=20)
        >>> week.payments.num_rows == week.fraud_reports.num_rows
        True
    """
    drifts = [drift] if isinstance(drift, Drift) else list(drift or ())
    _check(seed, start, days, customers, terminals, drifts)
    population = populate(seed, customers, terminals)
    in_force = [{d.kind for d in drifts if d.from_day <= day} for day in range(days)]
    return _tables(seed, start, [simulate_day(seed, day, population, in_force[day]) for day in range(days)])


def _check(seed: int, start: datetime, days: int, customers: int, terminals: int, drifts: Sequence[Drift]) -> None:
    limits = [
        ("seed", seed, 0),
        ("days", days, 1),
        ("customers", customers, 1),
        ("terminals", terminals, NEAR_TERMINALS),
    ]
    limits += [("from_day", drift.from_day, 0) for drift in drifts]
    for name, value, least in limits:
        if value < least:
            raise InvalidInput(f"{name} is {value}", f"give {least} or more", {"name": name, "value": value})
    for drift in drifts:
        if drift.kind not in _DRIFT_KINDS:
            raise InvalidInput(f"there is no drift '{drift.kind}'", did_you_mean(drift.kind, _DRIFT_KINDS))
    if start.tzinfo is None or start.utcoffset() or start != start.replace(hour=0, minute=0, second=0, microsecond=0):
        raise InvalidInput(f"start is {start.isoformat()}", "give a midnight in UTC, such as 2026-01-01T00:00:00+00:00")


def _tables(seed: int, start: datetime, days: Sequence[Day]) -> Payments:
    start_us = int(start.timestamp()) * _US_PER_S
    tx_id: list[str] = []
    paid_us, ingested_us, in_order = [], [], []
    for number, day in enumerate(days):
        second_us = np.minimum((day.second * _US_PER_S).astype(np.int64), DAY_S * _US_PER_S - 1)
        order = np.argsort(second_us, kind="stable")
        paid_us.append(start_us + number * DAY_S * _US_PER_S + second_us[order])
        ingested_us.append(paid_us[-1] + _ingestion_delay_us(seed, number, len(order)))
        in_order.append(Day(*(getattr(day, f.name)[order] for f in fields(Day))))
        tx_id.extend(f"tx-{number:05d}-{row:06d}" for row in range(len(order)))
    paid_at = pa.array(np.concatenate(paid_us), _TIME)
    shared = {
        "tx_id": pa.array(tx_id, pa.string()),
        "customer_id": pa.array(np.concatenate([day.customer for day in in_order])),
        "terminal_id": pa.array(np.concatenate([day.terminal for day in in_order])),
        "amount": pa.array(np.concatenate([day.amount for day in in_order])),
    }
    ingested_at = pa.array(np.concatenate(ingested_us), _TIME)
    currency = pa.array(["EUR"] * len(tx_id), pa.string())
    is_fraud = pa.array(np.concatenate([day.fraud for day in in_order]))
    reported_at = pc.add(paid_at, pa.scalar(REPORT_DELAY, pa.duration("us")))
    return Payments(
        payments=pa.table({**shared, "currency": currency, "paid_at": paid_at, "ingested_at": ingested_at}),
        fraud_reports=pa.table({**shared, "paid_at": paid_at, "is_fraud": is_fraud, "reported_at": reported_at}),
    )


def _ingestion_delay_us(seed: int, day: int, rows: int) -> npt.NDArray[np.int64]:
    random = random_of(seed, Stream.INGESTION, day)
    usual_s, late_s = random.uniform(1, 180, rows), random.uniform(3_600, 12 * 3_600, rows)
    delay_s = np.where(random.random(rows) < _LATE_RATIO, late_s, usual_s)
    return np.asarray(delay_s * _US_PER_S, dtype=np.int64)


def _rows_between(table: pa.Table, column: str, start: datetime, end: datetime) -> pa.Table:
    for time in (start, end):
        if time.tzinfo is None:
            raise InvalidInput(
                f"{time.isoformat()} has no time zone", "give an aware time, such as one ending in +00:00"
            )
    inside = pc.and_(
        pc.greater_equal(table[column], pa.scalar(start, _TIME)), pc.less(table[column], pa.scalar(end, _TIME))
    )
    return table.filter(inside)
