"""The rows of the benchmark `online_read` and the requests for them; the same numbers in every environment.

Imported by its contestants; only the standard library.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

ENTITIES = 2_000
WIDTHS = (10, 50)
"""Features of the two views, `features_10` and `features_50`."""
REQUESTS = 64
"""Different requests of each scenario, asked in turn."""


def view_name(width: int) -> str:
    """Return the name of the view with so many features."""
    return f"features_{width}"


def feature_names(width: int) -> list[str]:
    """Return the names of a view's features, in order."""
    return [f"feature_{i:02}" for i in range(width)]


def value(entity: int, feature: int) -> float:
    """Return a value: exact in a float64, and different between neighbours."""
    return (entity * 31 + feature * 17) % 4096 / 8.0


def column(feature: int) -> list[float]:
    """Return a feature of all entities, in order."""
    return [value(entity, feature) for entity in range(ENTITIES)]


def requests(rows: int) -> list[list[int]]:
    """Return the entities of each request; a request asks for no entity twice."""
    chance = random.Random(rows)
    return [chance.sample(range(ENTITIES), rows) for _ in range(REQUESTS)]


def check(columns: Iterable[Sequence[float]]) -> float:
    """Return one number for the answer to a request: values summed with the weight of their place. Exact."""
    return sum(
        float(number) * (1 + row + 7 * place)
        for place, numbers in enumerate(columns)
        for row, number in enumerate(numbers)
    )
