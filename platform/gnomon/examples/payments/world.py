"""The made-up world behind the payments simulator: who pays where, and what fraudsters do on a given day.

- *terminal*: a terminal is compromised for 28 days; a large share of what is paid there is fraud, amounts as usual.
- *stolen card*: a customer is compromised for 14 days; a third of the payments are fraud, of 4 to 6 times the amount.
- *large amount*: single payments of an amount that hardly any customer reaches.
- *card testing*: at night, bursts of small payments with one customer's card, at any terminal. It takes the place of
  stolen cards and large amounts from the day of a concept drift on.

Nothing here knows the calendar or Arrow. Only `simulator` calls it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

DAY_S = 86_400
NEAR_TERMINALS = 12

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]

_PAYMENTS_PER_CUSTOMER_DAY = 1.6
_AMOUNT_SPREAD = 0.45  # standard deviation of log amount within a customer, and between customers
_SMALL_PURCHASE_RATIO = 0.05  # honest payments as small as those of card testing, so that size alone proves nothing
_SMALL_AMOUNT = (1.0, 12.0)
_LARGE_RATIO = 0.01
_LARGE_AMOUNT = (260.0, 800.0)
_BURSTS_PER_CUSTOMER_NIGHT = 0.0075
_CONCEPT_PRICE_FACTOR = 1.75
_BENIGN_PRICE_FACTOR = 1.5


@dataclass(frozen=True)
class _Spell:
    """How long a member stays compromised, how many are at a time, and how much of what they do is then fraud."""

    days: int
    members_ratio: float
    fraud_ratio: float


_TERMINALS = _Spell(days=28, members_ratio=0.02, fraud_ratio=0.6)
_CARDS = _Spell(days=14, members_ratio=0.045, fraud_ratio=1 / 3)


class Stream(IntEnum):
    """The random streams of a simulation; each (seed, stream, day) is independent of all others."""

    POPULATION = 0
    PAYMENTS = 1
    TERMINAL_SPELLS = 2
    CARD_SPELLS = 3
    FRAUD = 4
    CARD_TESTING = 5
    INGESTION = 6


@dataclass(frozen=True)
class Population:
    """Who pays where: one row per customer."""

    spend: _Floats  # median amount
    payments_per_day: _Floats
    near_terminals: _Ints  # (customers, NEAR_TERMINALS)
    terminals: int


@dataclass(frozen=True)
class Day:
    """The payments of one day, in columns, in any order."""

    customer: _Ints
    terminal: _Ints
    second: _Floats  # since the day's start
    amount: _Floats
    fraud: _Flags


def random_of(seed: int, stream: Stream, day: int = 0) -> np.random.Generator:
    """Return the generator of one stream on one day; the same arguments give the same numbers."""
    # Spells that began before day 0 are drawn too, and a seed must not be negative: hence the offset.
    return np.random.default_rng([seed, stream, day + 1_000])


def populate(seed: int, customers: int, terminals: int) -> Population:
    """Draw the customers and terminals of a simulation; the same arguments give the same ones."""
    random = random_of(seed, Stream.POPULATION)
    homes, places = random.uniform(0, 100, (customers, 1, 2)), random.uniform(0, 100, (1, terminals, 2))
    distance = np.hypot(*np.moveaxis(homes - places, -1, 0))
    return Population(
        spend=np.clip(random.lognormal(np.log(30), _AMOUNT_SPREAD, customers), 10, 55),
        payments_per_day=_PAYMENTS_PER_CUSTOMER_DAY * random.uniform(0.25, 1.75, customers),
        near_terminals=np.argsort(distance, axis=1)[:, :NEAR_TERMINALS].astype(np.int64),
        terminals=terminals,
    )


def simulate_day(seed: int, day: int, population: Population, drifts: Collection[str]) -> Day:
    """Draw the payments of one day.

    Args:
        seed: Seed of the simulation.
        day: Number of the day, from 0.
        population: What `populate` returned for the same seed.
        drifts: Kinds of drift in force on this day: `concept`, `benign`, both or none.

    Returns:
        The day's rows in no particular order; amounts above 0, rounded to cents.
    """
    concept = "concept" in drifts
    rows = _with_fraud(seed, day, population, _honest_payments(seed, day, population, concept), concept)
    if concept:
        rows = _joined(rows, _card_testing(seed, day, population))
    price = _BENIGN_PRICE_FACTOR if "benign" in drifts else 1.0
    return replace(rows, amount=np.maximum(np.round(rows.amount * price, 2), 0.01))


def _honest_payments(seed: int, day: int, population: Population, concept: bool) -> Day:
    random = random_of(seed, Stream.PAYMENTS, day)
    counts = random.poisson(population.payments_per_day)
    customer = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    rows = len(customer)
    amount = population.spend[customer] * random.lognormal(0, _AMOUNT_SPREAD, rows)
    amount = np.where(random.random(rows) < _SMALL_PURCHASE_RATIO, random.uniform(*_SMALL_AMOUNT, rows), amount)
    return Day(
        customer=customer,
        terminal=population.near_terminals[customer, random.integers(0, NEAR_TERMINALS, rows)],
        second=random.normal(14 * 3600, 4.5 * 3600, rows) % DAY_S,
        amount=amount * (_CONCEPT_PRICE_FACTOR if concept else 1.0),
        fraud=np.zeros(rows, dtype=np.bool_),
    )


def _in_spell(seed: int, stream: Stream, day: int, members: int, spell: _Spell) -> _Ints:
    """Return the members (customers or terminals) that are compromised on a day."""
    per_day = members * spell.members_ratio / spell.days
    drawn = []
    for first_day in range(day - spell.days + 1, day + 1):
        # The number of starts is spread evenly, not drawn: the fraud rate of a week must not hang on a few dice.
        starts = int(np.floor((first_day + 1) * per_day) - np.floor(first_day * per_day))
        drawn.append(random_of(seed, stream, first_day).integers(0, members, starts))
    return np.unique(np.concatenate(drawn))


def _with_fraud(seed: int, day: int, population: Population, honest: Day, concept: bool) -> Day:
    random = random_of(seed, Stream.FRAUD, day)
    rows = len(honest.customer)
    dice, factor, large = random.random((3, rows)), random.uniform(4, 6, rows), random.uniform(*_LARGE_AMOUNT, rows)
    bad_terminals = _in_spell(seed, Stream.TERMINAL_SPELLS, day, population.terminals, _TERMINALS)
    at_terminal = np.isin(honest.terminal, bad_terminals) & (dice[0] < _TERMINALS.fraud_ratio)
    if concept:
        return replace(honest, fraud=at_terminal)
    bad_cards = _in_spell(seed, Stream.CARD_SPELLS, day, len(population.spend), _CARDS)
    stolen = np.isin(honest.customer, bad_cards) & (dice[1] < _CARDS.fraud_ratio)
    is_large = dice[2] < _LARGE_RATIO
    amount = np.where(is_large, large, np.where(stolen, honest.amount * factor, honest.amount))
    return replace(honest, amount=amount, fraud=at_terminal | stolen | is_large)


def _card_testing(seed: int, day: int, population: Population) -> Day:
    random = random_of(seed, Stream.CARD_TESTING, day)
    customers = len(population.spend)
    bursts = random.poisson(customers * _BURSTS_PER_CUSTOMER_NIGHT)
    sizes = random.integers(3, 9, bursts)
    rows = int(sizes.sum())
    began_s = np.repeat(random.uniform(0, 5 * 3600, bursts), sizes)
    return Day(
        customer=np.repeat(random.integers(0, customers, bursts), sizes),
        terminal=random.integers(0, population.terminals, rows),
        second=began_s + random.uniform(0, 1800, rows),
        amount=random.uniform(*_SMALL_AMOUNT, rows),
        fraud=np.ones(rows, dtype=np.bool_),
    )


def _joined(first: Day, second: Day) -> Day:
    return Day(*(np.concatenate([getattr(first, f.name), getattr(second, f.name)]) for f in fields(Day)))
