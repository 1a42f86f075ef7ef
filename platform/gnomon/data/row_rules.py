"""The row rules of a source's contract, each as a mask over whole columns.

Called by `validation` for the rows that no rule of a field has refused. What breaks a rule of severity `quarantine`
is refused too; what breaks one of another severity is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.data_contracts import Between, Check, InSet, Matches, RowRule
from gnomon.contracts.sources import DataSource
from gnomon.data.casting import Mask, as_mask
from gnomon.data.field_rules import Fault, bound_of, listed, unlisted, unmatched
from gnomon.errors import GnomonError, InvalidDefinition
from gnomon.features.expressions import evaluate


def row_rules(source: DataSource) -> list[RowRule]:
    """Return the row rules of a source's contract, those that refuse rows first, else in the order of declaration."""
    rules = [rule for rule in source.contract if isinstance(rule, RowRule)]
    return sorted(rules, key=lambda rule: rule.severity != "quarantine")


def rule_fault(source: DataSource, rule: RowRule, columns: Mapping[str, pa.Array]) -> Fault:
    """Mark the rows that break a rule; null breaks none.

    Args:
        source: Named in errors.
        rule: One of the source's contract.
        columns: All columns of the source, as read.

    Returns:
        The rule's name, what is true of the marked rows, and the marks.

    Raises:
        InvalidDefinition: The rule does not fit the types of its columns.
    """
    name = rule.columns()[0] if rule.columns() else source.id[0]
    values = columns[name]
    if isinstance(rule, Check):
        holds = _holds(source, rule, columns, len(values))
        return Fault(rule.label(), f"{_shown(rule)} is false", name, ~holds)
    if isinstance(rule, InSet):
        return Fault(
            rule.label(), f"{name} '{{}}' is none of {listed(rule.values)}", name,
            unlisted(source, name, rule.values, values),
        )  # fmt: skip
    if isinstance(rule, Matches):
        reason = f"{name} '{{}}' does not match {rule.pattern}"
        return Fault(rule.label(), reason, name, unmatched(source, name, rule.pattern, values))
    assert isinstance(rule, Between)
    return Fault(rule.label(), f"{name} {{}} is not {_range(rule)}", name, _outside(source, rule, values))


def _holds(source: DataSource, rule: Check, columns: Mapping[str, pa.Array], rows: int) -> Mask:
    try:
        truth = evaluate(rule.condition, columns, rows)
    except GnomonError as error:
        raise InvalidDefinition(f"source '{source.name}': {rule.label()}: {error.message}", error.hint) from error
    if not pa.types.is_boolean(truth.type):
        raise InvalidDefinition(
            f"source '{source.name}': {rule.label()} gives {truth.type}, not true or false",
            "end it with a comparison, such as col('refund') <= col('amount')",
        )
    holds: Mask = np.asarray(as_mask(pc.fill_null(truth, True)), dtype=bool)
    return holds


def _outside(source: DataSource, rule: Between, values: pa.Array) -> Mask:
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise InvalidDefinition(
            f"source '{source.name}': {rule.label()} needs a number, the column is {values.type}",
            "use Check with a condition",
        )
    floats = pa.types.is_floating(values.type)
    outside: Mask = as_mask(pc.is_nan(values)) if floats else np.zeros(len(values), dtype=bool)
    if rule.min is not None:
        outside = outside | as_mask(pc.less(values, bound_of(rule.min, values)))
    if rule.max is not None:
        outside = outside | as_mask(pc.greater(values, bound_of(rule.max, values)))
    return outside


def _range(rule: Between) -> str:
    if rule.min is None or rule.max is None:
        return f"at most {rule.max:g}" if rule.min is None else f"at least {rule.min:g}"
    return f"between {rule.min:g} and {rule.max:g}"


def _shown(rule: Check) -> str:
    return f"the condition {rule.name} over {', '.join(rule.columns())}"
