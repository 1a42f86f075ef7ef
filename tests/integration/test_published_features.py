"""Features of public data sets, from raw file to served value, equal to what others published or to plain Python."""

from __future__ import annotations

import csv
import math
import statistics
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.online_servers import online_server

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import SystemClock, to_us
from gnomon.data.ingest_reports import IngestReport
from gnomon.data.ingestion import ingest
from gnomon.data.source_schema import read_schema
from gnomon.features.materialization import materialize
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.read_plan import read_plan
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.request_features import compute_request_features
from gnomon.features.view_rows import REQUEST_TIME
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.online_rows import values_of

WEEK_S = 7 * 24 * 3600
DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with online_server("valkey", tmp_path_factory.mktemp("valkey")) as url:
        yield url


class Views:
    """One source, ingested, and its views, offline and online."""

    def __init__(self, root: Path, folder: Path, url: str, source: gn.DataSource, *more: Any) -> None:
        self.offline = DeltaTables(folder / "tables")
        self.online = RedisOnlineStore(url, uuid.uuid4().hex, 10.0)
        self.app = App.of("app", [source, *more]).with_schemas({source.name: read_schema(source, str(root))})
        self.report: IngestReport = ingest(
            source, str(root), self.offline, SystemClock(), local_rows=10**9, report=lambda line: None
        )

    def trained(self, key: str, asked: Sequence[tuple[Any, int]], lookups: Sequence[str]) -> dict[str, list[Any]]:
        """Look features up offline, for (key, time in microseconds) pairs."""
        keys, times_us = zip(*asked, strict=True)
        requests = pa.table({key: pa.array(keys), REQUEST_TIME: pa.array(times_us, pa.int64())})
        found = point_in_time_join(self.app, self.offline, requests, lookups, local_rows=10**9)
        return {name: found.column(name).to_pylist() for name in lookups}

    def served(
        self, view: str, key: str, asked: Sequence[Any], at_us: int, lookups: Sequence[str]
    ) -> dict[str, list[Any]]:
        """Materialize a view as of a moment and read it online."""
        materialize(self.app, view, self.offline, self.online, at_us)
        rows = self.online.read(read_plan(self.app, lookups), [{key: value} for value in asked], at_us)
        return {name: values_of(rows, name) for name in lookups}


def cdnow(shared_data: Path, folder: Path, url: str) -> Views:
    """The 1/10 sample, whose columns are separated by spaces, as CSV with a number for every line."""
    root = folder / "cdnow"
    root.mkdir()
    lines = (shared_data / "events" / "cdnow" / "CDNOW_sample.txt").read_text().split("\n")
    rows = [line.split() for line in lines if line.strip()]
    with (root / "purchases.csv").open("w", newline="") as file:
        csv.writer(file).writerows([
            ["line", "customer", "day", "cds", "dollars"],
            *([n, int(row[1]), date.fromisoformat(row[2]), *row[3:]] for n, row in enumerate(rows)),
        ])  # fmt: skip
    source = gn.DataSource("purchases", path="purchases.csv", id="line", event_time="day", timezone="UTC")
    customer = gn.Entity("buyer", key="customer")
    first, last = gn.col("first_day"), gn.col("last_day")
    buying = gn.FeatureView("buying", entity=customer, source=source, features=[
        gn.Aggregation("day", "count_distinct", window="730d", name="days"),
        gn.Aggregation("day", "min", window="730d", name="first_day"),
        gn.Aggregation("day", "max", window="730d", name="last_day"),
        gn.Derived("frequency", gn.col("days") - 1, dtype="int64"),
        gn.Derived("recency", (last - first) / WEEK_S),
    ])  # fmt: skip
    weeks = gn.RequestFeature(
        "weeks_known", request={"asked": "timestamp"},
        expression=(gn.col("asked") - gn.col(buying["first_day"])) / WEEK_S,
    )  # fmt: skip
    return Views(root, folder, url, source, customer, buying, weeks)


def test_cdnow_summary(shared_data: Path, tmp_path: Path, url: str) -> None:
    """Frequency, recency and T of 2,357 customers as of 1997-09-30, as published with the `lifetimes` package."""
    views = cdnow(shared_data, tmp_path, url)
    assert (views.report.rows_read, views.report.rows_added) == (6919, 6919)
    with (shared_data / "events" / "cdnow" / "cdnow_customers_summary.csv").open() as file:
        published = list(csv.DictReader(file))
    assert len(published) == 2357
    customers, at_us = [int(row["ID"]) for row in published], to_us(datetime(1997, 9, 30, tzinfo=UTC))
    lookups = [f"buying.{name}" for name in ("frequency", "recency", "first_day")]
    trained = views.trained("customer", [(customer, at_us) for customer in customers], lookups)
    served = views.served("buying", "customer", customers, at_us, lookups)
    time = pa.timestamp("us", tz="UTC")
    firsts = {"trained": pa.array(trained["buying.first_day"], time),
              "served": pa.array(served["buying.first_day"], pa.int64()).cast(time)}  # fmt: skip
    for found, first in ((trained, firsts["trained"]), (served, firsts["served"])):
        columns = {"asked": pa.array([at_us] * len(customers), pa.int64()).cast(time), "buying.first_day": first}
        weeks = compute_request_features(views.app, ["weeks_known"], columns, _no_function)["weeks_known"].to_pylist()
        mine = zip(found["buying.frequency"], found["buying.recency"], weeks, strict=True)
        rounded = [(frequency, round(recency, 2), round(t, 2)) for frequency, recency, t in mine]
        assert rounded == [(int(row["frequency"]), float(row["recency"]), float(row["T"])) for row in published]


def _no_function(name: str) -> Any:
    raise AssertionError(f"'{name}' is asked for, and no request feature has a function")


@dataclass(frozen=True)
class Event:
    """A line of a Chronon file."""

    day: date
    ts_ms: int
    user: int
    product: int
    amount: int


def chronon_events(file: Path, amount: str) -> list[Event]:
    with file.open() as lines:
        return [
            Event(date.fromisoformat(r["ds"]), int(r["ts"]), int(r["user_id"]), int(r["product_id"]), int(r[amount]))
            for r in csv.DictReader(lines)
        ]


def statistics_of(events: Sequence[Event]) -> list[Any]:
    """Return what `WINDOW` declares, of events in the order of time."""
    amounts = [event.amount for event in events]
    most = [max(amounts), min(amounts), statistics.fmean(amounts), amounts[0], amounts[-1]] if amounts else [None] * 5
    spread = statistics.stdev(amounts) if len(amounts) > 1 else None
    return [len(amounts), sum(amounts) if amounts else None, *most, spread, len({event.product for event in events})]


def window(amount: str, length: str) -> list[gn.Aggregation]:
    functions = ("count", "sum", "max", "min", "mean", "first", "last", "std")
    return [
        *(gn.Aggregation(amount, function, window=length, name=f"{function}_{length}") for function in functions),
        gn.Aggregation("product_id", "count_distinct", window=length, name=f"products_{length}"),
    ]


@pytest.mark.parametrize(("name", "key", "amount"), [("purchases", "purchase_id", "purchase_price"),
                                                     ("returns", "return_id", "refund_amt")])  # fmt: skip
def test_chronon_windows(shared_data: Path, tmp_path: Path, url: str, name: str, key: str, amount: str) -> None:
    """Windows of 3, 14 and 30 days at every checkout, and online at the last one.

    `ds` is no event time: it lies up to four weeks before or after `ts`, and windows over it are other windows.
    """
    folder = shared_data / "events" / "chronon_quickstart"
    source = gn.DataSource(
        name, path=f"{name}.csv", id=key, event_time="ts", time_format="epoch_ms",
        fields={"user_id": "int64", "product_id": "int64", amount: "int64"},
    )  # fmt: skip
    user = gn.Entity("user", key="user_id")
    lengths = ("3d", "14d", "30d")
    features = [feature for length in lengths for feature in window(amount, length)]
    views = Views(
        folder, tmp_path, url, source, user, gn.FeatureView("v", entity=user, source=source, features=features)
    )
    events = sorted(chronon_events(folder / f"{name}.csv", amount), key=lambda event: event.ts_ms)
    assert (views.report.rows_read, views.report.rows_added) == (500, 500) == (len(events), len(events))
    lookups = [f"v.{feature.name}" for feature in features]

    checkouts = [(e.user, e.ts_ms) for e in chronon_events(folder / "checkouts.csv", "refund_amt")]
    asked = [*checkouts, *((event.user, event.ts_ms) for event in events)]
    expected = brute_force(events, asked, lengths)
    found = views.trained("user_id", [(who, ts_ms * 1000) for who, ts_ms in asked], lookups)
    assert_equal(found, lookups, expected)
    users, last_ms = sorted({event.user for event in events}), max(ts_ms for _, ts_ms in checkouts)
    served = views.served("v", "user_id", users, last_ms * 1000, lookups)
    assert_equal(served, lookups, brute_force(events, [(who, last_ms) for who in users], lengths))

    midnights = [to_us(datetime(e.day.year, e.day.month, e.day.day, tzinfo=UTC)) // 1000 for e in events]
    by_ds = [Event(e.day, ms, e.user, e.product, e.amount) for e, ms in zip(events, midnights, strict=True)]
    trapped = brute_force(sorted(by_ds, key=lambda event: event.ts_ms), asked, lengths)
    assert sum(one != other for one, other in zip(expected, trapped, strict=True)) > len(asked) // 2


def brute_force(events: Sequence[Event], asked: Sequence[tuple[int, int]], lengths: Sequence[str]) -> list[list[Any]]:
    """Return the values of every request, by looking at every event of its user; before the first one it is unknown."""
    mine: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        mine[event.user].append(event)
    reaches_ms = [int(length.removesuffix("d")) * DAY_MS for length in lengths]
    known = {who: min(event.ts_ms for event in theirs) for who, theirs in mine.items() if theirs}
    return [
        [value if at_ms >= known.get(who, at_ms + 1) else None
         for reach_ms in reaches_ms
         for value in statistics_of([e for e in mine[who] if at_ms - reach_ms < e.ts_ms <= at_ms])]
        for who, at_ms in asked
    ]  # fmt: skip


def assert_equal(found: Mapping[str, list[Any]], lookups: Sequence[str], expected: Sequence[Sequence[Any]]) -> None:
    """Exactly, but for the last digits of means and deviations."""
    for position, lookup in enumerate(lookups):
        wanted = [row[position] for row in expected]
        if not lookup.startswith(("v.mean", "v.std")):
            assert found[lookup] == wanted, lookup
            continue
        numbers = [(one, other) for one, other in zip(found[lookup], wanted, strict=True) if other is not None]
        assert [value is None for value in found[lookup]] == [value is None for value in wanted], lookup
        assert all(math.isclose(one, other, rel_tol=1e-12) for one, other in numbers), lookup
