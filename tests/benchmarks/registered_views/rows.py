"""The rows of the benchmark `registered_views`, the requests for them, and how a number of views is held against one.

Imported by its contestants; only the standard library. Each number of views is a project of its own: a view of 50
features, which is read, and others of one feature each, which have a row of every entity too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from contestant import time_calls
from online_read.rows import feature_names, value, view_name

ENTITIES = 100
VIEW = view_name(50)
FEATURES = feature_names(50)
OTHER_FEATURE = "score"
_ROWS, _REQUESTS, _SLICES = 10, 64, 8


def project(views: int) -> str:
    """Return the name of the project with so many views."""
    return f"views{views}"


def other_views(views: int) -> list[str]:
    """Return the names of the views that nothing reads."""
    return [f"other_{i:04}" for i in range(views - 1)]


def numbers_of_views(world: Mapping[str, Any]) -> list[int]:
    """Return how many views there are, for each project that is needed; one view first."""
    return sorted({1, *(scenario["views"] for scenario in world["scenarios"])})


def columns() -> dict[str, list[float]]:
    """Return the features of all entities, in order, of the view that is read."""
    return {name: [value(entity, i) for entity in range(ENTITIES)] for i, name in enumerate(FEATURES)}


def requests() -> list[list[dict[str, int]]]:
    """Return the entity keys of each request."""
    chance = random.Random(0)
    return [[{"entity": entity} for entity in chance.sample(range(ENTITIES), _ROWS)] for _ in range(_REQUESTS)]


def time_against_one(
    many: Callable[[Any], Any], one: Callable[[Any], Any], asked: Sequence[Any], budget_s: float
) -> dict[str, float]:
    """Time the same reads in a project with many views and in one with a single view, in slices of the time.

    Which comes first alternates from slice to slice.

    Args:
        many: Reads where there are many views.
        one: Reads where there is one.
        asked: Arguments.
        budget_s: For how long, all in all.

    Returns:
        `p50_us` and `first_us` of `many`, and `over_1_view`, its p50 divided by that of `one` (median of the slices).
    """
    timed, ratios = [], []
    for i in range(_SLICES):
        order = (many, one) if i % 2 == 0 else (one, many)
        taken = {read: time_calls(read, asked, budget_s / _SLICES / 2) for read in order}
        timed.append(taken[many])
        ratios.append(taken[many]["p50_us"] / taken[one]["p50_us"])
    p50_us = median(each["p50_us"] for each in timed)
    return {"p50_us": p50_us, "first_us": timed[0]["first_us"], "over_1_view": median(ratios)}
