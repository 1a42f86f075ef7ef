"""Declared transforms: read back from JSON, checked when they are made, and older definitions are what they were."""

from __future__ import annotations

import json
from typing import Any

import pytest

import gnomon as gn
from gnomon.contracts.apps import App
from gnomon.contracts.specs import content_hash
from gnomon.errors import InvalidDefinition

STEPS = [
    gn.Trim(["name", "city"]), gn.Lower("name"), gn.Upper("city"), gn.Replace("amount", "[ €]", ""),
    gn.MapValues("city", {"B": "BERLIN"}), gn.NullIf("amount", ["-", "N/A"]), gn.NullIf("n", (-999, 0.0)),
    gn.NullIf("amount", -1), gn.Fill("n", 0), gn.Fill("ok", True), gn.Clip("amount", 0, 1e6),
    gn.Compute("cents", gn.col("amount") * 100), gn.Clip("cents", max=5.0),
]  # fmt: skip
FIELDS = {"amount": "float64", "n": "int64", "ok": "bool", "city": "string"}


def source(*steps: Any, **options: Any) -> gn.DataSource:
    given = {"path": "a.csv", "id": "id", "event_time": "at", "fields": FIELDS, "transforms": steps, **options}
    return gn.DataSource("events", **given)


def test_the_json_is_the_whole_of_them() -> None:
    made = source(*STEPS)
    again = gn.DataSource.model_validate(json.loads(json.dumps(made.as_json())))
    assert again == made
    assert again.transforms == tuple(STEPS)
    assert [type(v) for v in again.transforms[6].as_json()["values"]] == [int, float]
    assert again.content_hash() == made.content_hash()
    assert App.of("app", [made]).get(gn.DataSource, "events").transforms == made.transforms


def test_the_order_counts() -> None:
    one, other = gn.Trim("name"), gn.Lower("name")
    assert source(one, other).content_hash() != source(other, one).content_hash()


def test_a_definition_without_them_is_what_it_was() -> None:
    old = gn.DataSource("payments", path="payments.csv", id="id", event_time="paid_at")
    before = {
        "name": "payments", "description": "", "owner": "", "tags": [], "path": "payments.csv", "format": "csv",
        "id": ["id"], "event_time": "paid_at", "known_time": None, "known_delay": old.as_json()["known_delay"],
        "timezone": None, "time_format": None, "fields": {},
    }  # fmt: skip
    assert old.as_json() == before
    assert old.content_hash() == content_hash(before)
    assert old.content_hash() == "cbed75cf5c6f9b09818ab615af91b9a654aa3dbc42bb7d5dcb24c51314453d41"
    assert source(transforms=[]).content_hash() == source().content_hash()


WRONG = [
    ([gn.Fill("id", "x")], "'id' is the event's id or time, which may only be cleansed as text or by NullIf"),
    ([gn.Fill("at", "x")], "column 'at': it holds times: only steps on text change them"),
    ([gn.Compute("at", gn.col("n") + 1)], "'at' is the event's id or time"),
    ([gn.Clip("city", 0, 1)], "clip:city: column 'city': needs a number, the column is string"),
    ([gn.Clip("n", 0.5)], "column 'n': 0.5 is no int64"),
    ([gn.Fill("n", 2**63)], "9223372036854775808 is no int64"),
    ([gn.Fill("n", True)], "True is no int64"),
    ([gn.Fill("n", "0")], "'0' is no int64"),
    ([gn.Fill("city", 0)], "0 is no string"),
    ([gn.NullIf("city", 0)], "0 is no string"),
    ([gn.NullIf("at", 0)], "it holds times"),
    ([gn.Clip("n", 0), gn.Trim("n")], "trim:n: it sees 'n' as it is written: put it before clip:n"),
    ([gn.Compute("m", gn.col("n") + 1), gn.Replace("n", "a", "")], "put it before compute:m"),
    ([gn.Compute("m", gn.col("m") + 1)], "column 'm' is computed by this or a later step"),
    ([gn.Clip("m", 0), gn.Compute("m", gn.col("n") + 1)], "column 'm' is computed by this or a later step"),
    ([gn.Fill("n", 0), gn.Compute("n", gn.col("amount"))], "column 'n' is computed"),
    ([gn.Compute("m", gn.col("n")), gn.Compute("m", gn.col("n"))], "column 'm' is computed twice"),
    ([gn.Compute("_digest", gn.col("n"))], "the name '_digest' is reserved"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "message"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_what_does_not_fit_is_refused_when_it_is_made(steps: list[Any], message: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        source(*steps)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gn.Trim([]), "at least 1"),
        (lambda: gn.Replace("a", "", "x"), "at least 1"),
        (lambda: gn.MapValues("a", {}), "at least 1"),
        (lambda: gn.NullIf("a", ["-", 0]), "texts and numbers in one step"),
        (lambda: gn.Fill("a", float("nan")), "finite"),
        (lambda: gn.Clip("a"), "give min, max or both"),
        (lambda: gn.Clip("a", 2, 1), "min 2 is above max 1"),
        (lambda: gn.Compute("a", 5), "the expression reads no column"),
        (lambda: gn.Trim("a", pattern="x"), "no such field"),
    ],
)
def test_a_step_that_says_nothing_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidDefinition, match=message):
        make()


def test_computed_columns_are_required_of_no_file() -> None:
    steps = [gn.Trim("name"), gn.Compute("m", gn.col("x") + 1), gn.Compute("k", gn.col("m") + gn.col("y"))]
    made = source(*steps, fields={"k": "float64"}, contract=[gn.Between("m", 0)])
    assert made.required_columns() == ("id", "at", "name", "x", "y")
