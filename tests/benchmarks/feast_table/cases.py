"""The cases of `feast_table`: what is right, and the steps that show what each side does.

Only the standard library, for it is imported in both environments. A function takes a side's world (`feast_world`,
`gnomon_world`) and returns what it saw; nothing is written down here of what a side will answer. Times are hours, and
every read happens at hour 12.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.benchmarks.feast_table.feast_world import FeastWorld
    from tests.benchmarks.feast_table.gnomon_world import GnomonWorld

Seen = Mapping[str, Any]

NOW_H = 12
_SECOND_H = 1 / 3600
_EXACT = 2**53 + 1
_REQUESTS = ((9, 3), (1, 3), (1, 3), (1, 0))
"""Label rows as (customer, hour): one of an unknown customer, the same one twice, and one before the first event."""
_ONE_HASH = ("f46082", "f182136")
"""Two names whose `profile:name` have the same 32-bit MurmurHash3, by which Feast names the fields of its hashes."""


@dataclass(frozen=True)
class View:
    """A feature view of both sides.

    Attributes:
        features: Column of the source by feature; `amount` is an int64, `note` a string.
        max_age_h: Age from which a value is expired, in hours; never by default.
    """

    features: Mapping[str, str]
    max_age_h: float | None = None


_AMOUNT = {"amount": "amount"}
_LAST = View(_AMOUNT)
_NULLED = {"alone": _LAST, "noted": View({"amount": "amount", "note": "note"})}


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        name: As printed.
        expected: What has to be seen, by what it is called; whatever else a side reports is only printed.
        feast: The steps on Feast.
        gnomon: The steps on ours.
    """

    name: str
    expected: Seen
    feast: Callable[[FeastWorld], Seen]
    gnomon: Callable[[GnomonWorld], Seen]

    def holds(self, seen: Seen) -> bool:
        """Return whether everything that is expected was seen."""
        return all(name in seen and seen[name] == value for name, value in self.expected.items())


def _row(customer: int, at: float, **values: Any) -> dict[str, Any]:
    return {"customer": customer, "at": at, **values}


def _old_value_feast(world: FeastWorld) -> Seen:
    world.define(last=View(_AMOUNT, max_age_h=2))
    world.push("last", _row(1, at=9, amount=7))
    return _value_and_status(world)


def _old_value_gnomon(world: GnomonWorld) -> Seen:
    world.define(last=View(_AMOUNT, max_age_h=2))
    world.ingest(_row(1, at=9, amount=7))
    world.materialize("last", at=NOW_H)
    return _value_and_status(world)


def _value_and_status(world: FeastWorld | GnomonWorld) -> Seen:
    ((value, status),) = world.read("last", "amount", 1)
    return {"value": value, "served as present": status == "PRESENT", "status": status}


def _race(world: FeastWorld | GnomonWorld) -> Seen:
    values = world.race()
    return {"entities left with the older value": sum(value != 2 for value in values), "of": len(values)}


def _older_row_feast(world: FeastWorld) -> Seen:
    seen = _pushed_older(world, "a", skip_dedup=True)
    by_default = _pushed_older(world, "b", skip_dedup=False)
    return {**seen, "without skip_dedup": ", ".join(str(value) for value in by_default.values())}


def _pushed_older(world: FeastWorld, project: str, skip_dedup: bool) -> Seen:
    world.configure(project, skip_dedup=skip_dedup)
    world.define(last=_LAST)
    world.push("last", _row(1, at=5, amount=5), _row(1, at=4, amount=4))
    world.push("last", _row(2, at=5, amount=5))
    world.push("last", _row(2, at=4, amount=4))
    return _in_a_batch_and_late(world)


def _older_row_gnomon(world: GnomonWorld) -> Seen:
    world.define(last=_LAST)
    world.ingest(_row(1, at=5, amount=5), _row(1, at=4, amount=4), _row(2, at=5, amount=5))
    world.materialize("last", at=6)
    world.ingest(_row(2, at=4, known=7, amount=4))
    world.materialize("last", at=8)
    return _in_a_batch_and_late(world)


def _in_a_batch_and_late(world: FeastWorld | GnomonWorld) -> Seen:
    (batch, _), (late, _) = world.read("last", "amount", 1, 2)
    return {"in a batch": batch, "late": late}


def _correction_feast(world: FeastWorld) -> Seen:
    return {
        "value": _pushed_correction(world, "a", skip_dedup=False),
        "with skip_dedup": _pushed_correction(world, "b", skip_dedup=True),
    }


def _pushed_correction(world: FeastWorld, project: str, skip_dedup: bool) -> Any:
    world.configure(project, skip_dedup=skip_dedup)
    world.define(last=_LAST)
    world.push("last", _row(1, at=5, amount=5))
    world.push("last", _row(1, at=5, known=7, amount=50))
    return world.read("last", "amount", 1)[0][0]


def _correction_gnomon(world: GnomonWorld) -> Seen:
    world.define(last=_LAST)
    world.ingest(_row(1, at=5, amount=5))
    world.materialize("last", at=6)
    world.ingest(_row(1, at=5, known=7, amount=50))
    world.materialize("last", at=8)
    return {"value": world.read("last", "amount", 1)[0][0]}


def _newer_null_feast(world: FeastWorld) -> Seen:
    world.define(**_NULLED)
    for view in _NULLED:
        world.push(view, _row(1, at=5, amount=5, note="x"))
        world.push(view, _row(1, at=6, amount=None, note="y"))
    return _nulled(world)


def _newer_null_gnomon(world: GnomonWorld) -> Seen:
    world.define(**_NULLED)
    for hour, values in ((5, {"amount": 5, "note": "x"}), (6, {"amount": None, "note": "y"})):
        world.ingest(_row(1, at=hour, **values))
        for view in _NULLED:
            world.materialize(view, at=hour)
    return _nulled(world)


def _nulled(world: FeastWorld | GnomonWorld) -> Seen:
    alone, noted = (world.read(view, "amount", 1)[0][0] for view in _NULLED)
    return {"alone": alone, "beside another value": noted}


def _large_integer(world: FeastWorld | GnomonWorld) -> Seen:
    world.define(last=_LAST)
    world.ingest(_row(1, at=1, amount=_EXACT), _row(2, at=1, amount=None))
    world.materialize("last", at=2)
    return {
        "online": world.read("last", "amount", 1, 2)[0][0],
        "offline": world.join("last", "amount", (1, 2), (2, 2))[0],
    }


def _late_rows(world: FeastWorld | GnomonWorld) -> Seen:
    world.define(last=_LAST)
    world.ingest(_row(1, at=1, amount=1))
    world.materialize("last", at=3)
    world.ingest(_row(1, at=2, known=4, amount=20), _row(2, at=2, known=4, amount=300))
    world.materialize("last", at=5)
    (known, _), (new, _) = world.read("last", "amount", 1, 2)
    return {"of a known customer": known, "of a new customer": new}


def _stored_null_feast(world: FeastWorld) -> Seen:
    world.define(last=_LAST)
    world.push("last", _row(1, at=5, amount=None))
    return _told_apart(world)


def _stored_null_gnomon(world: GnomonWorld) -> Seen:
    world.define(last=_LAST)
    world.ingest(_row(1, at=5, amount=None))
    world.materialize("last", at=6)
    return _told_apart(world)


def _told_apart(world: FeastWorld | GnomonWorld) -> Seen:
    stored, missing = world.read("last", "amount", 1, 2)
    return {"told apart": stored != missing, "stored null": stored[1], "missing entity": missing[1]}


def _label_rows(world: FeastWorld | GnomonWorld) -> Seen:
    world.define(last=View(_AMOUNT, max_age_h=9))
    world.ingest(_row(1, at=1, amount=7))
    found = world.join("last", "amount", *_REQUESTS)
    return {"rows": len(found), "values": found}


def _one_hash_feast(world: FeastWorld) -> Seen:
    world.define(profile=View(dict(zip(_ONE_HASH, ("amount", "note"), strict=True))))
    world.push("profile", _row(1, at=5, amount=7, note="x"))
    return {name: world.read("profile", name, 1)[0][0] for name in _ONE_HASH}


def _one_hash_gnomon(world: GnomonWorld) -> Seen:
    world.define(profile=View(dict(zip(_ONE_HASH, ("amount", "note"), strict=True))))
    world.ingest(_row(1, at=5, amount=7, note="x"))
    world.materialize("profile", at=6)
    return {name: world.read("profile", name, 1)[0][0] for name in _ONE_HASH}


def _own_ttl_feast(world: FeastWorld) -> Seen:
    """`key_ttl_seconds` is what ends online values in Feast; set to the age of the view that has one."""
    world.configure("a", key_ttl_seconds=2)
    world.define(short=View(_AMOUNT, max_age_h=2 * _SECOND_H), long=View(_AMOUNT, max_age_h=24))
    for view in ("short", "long"):
        world.push(view, _row(1, at=NOW_H, amount=7))
    time.sleep(3)
    return _short_and_long(world)


def _own_ttl_gnomon(world: GnomonWorld) -> Seen:
    world.define(short=View(_AMOUNT, max_age_h=2 * _SECOND_H), long=View(_AMOUNT, max_age_h=24))
    world.ingest(_row(1, at=NOW_H - 3 * _SECOND_H, amount=7))
    for view in ("short", "long"):
        world.materialize(view, at=NOW_H)
    return _short_and_long(world)


def _short_and_long(world: FeastWorld | GnomonWorld) -> Seen:
    return {
        f"view of {age}": world.read(view, "amount", 1)[0][0] for view, age in (("short", "2 s"), ("long", "1 day"))
    }


CASES = (
    Case("value older than its TTL, read online", {"value": None, "served as present": False},
         _old_value_feast, _old_value_gnomon),
    Case("two writers race", {"entities left with the older value": 0}, _race, _race),
    Case("older row later in a batch, or late (Feast: with skip_dedup)", {"in a batch": 5, "late": 5},
         _older_row_feast, _older_row_gnomon),
    Case("correction with the same timestamp", {"value": 50}, _correction_feast, _correction_gnomon),
    Case("newer null over an older value", {"alone": None, "beside another value": None},
         _newer_null_feast, _newer_null_gnomon),
    Case("int64 2^53+1 beside nulls", {"online": _EXACT, "offline": _EXACT}, _large_integer, _large_integer),
    Case("incremental materialization, late rows", {"of a known customer": 20, "of a new customer": 300},
         _late_rows, _late_rows),
    Case("stored null against missing entity", {"told apart": True}, _stored_null_feast, _stored_null_gnomon),
    Case("label rows with no match, duplicates (Feast: file store)", {"rows": 4, "values": [None, 7, 7, None]},
         _label_rows, _label_rows),
    Case("two feature names with one 32-bit hash", dict(zip(_ONE_HASH, (7, "x"), strict=True)),
         _one_hash_feast, _one_hash_gnomon),
    Case("TTL of one view (Feast: key_ttl_seconds)", {"view of 2 s": None, "view of 1 day": 7},
         _own_ttl_feast, _own_ttl_gnomon),
)  # fmt: skip
