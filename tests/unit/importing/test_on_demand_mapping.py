"""Which on-demand views can be imported, and why the others cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.feast_repositories import PLAIN, imported, make_repository

import gnomon as gn

_HEAD = (
    PLAIN
    + """
import math
import re
import rates
from rates import TABLE, convert, Rate
from feast.on_demand_feature_view import on_demand_feature_view
other = FeatureView(name="other", entities=[driver], schema=[Field(name="trips", dtype=Int64)], source=stats)
lists = FeatureView(name="lists", entities=[driver], source=stats,
                    schema=[Field(name="all", dtype=Array(Int64)), Field(name="n", dtype=Int64)])
asked = RequestSource(name="asked", schema=[Field(name="extra", dtype=Int64)])
PATTERN, HERE, LATER, CACHE = re.compile("a"), {"a": [1, 2.5]}, None, {}
def again(function):
    def inner(inputs):
        return function(inputs)
    return inner
"""
)
_RATES = "TABLE = {'a': 1}\nclass Rate: ...\ndef convert(x):\n    return x * TABLE['a']\n"


def imported_from(
    tmp_path: Path, source: str, body: str, settings: str = "", before: str = ""
) -> tuple[str, list[str]]:
    """Import one on-demand view; return the app file and the reasons why it is not in there."""
    view = (
        f"@on_demand_feature_view(sources=[{source}], schema=[Field(name='y', dtype=Float64)]{settings})\n"
        f"{before}def made(inputs):\n    {body}\n"
    )
    repository = make_repository(tmp_path / "repo", {"a.py": _HEAD + view, "rates.py": _RATES})
    found, app = imported(repository, tmp_path / "app.py")
    left = [each.reason for each in found.findings.left_out if each.what.startswith("on-demand feature view")]
    assert len(app.all(gn.RequestFeature)) == 1 - len(left)
    return found.text, left


@pytest.mark.parametrize(
    ("source", "body", "inputs"),
    [
        ("view, asked", "return {'y': inputs['trips'] + inputs['extra']}", '["view.trips", "extra"]'),
        ("view, asked", "return {'y': inputs[['extra']]['extra']}", '["extra"]'),
        ("view, asked", "return {'y': inputs.get('extra')}", '["view.trips", "extra"]'),
        (
            "view, other",
            "return {'y': inputs['view__trips'] - inputs['other__trips']}",
            '["view.trips", "other.trips"]',
        ),
        ("lists", "return {'y': inputs['n']}", '["lists.n"]'),
        ("view", "inputs['z'] = inputs['trips']; return {'y': inputs['z']}", '["view.trips"]'),
    ],
)
def test_what_a_function_reads(source: str, body: str, inputs: str, tmp_path: Path) -> None:
    text, left = imported_from(tmp_path, source, body)
    assert left == []
    assert f"inputs={inputs}" in text


def test_what_a_function_uses_comes_with_it(tmp_path: Path) -> None:
    body = "return {'y': [convert(math.sqrt(n)) + HERE['a'][0] for n in inputs['trips']]}"
    text, left = imported_from(tmp_path, "view", body, ", mode='python'")
    assert left == []
    for line in ("import math\n", "\nTABLE = {'a': 1}\n", "\nHERE = {'a': [1, 2.5]}\n", "\ndef convert(x):\n"):
        assert text.count(line) == 1
    assert text.index("TABLE = ") < text.index("def convert(") < text.index("def made(")


@pytest.mark.parametrize(
    ("source", "body", "reason"),
    [
        ("view", "return PATTERN.sub('', inputs)", "it uses 'PATTERN', a Pattern of its file"),
        ("view", "return rates.convert(inputs)", "it uses 'rates' of the repository's module 'rates'"),
        ("view", "return Rate(inputs)", "it uses 'Rate' of the repository's module 'rates'"),
        ("view", "return Field(name=inputs)", "it uses 'Field' of Feast"),
        ("view", "return LATER(inputs)", "it uses 'LATER', which is None so far"),
        ("view", "return CACHE.get(inputs)", "it uses 'CACHE', which is {} so far"),
        ("view", "global HERE; return inputs", "function 'made' has global variables"),
        ("view", "return inputs['driver_id']", "its function reads 'driver_id', which is no feature or request field"),
        ("view, other", "return inputs['trips']", "two of its sources have a feature 'trips'"),
        ("lists", "return inputs['all']", "feature 'all' of view 'lists' is not there"),
        ("lists", "return inputs.sum()", "feature 'all' of view 'lists' is not there"),
    ],
)
def test_functions_that_cannot_be_taken(source: str, body: str, reason: str, tmp_path: Path) -> None:
    text, left = imported_from(tmp_path, source, body)
    assert len(left) == 1
    assert left[0].startswith(reason)
    assert "def made" not in text


@pytest.mark.parametrize(
    "statement",
    [
        "def round(x):\n    return x + 100",
        "from numpy import abs as round",
        "from numpy import round",
        "from math import floor as round",
        "from rates import convert as round",
        "round = 7",
    ],
)
def test_a_name_that_hides_one_of_pythons_is_not_lost(statement: str, tmp_path: Path) -> None:
    view = (
        "@on_demand_feature_view(sources=[view], schema=[Field(name='y', dtype=Float64)])\n"
        "def made(inputs):\n    return {'y': round(inputs['trips'])}\n"
    )
    files = {"a.py": f"{_HEAD}{statement}\n{view}", "rates.py": _RATES}
    found, app = imported(make_repository(tmp_path / "repo", files), tmp_path / "app.py")
    left = [each.reason for each in found.findings.left_out if each.what == "on-demand feature view 'made'"]
    assert (app.all(gn.RequestFeature), len(left)) == ((), 1)
    assert "'round'" in left[0]


def test_pythons_own_names_need_not_come_along(tmp_path: Path) -> None:
    view = (
        "from builtins import len\nround = round\n"
        "@on_demand_feature_view(sources=[view], schema=[Field(name='y', dtype=Float64)])\n"
        "def made(inputs):\n    return {'y': round(len(inputs['trips']))}\n"
    )
    files = {"a.py": _HEAD + view, "rates.py": _RATES}
    found, app = imported(make_repository(tmp_path / "repo", files), tmp_path / "app.py")
    assert len(app.all(gn.RequestFeature)) == 1
    assert "builtins" not in found.text


@pytest.mark.parametrize(
    ("settings", "before", "reason"),
    [
        (", mode='substrait'", "", "functions of mode 'substrait' are not called here"),
        (", write_to_online_store=True", "", "write_to_online_store: request features are computed"),
        (", aggregations=[Aggregation(column='trips', function='sum')]", "", "aggregations: a request feature has no"),
        ("", "@again\n", "function 'inner' uses variables"),
    ],
)
def test_views_that_cannot_be_taken(settings: str, before: str, reason: str, tmp_path: Path) -> None:
    _, left = imported_from(tmp_path, "view", "return inputs", settings, before)
    assert len(left) == 1
    assert left[0].startswith(reason)
