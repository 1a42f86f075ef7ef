"""The rows that a model may learn from at a moment, and why the others may not be used. Called by `training_sets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import from_us
from gnomon.contracts.columns import DIGEST, EVENT_ID, EVENT_TIME, INGESTED_AT, KNOWN_TIME
from gnomon.contracts.durations import duration_us, format_duration
from gnomon.contracts.labels import Label
from gnomon.contracts.models import Model
from gnomon.contracts.offline_store import OfflineStore
from gnomon.errors import InvalidInput
from gnomon.features.event_columns import Flags, Int64s, times_us
from gnomon.features.event_order import superseded_us
from gnomon.features.expression_kernels import ARROW_TYPES, BOOL, NAMES, NUMBERS, to_float, without_nan
from gnomon.features.expressions import evaluate

LABEL = "label"
"""Column of a training set with what is to be learned: float64 without nulls."""


@dataclass(frozen=True)
class LabelRows:
    """The usable label rows of a model.

    Attributes:
        table: The columns asked for, the event's time and id, and `LABEL`; by (event time, event id).
        dropped: How many rows of the source are not used, by reason: `superseded` by a later version, `not_known_yet`,
            `not_final_yet` (the delay has not passed), `filtered` out by where, `null_label`, `before_history`.
    """

    table: pa.Table
    dropped: Mapping[str, int]


def usable_label_rows(
    app: App, model_name: str, offline: OfflineStore, version: int, as_of_us: int, columns: Sequence[str]
) -> LabelRows:  # fmt: skip
    """Select the label rows that may be learned from at `as_of_us`.

    A row takes part in the version visible at `as_of_us`, if its event time plus the label's delay has passed, its
    label is not null and the label's filter is true. `Model.history` keeps the last stretch before `as_of_us − delay`.

    Args:
        app: An app whose schemas are resolved.
        model_name: The model.
        offline: Holds the label's source.
        version: Version of its table.
        as_of_us: The moment of training.
        columns: Other columns of the source to keep.

    Returns:
        The rows, and the counts of those left out.

    Raises:
        InvalidInput: No row is usable, or the label has values that the task cannot learn.
    """
    model = app.get(Model, model_name)
    label = app.get(Label, model.label)
    rows = _read(offline, label, version, columns)
    event, known, superseded = times_us(rows, EVENT_TIME), times_us(rows, KNOWN_TIME), superseded_us(rows)
    values, chosen = _label_values(app, label, rows)
    delay_us = duration_us(label.delay)
    history_us = None if model.history is None else duration_us(model.history)
    reasons: dict[str, Flags] = {
        "not_known_yet": known > as_of_us,
        "superseded": superseded <= as_of_us,
        "not_final_yet": event > as_of_us - delay_us,
        "filtered": ~chosen,
        "null_label": np.asarray(pc.is_null(values)),
        "before_history": event <= (as_of_us - delay_us - history_us if history_us is not None else event - 1),
    }
    usable, dropped = np.ones(len(event), np.bool_), {}
    for reason, applies in reasons.items():
        dropped[reason] = int((usable & applies).sum())
        usable &= ~applies
    if not usable.any():
        complete = ~(reasons["filtered"] | reasons["null_label"]) & (known < superseded)
        raise _nothing_usable(model, label, dropped, as_of_us, np.maximum(event + delay_us, known)[complete])
    kept = rows.select([*dict.fromkeys([*columns, EVENT_TIME, EVENT_ID])]).append_column(LABEL, values)
    kept = kept.filter(pa.array(usable)).sort_by([(EVENT_TIME, "ascending"), (EVENT_ID, "ascending")])
    _check_values(model, label, kept.column(LABEL))
    return LabelRows(kept, dropped)


def _read(offline: OfflineStore, label: Label, version: int, columns: Sequence[str]) -> pa.Table:
    digest = [DIGEST] if DIGEST in offline.schema(label.source, version=version).names else []
    system = [EVENT_TIME, KNOWN_TIME, INGESTED_AT, EVENT_ID, *digest]
    wanted = dict.fromkeys([*columns, *sorted(label.source_columns()), *system])
    return offline.read(label.source, columns=list(wanted), version=version).combine_chunks()


def _label_values(app: App, label: Label, rows: pa.Table) -> tuple[pa.Array, Flags]:
    """Return the label of every row as float64, and which rows the filter lets through."""
    schema = app.schemas[label.source]
    columns = {name: rows.column(name).cast(ARROW_TYPES[schema[name]]) for name in label.source_columns()}
    chosen = np.ones(rows.num_rows, np.bool_)
    if label.where is not None:
        chosen = np.asarray(pc.fill_null(_condition(label, "where", label.where, columns, rows.num_rows), False))
    if label.positive is not None:
        return to_float(_condition(label, "positive", label.positive, columns, rows.num_rows)), chosen
    name = label.column or label.name
    values = without_nan(columns[name].combine_chunks())
    if values.type not in NUMBERS:
        raise InvalidInput(
            f"label '{label.name}': column '{name}' is {NAMES[values.type]}",
            "a label is a number or bool; declare it by a condition: positive=col(…).equals(…)",
        )
    return to_float(values), chosen


def _condition(label: Label, what: str, expression: object, columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
    value = evaluate(expression, columns, rows)  # type: ignore[arg-type]
    if value.type != BOOL:
        raise InvalidInput(f"label '{label.name}': {what} is {NAMES[value.type]}, not bool", "compare with a value")
    return value


def _check_values(model: Model, label: Label, values: pa.ChunkedArray) -> None:
    numbers = np.asarray(values)
    if not np.isfinite(numbers).all():
        raise InvalidInput(f"label '{label.name}' holds infinite values", "quarantine them with a field's min and max")
    if model.task == "binary" and not np.isin(numbers, (0.0, 1.0)).all():
        wrong = sorted(set(numbers[~np.isin(numbers, (0.0, 1.0))][:3].tolist()))
        raise InvalidInput(
            f"model '{model.name}' is binary, but label '{label.name}' holds {wrong}",
            "use task='regression', or declare positive= as a condition",
        )


def _nothing_usable(
    model: Model, label: Label, dropped: Mapping[str, int], as_of_us: int, usable_from_us: Int64s
) -> InvalidInput:  # fmt: skip
    counts = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in dropped.items() if n) or "it has no rows"
    later = usable_from_us[usable_from_us > as_of_us]
    hint = f"labels become usable {format_duration(label.delay)} after their event"
    hint += f": the earliest at {from_us(int(later.min())).isoformat()}" if len(later) else ""
    when = from_us(as_of_us).isoformat()
    return InvalidInput(
        f"model '{model.name}': source '{label.source}' has no usable label row at {when} ({counts})",
        hint,
        {"dropped": dict(dropped)},
    )
