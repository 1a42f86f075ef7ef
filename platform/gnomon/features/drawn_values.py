"""Values of a declared type to test features with: drawn at random, the awkward ones among them, and made simpler.

Called by `feature_properties` and by the subjects that it tests. A null is None, a time is in microseconds
since the epoch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from gnomon.contracts.clocks import from_us
from gnomon.contracts.columns import Dtype

_NULL_SHARE, _EDGE_SHARE = 0.12, 0.4
_SECOND_US: Final = 1_000_000
_FIRST_US, _LAST_US = -62_135_596_800 * _SECOND_US, 253_402_300_799 * _SECOND_US  # years 1 and 9999, as JSON has them

_EDGES: Final[dict[str, tuple[Any, ...]]] = {
    "float64": (
        0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, math.pi, 1e-9, 5e-324, 2.2e-308, 1e15 + 0.5, 2.0**53, 2.0**53 + 2, 1e300,
        1.7976931348623157e308, -1.7976931348623157e308, math.inf, -math.inf, math.nan,
    ),
    "int64": (0, 1, -1, 2, 7, 255, 2**31, -(2**31), 2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**63)),
    "bool": (False, True),
    "string": (
        "", " ", "a", "A", "b", "aa", "0", "-1", "1e999", "nan", "null", "None", "é", "e\u0301", "ß", "İ", "ﬀ",
        "日本語", "😀", "\u200f", "\x00", "\n", "\t x ", "a,b", "'\"", "[]", "{}", "a" * 300,
    ),
    "timestamp": (
        0, -1, 1, _SECOND_US, 951_782_400 * _SECOND_US, 1_483_228_799 * _SECOND_US + 999_999,
        1_767_225_600 * _SECOND_US, 4_102_444_800 * _SECOND_US, _FIRST_US, _LAST_US,
    ),
}  # fmt: skip
_SIMPLE: Final[dict[str, tuple[Any, ...]]] = {
    "float64": (0.0, 1.0, 2.0, 3.0, -1.0, 0.5, None, math.nan),
    "int64": (0, 1, 2, 3, -1, None),
    "bool": (False, True, None),
    "string": ("", "a", "b", "A", None),
    "timestamp": (0, _SECOND_US, 1_767_225_600 * _SECOND_US, None),
}


@dataclass(frozen=True)
class Domain:
    """The values that a column can have.

    Attributes:
        dtype: Their type.
        least: No number is less.
        greatest: No number is greater.
        choices: Only these; empty allows all.
        list_of: For a text that holds a JSON array: what is in it.
        also: A further value, such as a default.
    """

    dtype: Dtype
    least: float | None = None
    greatest: float | None = None
    choices: tuple[Any, ...] = ()
    list_of: Domain | None = None
    also: tuple[Any, ...] = ()

    def draw(self, generator: np.random.Generator, rows: int) -> list[Any]:
        """Draw values: about one in eight is null, four in ten are awkward, the others are usual."""
        return [self._one(generator) for _ in range(rows)]

    def simpler(self, value: Any) -> Iterator[Any]:
        """Yield values that are easier to read than this one, the easiest first; none where nothing is."""
        ranked = self.simplest()
        if self.list_of is not None:
            ranked = list(dict.fromkeys([*(_json_list(self.list_of, [v]) for v in self.list_of.simplest()), None]))
        keys = [identity(each) for each in ranked]
        if identity(value) in keys:
            yield from ranked[: keys.index(identity(value))]
            return
        yield from ranked
        if not self.choices and self.list_of is None and value is not None:
            yield from (each for each in _reduced(value) if self._allows(each))

    def simplest(self) -> list[Any]:
        """Return the values that are easiest to read, the easiest first."""
        return [each for each in (self.choices or _SIMPLE[self.dtype]) if self._allows(each)]

    def _one(self, generator: np.random.Generator) -> Any:
        chance = generator.random()
        if chance < _NULL_SHARE:
            return None
        if self.also and chance < _NULL_SHARE + 0.05:
            return self.also[0]
        if self.list_of is not None:
            return _json_list(self.list_of, self.list_of.draw(generator, int(generator.integers(0, 4))))
        edges = self.choices or [each for each in _EDGES[self.dtype] if self._allows(each)]
        if edges and (self.choices or chance < _NULL_SHARE + _EDGE_SHARE):
            return edges[int(generator.integers(len(edges)))]
        return self._bounded(_usual(self.dtype, generator), generator)

    def _bounded(self, value: Any, generator: np.random.Generator) -> Any:
        """Bring a number between the bounds."""
        if self._allows(value):
            return value
        low = self.least if self.least is not None else (self.greatest or 0) - 100.0
        high = self.greatest if self.greatest is not None else low + 100.0
        share = generator.random()
        inside = min(max(low * (1 - share) + high * share, low), high)  # `high - low` may be above any float
        return min(max(math.ceil(low), round(inside)), math.floor(high)) if self.dtype == "int64" else inside

    def _allows(self, value: Any) -> bool:
        if value is None or self.dtype not in ("int64", "float64"):
            return True
        if self.least is None and self.greatest is None:
            return True
        above = self.least is None or value >= self.least
        return bool(above and (self.greatest is None or value <= self.greatest))


def identity(value: Any) -> tuple[str, str]:
    """Return what tells a value from every other: its bits, so that 0.0 is not −0.0 and NaN equals NaN."""
    return type(value).__name__, value.hex() if isinstance(value, float) else repr(value)


def _usual(dtype: str, generator: np.random.Generator) -> Any:
    if dtype == "float64":
        return round(float(generator.normal()) * 10.0 ** int(generator.integers(-2, 5)), 3)
    if dtype == "int64":
        return int(generator.integers(-100, 1000))
    if dtype == "bool":
        return bool(generator.integers(2))
    if dtype == "timestamp":
        return int(generator.integers(946_684_800 * _SECOND_US, 2_082_758_400 * _SECOND_US))
    letters = "abcXYZ 012é-_"
    return "".join(letters[int(i)] for i in generator.integers(0, len(letters), int(generator.integers(1, 9))))


def _reduced(value: Any) -> Iterator[Any]:
    """Yield smaller values of the same kind; nothing grows, so that reducing ends."""
    if isinstance(value, str):
        half = len(value) // 2
        yield from (part for part in (value[:half], value[half:], value[:-1], value[1:]) if len(part) < len(value))
    elif isinstance(value, float) and math.isfinite(value):
        yield from (each for each in (float(math.trunc(value)), value / 2) if 1 <= abs(each) < abs(value))
    elif isinstance(value, int) and abs(value) > 1:
        yield int(value / 2)


def _json_list(of: Domain, values: list[Any]) -> str | None:
    """Write an array as `window_lists` does: it holds no nulls, and is null itself without values."""
    held = [_in_json(of.dtype, v) for v in values if v is not None and v == v]
    return json.dumps(held, ensure_ascii=False, separators=(",", ":")) if held else None


def _in_json(dtype: str, value: Any) -> Any:
    if dtype == "timestamp":
        # strftime would write the year 1 as "1"
        return from_us(value).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return str(value).replace("inf", "Infinity") if isinstance(value, float) and math.isinf(value) else value
