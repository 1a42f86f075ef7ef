"""`gnomon test-features` on good features, on one of each bad class, and on the apps of our own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gnomon.cli.app import app as commands
from gnomon.cli.feature_test_command import check_app
from gnomon.errors import InvalidDefinition, InvalidInput, NotFound

ROOT = Path(__file__).resolve().parents[3]
OUR_APPS = [ROOT / "platform/gnomon/examples/payments/app.py", *sorted((ROOT / "tests" / "apps").glob("*.py"))]

HEAD = """
import json
import time

import numpy as np

import gnomon as gn

customer = gn.Entity("customer", key="customer_id")
payments = gn.DataSource(
    "payments", path="nowhere/*.csv", id="id", event_time="at",
    fields={"customer_id": "int64", "amount": gn.Field("float64", min=0, max=500), "shop": "string", "n": "int64",
            "night": "bool", "day": "timestamp", "kind": gn.Field("string", one_of=["web", "shop"])},
)
spend = gn.FeatureView("spend", entity=customer, source=payments, features=[
    gn.Column("amount"), gn.Column("kind"), gn.Column("night"), gn.Column("n"), gn.Column("day"),
    gn.Aggregation("*", "count", window="7d", name="rows"),
    gn.Aggregation("shop", "top_k", k=3, window="7d", name="shops"),
    gn.Aggregation("amount", "mean", window="7d", name="mean"),
    gn.Aggregation("amount", "std", window="7d", name="std"),
    gn.Derived("share", gn.col("amount") / gn.col("rows")),
    gn.Derived("late", gn.col("day").apply("hour") > 20, dtype="bool"),
])
FIELDS = {"x": "float64", "n": "int64", "text": "string", "flag": "bool", "at": "timestamp"}
calls = []
"""


def app_file(folder: Path, *lines: str) -> Path:
    file = folder / "app.py"
    file.write_text(HEAD + "\n".join(lines) + "\n")
    return file


def function(body: str, inputs: str = '["x"]', dtype: str = "float64") -> str:
    """Return a function of one or more arrays and its request feature, named `bad`."""
    names = ", ".join(re.findall(r'"(?:spend\.)?(\w+)"', inputs))
    lines = "\n".join(f"    {line}" for line in body.split("; "))
    feature = f'gn.RequestFeature("bad", request=FIELDS, inputs={inputs}, function=compute, dtype="{dtype}")'
    return f"def compute({names}):\n{lines}\n\n\nbad = {feature}"


def finding(folder: Path, *lines: str, seed: int = 0, examples: int = 60) -> dict[str, Any]:
    (found,) = check_app(app_file(folder, *lines), ["bad"], [], examples, seed)
    assert not found["ok"]
    result: dict[str, Any] = found["finding"]
    return result


GOOD = [
    'a = gn.RequestFeature("a", request=FIELDS, expression=gn.col("x") / gn.col("spend.mean"))',
    'b = gn.RequestFeature("b", request=FIELDS, expression=gn.col("n") * gn.col("spend.n"), dtype="int64")',
    'c = gn.RequestFeature("c", request=FIELDS, expression=gn.col("text").apply("lower"), dtype="string")',
    'd = gn.RequestFeature("d", request=FIELDS, expression=gn.col("at") - gn.col("spend.day"))',
    'e = gn.RequestFeature("e", request=FIELDS, expression=gn.col("flag") & gn.col("spend.night"), dtype="bool")',
    "def logs(x, mean):\n    return np.log(np.abs(x)) - np.log1p(mean)",
    'f = gn.RequestFeature("f", request=FIELDS, inputs=["x", "spend.mean"], function=logs)',
    "def upper(text):\n    return np.array([None if t is None else t.upper() for t in text], dtype=object)",
    'g = gn.RequestFeature("g", request=FIELDS, inputs=["text"], function=upper, dtype="string")',
    "def first(shops):\n    return np.array([np.nan if s is None else len(json.loads(s)) for s in shops])",
    'h = gn.RequestFeature("h", inputs=["spend.shops"], function=first)',
    "def per_row(count):\n    return np.array([np.nan if np.isnan(c) else [0.0, 1.0][min(int(c), 1)] for c in count])",
    'i = gn.RequestFeature("i", inputs=["spend.rows"], function=per_row)',
    "def code(kind):\n    return np.array([{None: 0, 'web': 1, 'shop': 2}[k] for k in kind])",
    'j = gn.RequestFeature("j", inputs=["spend.kind"], function=code, dtype="int64")',
    "def root(std, amount):\n    return np.sqrt(std) + np.array([0 if a != a else range(501)[int(a)] for a in amount])",
    'k = gn.RequestFeature("k", inputs=["spend.std", "spend.amount"], function=root)',
]


def test_good_features_pass(tmp_path: Path) -> None:
    found = check_app(app_file(tmp_path, *GOOD), [], [], 60, 1)
    assert {f["feature"]: f["finding"] for f in found} == dict.fromkeys([*"abcdefghijk", "spend.late", "spend.share"])
    assert all(f["rows"] > 1000 for f in found)


BAD = {
    "raises": (function("return np.array([1.0 / float(v) for v in x])"), "ZeroDivisionError"),
    "raises_on_null": (function("return np.array([len(t) for t in text])", '["text"]'), "NoneType"),
    "wrong_length": (function("return x[x > 0]"), "shape"),
    "wrong_shape": (function("return x.reshape(-1, 1)"), "shape"),
    "a_scalar": (function("return float(len(x))"), "returned float"),
    "a_list": (function("return list(x)"), "returned list"),
    "wrong_dtype": (function("return x / 2", dtype="int64"), "declared as int64"),
    "wrong_text": (function("return text", '["text"]'), "declared as float64"),
    "random": (function("return x + np.random.default_rng().random(len(x))"), "computed again"),
    "a_counter": (function("calls.append(1); return x + len(calls)"), "computed again"),
    "a_clock": (function("return x * 0 + time.perf_counter_ns()"), "computed again"),
    "mean": (function("return x - np.mean(np.nan_to_num(x))"), "alone"),
    "length": (function("return np.full(len(x), len(x) * 1.0)"), "alone"),
    "rank": (function("return (x[:, None] > x[None, :]).sum(axis=1) * 1.0"), "alone"),
    "sort": (function("return np.sort(x)"), "alone"),
    "cumsum": (function("return np.cumsum(np.nan_to_num(x))"), "alone"),
    "shift": (function("return np.append(x[:1], x[:-1])"), "alone"),
    "mutates": (function("x[np.isnan(x)] = 0.0; return x"), "input 'x'"),
    "mutates_text": (function("text[:] = 'a'; return np.zeros(len(text))", '["text"]'), "input 'text'"),
    "mutates_lookup": (function("mean += 1; return mean", '["spend.mean"]'), "input 'spend.mean'"),
}
PROBLEMS = {
    "raises": "raises", "raises_on_null": "raises", "wrong_length": "wrong_result", "wrong_shape": "wrong_result",
    "a_scalar": "wrong_result", "a_list": "wrong_result", "wrong_dtype": "wrong_result", "wrong_text": "wrong_result",
    "random": "not_deterministic", "a_counter": "not_deterministic", "a_clock": "not_deterministic",
    "mean": "depends_on_other_rows", "length": "depends_on_other_rows", "rank": "depends_on_other_rows",
    "sort": "depends_on_order", "cumsum": "depends_on_order", "shift": "depends_on_order",
    "mutates": "changes_inputs", "mutates_text": "changes_inputs", "mutates_lookup": "changes_inputs",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_feature_is_found_and_shown_small(name: str, tmp_path: Path) -> None:
    code, words = BAD[name]
    found = finding(tmp_path, code)
    assert found["problem"] == PROBLEMS[name], found
    assert words in found["message"]
    assert found["hint"]
    alone = found["problem"] not in ("depends_on_other_rows", "depends_on_order")
    assert len(found["rows"]) == (1 if alone else 2)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("raises", [{"x": 0.0}]),
        ("raises_on_null", [{"text": None}]),
        ("wrong_dtype", [{"x": 1.0}]),
        ("length", [{"x": 0.0}, {"x": 0.0}]),
        ("cumsum", [{"x": 1.0}, {"x": 0.0}]),
        ("mutates", [{"x": None}]),
        ("mutates_lookup", [{"spend.mean": 0.0}]),
    ],
)
def test_the_example_is_the_simplest(name: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    for seed in range(3):
        assert finding(tmp_path, BAD[name][0], seed=seed)["rows"] == rows


def test_a_seed_draws_the_same_again(tmp_path: Path) -> None:
    """Also where other features are tested beside it; and another seed draws otherwise."""
    rare = function("return np.where(x > 1e5, np.nan_to_num(x).max(), x)")
    file = app_file(tmp_path, *GOOD[:1], rare)
    both, again = (check_app(file, [], [], 60, 5) for _ in range(2))
    assert both == again
    assert check_app(file, ["bad"], [], 60, 5)[0] in both
    assert len({check_app(file, ["bad"], [], 60, seed)[0]["rows"] for seed in range(6)}) > 1


def test_a_fault_of_long_tables_only_is_found(tmp_path: Path) -> None:
    """As of a library that sums in blocks, or goes another way from some length on."""
    found = finding(tmp_path, function("return x if len(x) < 500 else np.round(x)"), examples=5)
    assert found["problem"] == "depends_on_other_rows"


def test_an_expression_of_the_wrong_type_is_found(tmp_path: Path) -> None:
    wrong = 'bad = gn.RequestFeature("bad", request=FIELDS, expression=gn.col("text") + 1)'
    assert finding(tmp_path, wrong)["problem"] == "wrong_result"


def test_a_derived_feature_of_the_wrong_type_is_found(tmp_path: Path) -> None:
    bad = 'more = gn.FeatureView("more", entity=customer, source=payments, features=[gn.Column("shop"), '
    bad += 'gn.Derived("bad", gn.col("shop").apply("lower"))])'
    (found,) = check_app(app_file(tmp_path, bad), [], ["more"], 10, 0)
    assert (found["feature"], found["finding"]["problem"]) == ("more.bad", "wrong_result")
    assert "declare dtype='string'" in found["finding"]["hint"]


@pytest.mark.parametrize("path", OUR_APPS, ids=lambda path: path.stem if path.stem != "app" else path.parent.name)
def test_our_own_apps_pass(path: Path) -> None:
    assert [f for f in check_app(path, [], [], 100, 0) if not f["ok"]] == []


def test_what_is_chosen(tmp_path: Path) -> None:
    file = app_file(tmp_path, *GOOD)

    def chosen(features: list[str], views: list[str]) -> list[str]:
        return [f["feature"] for f in check_app(file, features, views, 2, 0)]

    assert chosen([], ["spend"]) == ["spend.share", "spend.late"]
    assert chosen(["spend.share"], []) == ["spend.share"]
    assert chosen(["a"], ["spend"]) == ["a", "spend.share", "spend.late"]
    with pytest.raises(NotFound, match="nothing"):
        chosen(["nothing"], [])
    with pytest.raises(NotFound, match="spent"):
        chosen([], ["spent"])


def test_types_come_from_the_data_where_they_are_not_declared(tmp_path: Path) -> None:
    text = """
import gnomon as gn
customer = gn.Entity("customer", key="c")
rows = gn.DataSource("rows", path="rows/*.csv", id="id", event_time="at", timezone="UTC")
view = gn.FeatureView("view", entity=customer, source=rows, features=[gn.Column("v"), gn.Derived("w", gn.col("v") * 2)])
"""
    file = tmp_path / "app.py"
    file.write_text(text)
    with pytest.raises(InvalidInput, match="column 'v' of source 'rows' is not declared") as caught:
        check_app(file, [], [], 2, 0)
    assert "no platform is needed" in caught.value.hint
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text("id,at,c,v\n1,2026-01-01,1,2.5\n")
    assert check_app(file, [], [], 2, 0)[0]["ok"]
    file.write_text(text.replace('"v")', '"u")'))
    with pytest.raises(InvalidDefinition, match="no column 'u'"):
        check_app(file, [], [], 2, 0)


def test_the_command_tells_what_to_do_and_exits_with_one(tmp_path: Path) -> None:
    file = str(app_file(tmp_path, *GOOD[:1], BAD["mean"][0]))
    good = CliRunner().invoke(commands, ["test-features", file, "--feature", "a", "--examples", "5"])
    assert (good.exit_code, "ok" in good.stdout) == (0, True)
    bad = CliRunner().invoke(commands, ["test-features", file, "--examples", "40", "--seed", "3"])
    assert bad.exit_code == 1
    for words in ("depends on other rows", "without a mean", "again: --feature bad --seed 3"):
        assert words in bad.stdout
    as_json = CliRunner().invoke(commands, ["test-features", file, "--examples", "40", "--seed", "3", "-o", "json"])
    body = json.loads(as_json.stdout)
    assert (as_json.exit_code, body["seed"], body["ok"]) == (1, 3, False)
    assert [f["ok"] for f in body["features"]] == [True, False, True, True]
