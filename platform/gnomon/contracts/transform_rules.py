"""The rules that hold between the transforms of a source: their order, and the columns that they may change.

Called when a `DataSource` is made, with the types that it declares, and by `data.source_schema` with all types.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gnomon.contracts.columns import SYSTEM_COLUMNS, Dtype
from gnomon.contracts.transforms import Compute, NullIf, Transform, computed_columns


def check_steps(steps: Sequence[Transform], event: Collection[str], types: Mapping[str, Dtype]) -> None:
    """Check that steps fit each other and the types of their columns.

    Args:
        steps: In the order in which they are declared.
        event: The columns of the event's id and times.
        types: Types of columns, as far as they are known.

    Raises:
        ValueError: They do not; the message names the step.
    """
    later = list(computed_columns(steps))
    used: dict[str, str] = {}
    for step in steps:
        label = f"transform {step.label()}"
        for name in step.reads():
            if name in later:
                raise ValueError(f"{label}: column '{name}' is computed by this or a later step: put that one first")
            if step.is_of_text() and name in used:
                raise ValueError(f"{label}: it sees '{name}' as it is written: put it before {used[name]}")
            if name in types and (why := step.problem(types[name])):
                raise ValueError(f"{label}: column '{name}': {why}")
        for name in step.columns():
            if name in event and not (step.is_of_text() or isinstance(step, NullIf)):
                raise ValueError(
                    f"{label}: '{name}' is the event's id or time, which may only be cleansed as text or by NullIf"
                )
        if isinstance(step, Compute):
            _check_new(step, later, used)
        if not step.is_of_text():
            used |= dict.fromkeys((*step.reads(), *step.columns()), step.label())


def _check_new(step: Compute, later: list[str], used: Collection[str]) -> None:
    later.remove(step.column)
    if step.column in used or step.column in later:
        raise ValueError(f"transform {step.label()}: column '{step.column}' is computed twice, or used before")
    if step.column in SYSTEM_COLUMNS:
        raise ValueError(f"transform {step.label()}: the name '{step.column}' is reserved")
