"""`python -m tests.benchmarks.tiled_windows [--events N] [--rows N]`: what a tile saves for one busy entity.

Prints, in one run, what windows cost that slide and what those with tiles cost, for a training set and for the stream
consumer; beside the training set what numpy needs to add up the same events, and DuckDB to join them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.clocks import HandClock, from_us
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.features.redis_online_store import RedisOnlineStore
from gnomon.features.view_rows import REQUEST_TIME, view_values
from gnomon.features.view_streams import ViewStream
from gnomon.runtime.embedded_valkey import EmbeddedValkey
from gnomon.storage.delta_tables import DeltaTables
from gnomon.testing.memory_stores import MemoryStates

_DAY_US = 86_400_000_000
_START_US = 1_767_225_600_000_000  # 2026-01-01
_DAYS = 120
_FUNCTIONS = ("count", "sum", "mean", "max", "std")
_SCHEMA: dict[str, Any] = {"id": "string", "shop": "int64", "at": "timestamp", "amount": "float64"}


def _app(tile: str | None, functions: Sequence[str] = _FUNCTIONS) -> App:
    shop = gn.Entity("shop", key="shop")
    source = gn.DataSource("sales", path="*.parquet", id="id", event_time="at")
    features = [gn.Aggregation("amount", f, window="90d", tile=tile, name=f"f_{f}") for f in functions]
    view = gn.FeatureView("spend", entity=shop, source=source, features=features, freshness="1s")
    return App.of("app", [shop, source, view]).with_schemas({"sales": _SCHEMA})


def _events(number: int, first: int, from_us: int, until_us: int, seed: int) -> pa.Table:
    """Sales of one shop, evenly drawn over a time, known at once."""
    dice = np.random.default_rng(seed)
    at = np.sort(dice.integers(from_us + 1, until_us + 1, number))
    stamps = {name: pa.array(at, pa.timestamp("us", tz="UTC")) for name in (EVENT_TIME, KNOWN_TIME, INGESTED_AT)}
    ids = [f"sale-{first + n:012d}" for n in range(number)]
    return pa.table({
        "shop": np.ones(number, np.int64), "amount": dice.lognormal(3, 1, number), **stamps, EVENT_ID: ids,
        DIGEST: [f"{first + n:032x}" for n in range(number)],
    })  # fmt: skip


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def training(events: pa.Table, rows: int) -> list[tuple[str, float]]:
    """Time a training set's windows, one contestant after the other."""
    until_us = _START_US + _DAYS * _DAY_US
    asked_us = np.sort(np.random.default_rng(1).integers(until_us - 30 * _DAY_US, until_us, rows))
    asked = pa.table({"shop": np.ones(rows, np.int64), REQUEST_TIME: asked_us})
    at, amounts = events.column(EVENT_TIME).cast(pa.int64()).to_numpy(), events.column("amount").to_numpy()
    low, high = (np.searchsorted(at, asked_us - back, side="right") for back in (90 * _DAY_US, 0))

    def ours(tile: str | None, functions: Sequence[str] = _FUNCTIONS) -> float:
        app = _app(tile, functions)
        return _seconds(lambda: view_values(app, app.get(gn.FeatureView, "spend"), events, asked))

    def numpy_sums() -> None:
        for begin, end in zip(low.tolist(), high.tolist(), strict=True):
            amounts[begin:end].sum()

    connection = duckdb.connect()
    connection.register("sales", pa.table({"sold_us": at, "amount": amounts}))
    connection.register("asked", pa.table({"t": asked_us}))
    query = (
        "SELECT count(amount), sum(amount), avg(amount), max(amount), stddev_samp(amount) FROM asked LEFT JOIN sales "
        f"ON sold_us <= t AND sold_us > t - {90 * _DAY_US} GROUP BY t ORDER BY t"
    )
    return [
        ("ours, slides: count, sum, mean, max, std", ours(None)),
        *((f"ours, tile {tile}: the same", ours(tile)) for tile in ("1d", "6h", "1h")),
        ("DuckDB, join by range: the same", _seconds(lambda: connection.sql(query).to_arrow_table())),
        ("ours, slides: sum", ours(None, ("sum",))),
        ("ours, tile 6h: sum", ours("6h", ("sum",))),
        ("numpy, slides: sum of each row's slice", _seconds(numpy_sums)),
    ]


def stream(number: int, tile: str | None, url: str, folder: Path, news: int = 20) -> dict[str, float]:
    """Take the events in, then time steps with one new event each."""
    offline, states = DeltaTables(folder / "tables"), MemoryStates()
    now_us = _START_US + _DAYS * _DAY_US
    clock = HandClock(folder / "clock", from_us(now_us))
    offline.append("sales", _events(number, 0, now_us - 90 * _DAY_US, now_us, 0), "all")
    online = RedisOnlineStore(url, f"tile-{tile}", 10.0)
    found = ViewStream(_app(tile), "spend", offline, online, states, clock, 10**10)
    first_s = _seconds(found.step)
    steps = []
    for n in range(news):
        now_us += 1_000_000
        clock.set(from_us(now_us))
        offline.append("sales", _events(1, number + n, now_us - 1, now_us, n), f"one-{n}")
        steps.append(_seconds(found.step))
    cache = found._cache
    online.close()
    return {
        "events and tiles": cache.rows, "MB": cache.size_bytes / 1e6, "MB of ids": cache.ids_bytes / 1e6,
        "first step, s": first_s, "step, median ms": float(np.median(steps)) * 1e3,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tiled_windows")
    parser.add_argument("--events", type=int, default=300_000, help="of the entity, in the last 90 days")
    parser.add_argument("--rows", type=int, default=500, help="of the training set, in the last 30 days")
    options = parser.parse_args()
    console = Console(highlight=False, width=120)
    end_us = _START_US + _DAYS * _DAY_US
    events = _events(options.events * _DAYS // 90, 0, _START_US, end_us, 0)
    table = Table(
        "training set", "seconds", title=f"{options.rows} rows, {options.events} events in a window of 90 days"
    )
    for name, seconds in training(events, options.rows):
        table.add_row(name, f"{seconds:.3f}")
    console.print(table)
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedValkey(Path(folder) / "valkey")
        server.start()
        try:
            found = {}
            for tile in (None, "1d", "1h"):
                place = Path(folder) / f"of_{tile}"
                place.mkdir()
                found["slides" if tile is None else f"tile {tile}"] = stream(options.events, tile, server.url, place)
        finally:
            server.stop()
    table = Table("stream", *found, title=f"one entity of {options.events} events")
    for name in next(iter(found.values())):
        table.add_row(name, *(f"{figures[name]:,.1f}" for figures in found.values()))
    console.print(table)


if __name__ == "__main__":
    main()
