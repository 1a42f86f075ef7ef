"""Sketches err as little as the guide says, draw no lots, and take every value that a column can hold."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import gnomon as gn
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.features import tile_sketches
from gnomon.features.tile_sketches import DISTINCT_LG_K, TOP_LG_SIZE
from gnomon.features.view_rows import REQUEST_TIME, view_values
from gnomon.testing.view_cases import TYPES, S, app_of

EVENTS, ENTITIES, TILES = 240_000, 12, 20
WINDOW = {"window": f"{TILES}s", "tile": "1s"}
SHAPES = ["normal", "lognormal", "uniform", "two humps", "whole numbers"]


def numbers(shape: str, size: int, seed: int = 7) -> Any:
    """Drawn numbers of a shape."""
    dice = np.random.default_rng(seed)
    if shape == "two humps":
        return np.where(dice.random(size) < 0.3, dice.normal(-50, 1, size), dice.normal(100, 20, size))
    if shape == "whole numbers":
        return dice.poisson(40, size).astype(np.float64)
    drawn: Any = {
        "normal": dice.normal,
        "lognormal": lambda size: dice.lognormal(2, 1.5, size),
        "uniform": dice.uniform,
    }
    return drawn[shape](size=size)


def columns(values: Any, column: str, entities: int = 1) -> pa.Table:
    """Return events of entities 0, 1, … with these values in turn, evenly over the tiles."""
    number = len(values)
    times = (np.arange(number) * TILES * S // number + 1).astype(np.int64)
    stamps = {name: pa.array(times, pa.timestamp("us", tz="UTC")) for name in (EVENT_TIME, KNOWN_TIME, INGESTED_AT)}
    return pa.table({
        "k": np.arange(number) % entities, column: pa.array(values, TYPES.get(column)), **stamps,
        EVENT_ID: [f"e{n}" for n in range(number)], DIGEST: ["d"] * number,
    })  # fmt: skip


def asked(feature: gn.Aggregation, events: pa.Table, entities: int = 1) -> list[Any]:
    app, view = app_of(("k",), [feature])
    requests = pa.table({"k": np.arange(entities), REQUEST_TIME: np.full(entities, TILES * S)})
    found: list[Any] = view_values(app, view, events, requests).column(0).to_pylist()
    return found


def ranks_missed(values: Any, estimate: float, q: float) -> float:
    """Return how far q lies, as a share of the values, from the ranks that the estimate has among them."""
    below, up_to = np.mean(values < estimate), np.mean(values <= estimate)
    return float(max(below - q, q - up_to, 0.0))


def quantile_bound(q: float) -> float:
    """The bound of the guide: 1 % of the rows at the median, a tenth of that at 1 and 99 %."""
    return 0.0005 + 0.04 * q * (1 - q)


def check_quantiles(shape: str) -> None:
    values = numbers(shape, EVENTS)
    events = columns(values, "x", ENTITIES)
    for q in (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99):
        found = asked(gn.Aggregation("x", "approx_quantile", q=q, name="f", **WINDOW), events, ENTITIES)
        for entity, estimate in enumerate(found):
            # between two whole numbers that are next to each other either is as good an answer
            near = [math.floor(estimate), math.ceil(estimate)] if shape == "whole numbers" else [estimate]
            missed = min(ranks_missed(values[entity::ENTITIES], each, q) for each in near)
            assert missed <= quantile_bound(q), (q, entity)


def check_distinct(column: str, different: int) -> None:
    """Three standard errors: of the estimates that fail, 1 in 370 would do so by chance."""
    dice = np.random.default_rng(11)
    drawn = dice.integers(0, different, EVENTS)
    values = drawn if column == "n" else [f"value {n}" for n in drawn] if column == "s" else drawn / 7
    found = asked(
        gn.Aggregation(column, "approx_count_distinct", name="f", **WINDOW), columns(values, column, ENTITIES), ENTITIES
    )
    for entity, estimate in enumerate(found):
        exact = len(set(drawn[entity::ENTITIES].tolist()))
        assert abs(estimate - exact) <= 3 * 1.04 / math.sqrt(2**DISTINCT_LG_K) * exact, (estimate, exact)


def check_top(skew: float) -> None:
    """The estimate of a listed value misses by 3.5 ÷ 2^lg of the rows at most; so does the order."""
    drawn = np.random.default_rng(13).zipf(skew, EVENTS)
    often = Counter(drawn.tolist())
    miss = 3.5 / 2**TOP_LG_SIZE * EVENTS
    (text,) = asked(gn.Aggregation("n", "approx_top_k", k=10, name="f", **WINDOW), columns(drawn, "n"))
    listed = json.loads(text)
    ideal = [count for _, count in often.most_common(10)]
    assert len(set(listed)) == 10
    for place, value in enumerate(listed):
        assert often[value] >= ideal[place] - miss, (value, often[value], ideal[place])


@pytest.mark.parametrize("shape", SHAPES)
def test_quantiles_are_within_the_bound_of_the_guide(shape: str) -> None:
    check_quantiles(shape)


@pytest.mark.parametrize(("column", "different"), [("n", 100), ("n", 200_000), ("s", 30_000), ("x", 10**9)])
def test_distinct_counts_are_within_three_standard_errors(column: str, different: int) -> None:
    check_distinct(column, different)


@pytest.mark.parametrize("skew", [1.1, 1.3, 2.0])
def test_the_most_frequent_values_are_within_the_librarys_bound(skew: float) -> None:
    check_top(skew)


@pytest.mark.parametrize(
    ("name", "coarse", "check"),
    [
        ("QUANTILE_K", 20, lambda: check_quantiles("lognormal")),
        ("DISTINCT_LG_K", 7, lambda: check_distinct("n", 200_000)),
        ("TOP_LG_SIZE", 4, lambda: check_top(1.1)),
    ],
)
def test_a_coarser_sketch_breaks_the_bound(monkeypatch: pytest.MonkeyPatch, name: str, coarse: int, check: Any) -> None:
    """The three tests above can fail."""
    monkeypatch.setattr(tile_sketches, name, coarse)
    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize("size", [1, 2, 3, 10, 50])
def test_a_quantile_of_few_values_lies_between_its_neighbours(size: int) -> None:
    values = numbers("normal", size)
    ordered = [-math.inf, *np.sort(values).tolist(), math.inf]
    for q in (0.1, 0.5, 0.9):
        (found,) = asked(gn.Aggregation("x", "approx_quantile", q=q, name="f", **WINDOW), columns(values, "x"))
        rank = 1 + (size - 1) * q
        assert ordered[max(1, math.floor(rank) - 1)] <= found <= ordered[min(size, math.ceil(rank) + 1)]


def test_few_values_are_counted_and_ranked_exactly() -> None:
    words = ["b", "", "a", "b", None, "ü", "a", "b"]
    assert asked(gn.Aggregation("s", "approx_count_distinct", name="f", **WINDOW), columns(words, "s")) == [4]
    (listed,) = asked(gn.Aggregation("s", "approx_top_k", k=3, name="f", **WINDOW), columns(words, "s"))
    assert json.loads(listed) == ["b", "a", ""]


def test_values_at_the_edges_of_their_type_are_taken() -> None:
    floats = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.7e308, -1.7e308, 5e-324, None]
    assert asked(gn.Aggregation("x", "approx_count_distinct", name="f", **WINDOW), columns(floats, "x")) == [6]
    (listed,) = asked(gn.Aggregation("x", "approx_top_k", k=2, name="f", **WINDOW), columns(floats, "x"))
    assert listed == '[0.0,"-Infinity"]'
    for q, wanted in ((0.001, -1e290), (0.999, 1e290)):
        feature = gn.Aggregation("x", "approx_quantile", q=q, name="f", **WINDOW)
        assert asked(feature, columns([value for value in floats if value is not None] * 50, "x")) == [wanted]
    whole = [2**63 - 1, -(2**63), 2**53 + 1, 2**53, None]
    assert asked(gn.Aggregation("n", "approx_count_distinct", name="f", **WINDOW), columns(whole, "n")) == [4]


_SCRIPT = """
import sys
from tests.unit.features.test_tile_sketches import *
dice = np.random.default_rng(5)
events = columns([f"v{n}" for n in dice.zipf(1.2, 60_000) % 5000], "s", 3)
values = asked(gn.Aggregation("s", "approx_top_k", k=20, name="f", **WINDOW), events, 3)
values += asked(gn.Aggregation("s", "approx_count_distinct", name="f", **WINDOW), events, 3)
events = columns(numbers("lognormal", 60_000), "x", 3)
values += [each.hex() for each in asked(gn.Aggregation("x", "approx_quantile", q=0.3, name="f", **WINDOW), events, 3)]
print(values)
"""


def test_another_process_with_another_hash_seed_gives_the_same_bytes() -> None:
    """Training sets are re-created to the byte, wherever; Python's own hashes differ from process to process."""
    path = ":".join([*sys.path, "."])
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT], env={"PYTHONHASHSEED": seed, "PYTHONPATH": path}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(outputs) == 1
    assert len(outputs.pop()) > 300


def test_kll_which_draws_lots_would_not_give_the_same_twice() -> None:
    """Why quantiles are t-digests. Where this fails, the library has learned to compact without coins."""
    from datasketches import kll_doubles_sketch, tdigest_double

    values = numbers("normal", 50_000)
    bodies: dict[str, set[bytes]] = {"kll": set(), "t-digest": set()}
    for _ in range(4):
        for name, sketch in (("kll", kll_doubles_sketch(200)), ("t-digest", tdigest_double(200))):
            sketch.update(values)
            bodies[name].add(sketch.serialize())
    assert len(bodies["kll"]) > 1
    assert len(bodies["t-digest"]) == 1
