"""The payments simulator keeps its promises: same bytes, prefixes, ranges, and drifts that move what they say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from gnomon.errors import InvalidInput
from gnomon.examples.payments.simulator import REPORT_DELAY, Drift, Payments, simulate

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 40
DRIFT_DAY = 25


def day(number: int) -> datetime:
    return START + timedelta(days=number)


@pytest.fixture(scope="module")
def calm() -> Payments:
    return simulate(seed=7, start=START, days=DAYS)


@pytest.fixture(scope="module")
def concept() -> Payments:
    return simulate(seed=7, start=START, days=DAYS, drift=Drift("concept", DRIFT_DAY))


@pytest.fixture(scope="module")
def benign() -> Payments:
    return simulate(seed=7, start=START, days=DAYS, drift=Drift("benign", DRIFT_DAY))


def as_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def amounts(table: pa.Table) -> npt.NDArray[np.float64]:
    return np.asarray(table["amount"], dtype=np.float64)


def stability_index(reference: npt.NDArray[np.float64], live: npt.NDArray[np.float64]) -> float:
    """Population stability index over the reference's deciles."""
    edges = np.quantile(reference, np.linspace(0.1, 0.9, 9))
    p, q = (np.bincount(np.searchsorted(edges, x), minlength=10) / len(x) + 1e-4 for x in (reference, live))
    return float(np.sum((q - p) * np.log(q / p)))


def rank_auc(score: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    ranks = np.empty(len(score))
    ranks[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    n = int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


def test_equal_arguments_give_equal_bytes(calm: Payments) -> None:
    again = simulate(seed=7, start=START, days=DAYS)
    assert as_bytes(again.payments) == as_bytes(calm.payments)
    assert as_bytes(again.fraud_reports) == as_bytes(calm.fraud_reports)


def test_another_seed_gives_other_payments(calm: Payments) -> None:
    assert not simulate(seed=8, start=START, days=DAYS).payments.equals(calm.payments)


@pytest.mark.parametrize("days", [1, 10, 33])
def test_a_longer_simulation_begins_with_the_shorter_one(calm: Payments, days: int) -> None:
    short = simulate(seed=7, start=START, days=days)
    rows = short.payments.num_rows
    assert short.payments.equals(calm.payments.slice(0, rows))
    assert short.fraud_reports.equals(calm.fraud_reports.slice(0, rows))
    assert calm.between(START, day(days)).payments.num_rows == rows


def test_columns_and_types(calm: Payments) -> None:
    time = pa.timestamp("us", tz="UTC")
    ids = [("tx_id", pa.string()), ("customer_id", pa.int64()), ("terminal_id", pa.int64()), ("amount", pa.float64())]
    assert calm.payments.schema.equals(
        pa.schema([*ids, ("currency", pa.string()), ("paid_at", time), ("ingested_at", time)])
    )
    assert calm.fraud_reports.schema.equals(
        pa.schema([*ids, ("paid_at", time), ("is_fraud", pa.bool_()), ("reported_at", time)])
    )
    assert calm.payments.num_rows == pytest.approx(640 * DAYS, rel=0.1)
    assert all(column.null_count == 0 for table in (calm.payments, calm.fraud_reports) for column in table.columns)


@pytest.mark.parametrize("world", ["calm", "concept", "benign"])
def test_ranges(world: str, request: pytest.FixtureRequest) -> None:
    payments: pa.Table = request.getfixturevalue(world).payments
    amount = amounts(payments)
    assert amount.min() > 0
    assert np.array_equal(amount, np.round(amount, 2))
    assert pc.count_distinct(payments["tx_id"]).as_py() == payments.num_rows
    for column, end in (("customer_id", 400), ("terminal_id", 150)):
        bounds = pc.min_max(payments[column]).as_py()
        assert bounds["min"] >= 0
        assert bounds["max"] < end
    paid_at = pc.min_max(payments["paid_at"]).as_py()
    assert paid_at["min"] >= START
    assert paid_at["max"] < day(DAYS)


def test_most_payments_are_ingested_within_minutes_and_a_few_percent_hours_late(calm: Payments) -> None:
    delay_us = np.asarray(pc.subtract(calm.payments["ingested_at"], calm.payments["paid_at"]).cast(pa.int64()))
    assert delay_us.min() > 0
    assert delay_us.max() <= 12 * 3_600_000_000
    assert 0.02 < np.mean(delay_us >= 3_600_000_000) < 0.04
    assert np.median(delay_us) < 180_000_000


@pytest.mark.parametrize("world", ["calm", "concept", "benign"])
def test_every_payment_has_exactly_one_report_seven_days_later(world: str, request: pytest.FixtureRequest) -> None:
    simulated: Payments = request.getfixturevalue(world)
    reports = simulated.fraud_reports
    for column in ("tx_id", "customer_id", "terminal_id", "amount", "paid_at"):
        assert reports[column].equals(simulated.payments[column])
    assert timedelta(days=7) == REPORT_DELAY
    assert set(pc.subtract(reports["reported_at"], reports["paid_at"]).to_pylist()) == {REPORT_DELAY}


@pytest.mark.parametrize("world", ["calm", "concept", "benign"])
def test_both_tables_are_sorted_by_time(world: str, request: pytest.FixtureRequest) -> None:
    simulated: Payments = request.getfixturevalue(world)
    for table, column in ((simulated.payments, "paid_at"), (simulated.fraud_reports, "reported_at")):
        assert (np.diff(np.asarray(table[column].cast(pa.int64()))) >= 0).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("drift", [None, Drift("concept", 0), Drift("benign", 0)])
def test_the_fraud_rate_is_two_to_four_percent(seed: int, drift: Drift | None) -> None:
    reports = simulate(seed=seed, start=START, days=DAYS, drift=drift).fraud_reports
    assert 0.02 < pc.mean(reports["is_fraud"]).as_py() < 0.04


def test_compromised_terminals_show_in_later_reports(calm: Payments) -> None:
    past, future = calm.reports_on(START, day(14)), calm.reports_on(day(14), day(21))
    terminal, fraud = np.asarray(past["terminal_id"]), np.asarray(past["is_fraud"], dtype=np.float64)
    paid = np.bincount(terminal, minlength=150)
    rate = np.bincount(terminal, weights=fraud, minlength=150) / (paid + 3)
    assert rank_auc(rate[np.asarray(future["terminal_id"])], np.asarray(future["is_fraud"])) > 0.6


def test_between_tiles_the_time_line(calm: Payments) -> None:
    periods = [calm.between(day(n), day(n + 10)) for n in range(0, DAYS + 10, 10)]
    assert pa.concat_tables([p.payments for p in periods]).equals(calm.payments)
    assert pa.concat_tables([p.fraud_reports for p in periods]).equals(calm.fraud_reports)
    assert periods[0].fraud_reports.num_rows == calm.between(START, day(3)).payments.num_rows


@pytest.mark.parametrize("kind", ["concept", "benign"])
def test_a_drift_leaves_the_days_before_it_alone(kind: str, calm: Payments, request: pytest.FixtureRequest) -> None:
    drifted: Payments = request.getfixturevalue(kind)
    before, expected = drifted.between(START, day(DRIFT_DAY)), calm.between(START, day(DRIFT_DAY))
    assert before.payments.equals(expected.payments)
    assert before.fraud_reports.equals(expected.fraud_reports)


def test_without_a_drift_amounts_are_stable(calm: Payments) -> None:
    before, after = calm.between(START, day(DRIFT_DAY)), calm.between(day(DRIFT_DAY), day(DAYS))
    assert stability_index(amounts(before.payments), amounts(after.payments)) < 0.05


def test_a_concept_drift_shifts_amounts_and_turns_fraud_around(calm: Payments, concept: Payments) -> None:
    before, after = concept.reports_on(START, day(DRIFT_DAY)), concept.reports_on(day(DRIFT_DAY), day(DAYS))
    assert stability_index(amounts(before), amounts(after)) > 0.25
    assert rank_auc(amounts(before), np.asarray(before["is_fraud"])) > 0.75
    assert rank_auc(amounts(after), np.asarray(after["is_fraud"])) < 0.35


def test_card_testing_comes_at_night_in_bursts_of_small_amounts(calm: Payments, concept: Payments) -> None:
    after = concept.reports_on(day(DRIFT_DAY), day(DAYS))
    small = after.filter(pc.and_(after["is_fraud"], pc.less(after["amount"], 12.01)))
    assert small.num_rows > 150
    hours = np.asarray(pc.hour(small["paid_at"]))
    assert np.mean(hours < 6) > 0.9
    nights = pa.table({"customer": small["customer_id"], "night": pc.floor_temporal(small["paid_at"], unit="day")})
    counts = nights.group_by(["customer", "night"]).aggregate([([], "count_all")])["count_all"]
    assert np.median(np.asarray(counts)) >= 3


def test_a_benign_drift_multiplies_every_amount_and_changes_nothing_else(calm: Payments, benign: Payments) -> None:
    before, after = benign.reports_on(START, day(DRIFT_DAY)), benign.reports_on(day(DRIFT_DAY), day(DAYS))
    expected = calm.reports_on(day(DRIFT_DAY), day(DAYS))
    assert stability_index(amounts(before), amounts(after)) > 0.25
    assert np.allclose(amounts(after), 1.5 * amounts(expected), atol=0.011)
    for column in ("tx_id", "customer_id", "terminal_id", "paid_at", "is_fraud", "reported_at"):
        assert after[column].equals(expected[column])


def test_drifts_add_up(concept: Payments) -> None:
    both = simulate(seed=7, start=START, days=DAYS, drift=[Drift("concept", DRIFT_DAY), Drift("benign", 30)])
    assert both.between(START, day(30)).payments.equals(concept.between(START, day(30)).payments)
    last, expected = both.between(day(30), day(DAYS)).payments, concept.between(day(30), day(DAYS)).payments
    assert np.allclose(amounts(last), 1.5 * amounts(expected), atol=0.011)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"days": 0}, "days is 0"),
        ({"customers": 0}, "customers is 0"),
        ({"terminals": 11}, "terminals is 11"),
        ({"drift": Drift("benign", -3)}, "from_day is -3"),
        ({"drift": Drift("conept", 3)}, "there is no drift 'conept'"),  # type: ignore[arg-type]
        ({"start": datetime(2026, 1, 1)}, "start is 2026-01-01T00:00:00"),
        ({"start": datetime(2026, 1, 1, 5, tzinfo=UTC)}, "start is 2026-01-01T05:00:00"),
    ],
)
def test_bad_arguments_are_named(changed: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"seed": 1, "start": START, "days": 1, **changed}
    with pytest.raises(InvalidInput, match=message):
        simulate(**arguments)  # type: ignore[arg-type]


def test_a_period_without_zone_is_refused(calm: Payments) -> None:
    with pytest.raises(InvalidInput, match="no time zone"):
        calm.between(datetime(2026, 1, 1), day(1))
