"""PSI and KS against known values, edges and false alarms."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.contracts.deployments import Drift
from gnomon.errors import InvalidInput
from gnomon.monitoring.drift import compare, ks_distance, ks_p_value, psi

FLOATS = st.lists(st.one_of(st.floats(-5, 5), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60)


def column(values: object, dtype: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, dtype)])


def table(**columns: object) -> pa.Table:
    return pa.table(columns)


# PSI


def test_psi_by_hand_over_deciles() -> None:
    reference = column(np.arange(1, 101, dtype=np.float64))
    live = column(np.arange(1, 51, dtype=np.float64))  # the lower five deciles, each twice as often
    empty = 0.5 / 50  # an upper decile without rows counts as half a row
    nulls = (0.5 / 50 - 0.5 / 100) * math.log(2)  # as does the bin of nulls, on both sides
    expected = 5 * (0.2 - 0.1) * math.log(2) + 5 * (empty - 0.1) * math.log(empty / 0.1) + nulls
    assert psi(reference, live) == pytest.approx(expected, rel=1e-12)


def test_psi_by_hand_over_values() -> None:
    reference = column(["a"] * 50 + ["b"] * 50)
    live = column(["a"] * 80 + ["b"] * 20)
    assert psi(reference, live) == pytest.approx(0.3 * math.log(1.6) - 0.3 * math.log(0.4))


@settings(deadline=None)
@given(FLOATS)
def test_psi_of_a_column_with_itself_is_zero(values: list[float]) -> None:
    assert psi(column(values), column(values[::-1])) == 0.0


@settings(deadline=None)
@given(FLOATS, FLOATS)
def test_psi_is_never_negative_nor_infinite(reference: list[float], live: list[float]) -> None:
    assert 0 <= psi(column(reference), column(live)) < 100


@settings(deadline=None)
@given(FLOATS, FLOATS, st.permutations(range(5)))
def test_psi_of_text_does_not_depend_on_names(reference: list[float], live: list[float], names: list[int]) -> None:
    def named(values: list[float], by: list[int]) -> pa.ChunkedArray:
        return column([f"v{by[int(abs(v)) % 5]}" for v in values])

    identity = list(range(5))
    assert psi(named(reference, names), named(live, names)) == pytest.approx(
        psi(named(reference, identity), named(live, identity))
    )


def test_constant_column_sees_values_below_and_above() -> None:
    constant = column([3.0] * 500)
    assert psi(constant, column([3.0] * 300)) < 0.02
    assert psi(constant, column([3.0] * 250 + [2.9] * 50)) > 0.25
    assert psi(constant, column([3.0] * 250 + [3.1] * 50)) > 0.25


def test_nulls_are_a_bin_of_their_own() -> None:
    values = list(np.linspace(0, 1, 400))
    thinned = [None if i % 3 == 0 else v for i, v in enumerate(values)]
    assert psi(column(values), column(thinned)) > 0.25
    assert psi(column(thinned), column(thinned)) == 0.0
    assert psi(column(["a"] * 400), column(["a"] * 300 + [None] * 100)) > 0.25
    assert psi(column(values), column([None] * 400, pa.null())) > 1
    assert psi(column([None] * 9, pa.null()), column(["a"] * 9)) > 1


def test_nan_counts_as_null() -> None:
    reference = column([0.0, 1.0, 2.0, None] * 50)
    assert psi(reference, column([0.0, 1.0, 2.0, float("nan")] * 50)) == 0.0


def test_a_new_value_drifts_and_many_rare_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    assert psi(column(["a", "b"] * 200), column(["a", "b", "c"] * 130)) > 0.25
    terminals = [f"t{i}" for i in range(3000)]
    assert psi(column(rng.choice(terminals, 5000)), column(rng.choice(terminals, 300))) < 0.1


# Kolmogorov–Smirnov


def test_ks_by_hand() -> None:
    assert ks_distance(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6])) == 0.5
    assert ks_distance(np.array([1.0, 1, 1]), np.array([1.0])) == 0.0
    assert ks_distance(np.array([0.0]), np.array([1.0])) == 1.0


@settings(deadline=None)
@given(FLOATS, FLOATS)
def test_ks_equals_the_definition(reference: list[float], live: list[float]) -> None:
    def below(values: list[float], x: float) -> float:
        return sum(v <= x for v in values) / len(values)

    brute = max(abs(below(reference, x) - below(live, x)) for x in [*reference, *live])
    assert ks_distance(np.array(reference), np.array(live)) == pytest.approx(brute, abs=1e-12)


@pytest.mark.parametrize(("scaled", "chance"), [(1.2238, 0.10), (1.3581, 0.05), (1.6276, 0.01), (1.9495, 0.001)])
def test_ks_p_value_has_the_tabled_quantiles(scaled: float, chance: float) -> None:
    rows = 2_000_000  # so many that the correction for small samples vanishes
    distance = scaled / math.sqrt(rows / 2)
    assert ks_p_value(distance, rows, rows) == pytest.approx(chance, rel=5e-3)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 5000), st.integers(1, 5000))
def test_ks_p_value_is_a_falling_chance(one: float, other: float, reference: int, live: int) -> None:
    near, far = sorted((one, other))
    assert 0 <= ks_p_value(far, reference, live) <= ks_p_value(near, reference, live) + 1e-12 <= 1 + 1e-12
    assert ks_p_value(0.0, reference, live) == 1.0


# Rules


def test_inputs_names_the_worst_column() -> None:
    rng = np.random.default_rng(1)
    reference = table(calm=rng.normal(size=2000), moved=rng.normal(size=2000), output=rng.random(2000))
    live = table(calm=rng.normal(size=500), moved=rng.normal(1.0, size=500), output=rng.random(500))
    finding = compare(reference, live, Drift("inputs"))
    assert finding.fired
    assert finding.column == "moved"
    assert finding.words == f"PSI of moved is {finding.value:.3f}, at or above 0.25"
    assert not compare(reference, live, Drift("score")).fired
    assert not compare(reference, live, Drift("calm")).fired


def test_score_is_no_input() -> None:
    rng = np.random.default_rng(2)
    reference = table(a=rng.normal(size=500), output=rng.random(500))
    live = table(a=rng.normal(size=500), output=rng.random(500) + 9)
    assert not compare(reference, live, Drift("inputs")).fired
    assert compare(reference, live, Drift("score")).fired


def test_threshold_counts_at_its_value() -> None:
    reference, live = table(a=["x"] * 50 + ["y"] * 50), table(a=["x"] * 80 + ["y"] * 20)
    value = psi(reference["a"], live["a"])
    assert compare(reference, live, Drift("a", threshold=value)).fired
    assert not compare(reference, live, Drift("a", threshold=math.nextafter(value, 9))).fired


def test_ks_needs_the_distance_and_the_significance() -> None:
    rng = np.random.default_rng(3)
    many, moved = table(a=rng.normal(size=50_000)), table(a=rng.normal(0.05, size=50_000))
    small = compare(many, moved, Drift("a", method="ks", threshold=0.1))
    assert small.value < 0.1
    assert not small.fired  # p is tiny, and alone it fires nothing
    few = compare(table(a=[1.0, 2.0, 3.0]), table(a=[2.5, 3.5, 4.5]), Drift("a", method="ks", threshold=0.1))
    assert few.value > 0.1
    assert not few.fired  # far, and it may well be chance
    assert compare(many, table(a=rng.normal(0.5, size=500)), Drift("a", method="ks", threshold=0.1)).fired


def test_bonferroni_counts_the_columns() -> None:
    reference = np.arange(1000.0)
    live = np.arange(1000.0) + 76  # D = 0.076, p = 0.006
    assert compare(table(a=reference), table(a=live), Drift("a", method="ks", threshold=0.05)).fired
    both = compare(
        table(a=reference, b=reference), table(a=live, b=reference), Drift("inputs", method="ks", threshold=0.05)
    )
    assert not both.fired
    assert "Bonferroni over 2 columns" in both.words


def test_ks_says_that_text_has_no_order() -> None:
    finding = compare(table(a=["x"]), table(a=["y"]), Drift("a", method="ks", threshold=0.1))
    assert (finding.fired, finding.words) == (False, "a: KS compares numbers only, it is string")


def test_unknown_column_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"the reference has no column 'amuont' \(did you mean 'amount'\?\)"):
        compare(table(amount=[1.0]), table(amount=[1.0]), Drift("amuont"))
    with pytest.raises(InvalidInput, match="the live window has no column 'amount'"):
        compare(table(amount=[1.0]), table(other=[1.0]), Drift("amount"))


# False alarms


def test_equal_distributions_seldom_alarm() -> None:
    """At the default threshold PSI never alarms on 200 rows of ten inputs; KS alarms at most at its significance."""
    rng = np.random.default_rng(4)
    psi_alarms = ks_alarms = 0
    for _ in range(100):
        reference = table(**{f"c{i}": rng.normal(size=2000) for i in range(10)})
        live = table(**{f"c{i}": rng.normal(size=200) for i in range(10)})
        psi_alarms += compare(reference, live, Drift("inputs")).fired
        ks_alarms += compare(reference, live, Drift("inputs", method="ks", threshold=0.01)).fired
    assert psi_alarms == 0
    assert ks_alarms <= 6  # expected at most 1; more than 6 has a chance below 0.001


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ks_p_values_are_calibrated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chances = [ks_p_value(ks_distance(rng.random(300), rng.random(100)), 300, 100) for _ in range(200)]
    assert np.mean(np.array(chances) < 0.05) < 0.05 + 5 * math.sqrt(0.05 * 0.95 / 200)
    assert np.mean(np.array(chances) < 0.5) > 0.3
