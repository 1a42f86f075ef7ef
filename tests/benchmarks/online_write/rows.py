"""The rows of the benchmark `online_write`; the same numbers in every environment. Imported by its contestants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

VIEW = "measured"
FEATURES = tuple(f"feature_{i:02}" for i in range(10))
_SAMPLE = 1_000

Array = np.ndarray[Any, Any]


def columns(entities: int, generation: int) -> dict[str, Array]:
    """Return the values of entities 0, 1, … by feature: exact in a float64, different between generations.

    Args:
        entities: How many.
        generation: 0 for rows that are new, 1 for those that replace them.
    """
    numbers = np.arange(entities) * 31
    return {name: (numbers + 17 * i + 5 * generation) % 4096 / 8.0 for i, name in enumerate(FEATURES)}


def sample(entities: int) -> list[int]:
    """Return the entities that are read back."""
    return list(range(0, entities, max(entities // _SAMPLE, 1)))


def check(values: Mapping[str, Sequence[float]]) -> float:
    """Return one number for the values of the sample, by feature: summed with the weight of their place. Exact."""
    return sum(
        float(number) * (1 + row + 7 * place)
        for place, name in enumerate(FEATURES)
        for row, number in enumerate(values[name])
    )
