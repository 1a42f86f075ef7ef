"""Builds training sets: label rows with the features that could have been known at each row's time.

Called by the training job. The same definitions, data versions and moment give the same table, byte by byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from gnomon.contracts.apps import App
from gnomon.contracts.columns import EVENT_ID, EVENT_TIME
from gnomon.contracts.durations import duration_us, format_duration
from gnomon.contracts.features import FeatureView
from gnomon.contracts.labels import Label
from gnomon.contracts.models import Model
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.signatures import Signature, model_signature
from gnomon.errors import InvalidDefinition, InvalidInput
from gnomon.features.event_columns import times_us
from gnomon.features.expression_kernels import ARROW_TYPES, NUMBERS, to_float, without_nan
from gnomon.features.label_rows import LABEL, usable_label_rows
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.request_features import compute_request_features
from gnomon.features.view_events import source_version
from gnomon.features.view_rows import REQUEST_TIME

Resolve = Callable[[str], Callable[..., "np.ndarray[Any, Any]"]]
"""Imports a request feature's function by its `module:name`."""


@dataclass(frozen=True)
class TrainingSet:
    """Rows to learn from, in the order of time.

    Attributes:
        table: Key columns, `EVENT_TIME`, `EVENT_ID`, one column per model input, and `label` (float64, no nulls); by
            (event time, event id).
        source_versions: Version of each source's table that was read.
        label_rows: Number of rows.
        dropped: Rows of the label's source that are not used, by reason; see `label_rows.LabelRows`.
        trained_until_us: No label row after this moment could be used: the moment of training less the label's delay.
        max_event_us: Event time of the newest row.
    """

    table: pa.Table
    source_versions: Mapping[str, int]
    label_rows: int
    dropped: Mapping[str, int]
    trained_until_us: int
    max_event_us: int

    def split(self, holdout: float, *, purge_us: int = 0) -> tuple[pa.Table, pa.Table]:
        """Split by time: training rows have event times up to a cut, held-out rows later ones; ties stay together.

        Args:
            holdout: Share of the rows to hold out, the newest; ties at the cut go to training, where that leaves rows.
            purge_us: Leave out training rows within this stretch before the first held-out row. With the label's delay,
                evaluation is as strict as life: no label is learned that was not final when the holdout begins.

        Returns:
            The training rows and the held-out rows, each in the order of time.

        Raises:
            InvalidInput: One side would be empty.
        """
        times = times_us(self.table, EVENT_TIME)
        wanted = min(max(int(len(times) * (1 - holdout)), 1), len(times) - 1)
        cut = int(np.searchsorted(times, times[wanted - 1], side="right")) if len(times) > 1 else 0
        if cut == len(times):
            cut = int(np.searchsorted(times, times[-1], side="left"))
        kept = int(np.searchsorted(times, times[cut] - purge_us, side="left")) if cut and purge_us else cut
        if cut and not kept:
            raise InvalidInput(
                f"none of {cut} label rows was final {format_duration(timedelta(microseconds=purge_us))} before the "
                f"first of {len(times) - cut} held-out rows",
                "wait for labels of a longer time, or use a smaller holdout",
                {"label_rows": self.label_rows},
            )
        if not cut:
            raise InvalidInput(
                f"{self.label_rows} label rows cannot be split by time with a holdout of {holdout:g}",
                "wait for labels of more than one time, or use a smaller holdout",
                {"label_rows": self.label_rows},
            )
        return self.table.slice(0, kept), self.table.slice(cut)


def build_training_set(
    app: App, model_name: str, offline: OfflineStore, as_of_us: int, resolve: Resolve, *, local_rows: int = 200_000
) -> TrainingSet:  # fmt: skip
    """Build the training set of a model as it could have been built at `as_of_us`.

    Every usable label row (see `label_rows`) becomes one row, with features of its event time t as known at t. Request
    fields come from the label row's own columns, in the version visible at `as_of_us`.

    Args:
        app: An app whose schemas are resolved.
        model_name: The model.
        offline: Holds the sources' tables.
        as_of_us: The moment of training, microseconds since the epoch; nothing later is seen.
        resolve: Imports request functions by name.
        local_rows: Up to this many rows are joined in this process, see `point_in_time_join`.

    Returns:
        The rows, and what they were made from.

    Raises:
        NotFound: The model is not defined, or a source has no rows yet.
        InvalidInput: No label row is usable at that moment; the hint says when the first will be.
    """
    model = app.get(Model, model_name)
    label = app.get(Label, model.label)
    signature = model_signature(app, model_name)
    _check_names(model_name, signature)
    views = {lookup.partition(".")[0] for lookup in signature.lookups}
    sources = sorted({label.source, *(app.get(FeatureView, view).source for view in views)})
    versions = {source: source_version(offline, source) for source in sources}
    columns = list(dict.fromkeys([*signature.keys, *signature.request]))
    usable = usable_label_rows(app, model_name, offline, versions[label.source], as_of_us, columns)
    rows = usable.table.combine_chunks()
    times = times_us(rows, EVENT_TIME)
    requests = rows.select(list(signature.keys)).append_column(REQUEST_TIME, pa.array(times))
    found = point_in_time_join(
        app, offline, requests, signature.lookups, local_rows=local_rows, versions=versions
    )  # fmt: skip
    values = {name: found.column(name) for name in found.column_names}
    values |= {n: without_nan(_as_type(rows.column(n).combine_chunks(), t)) for n, t in signature.request.items()}
    values |= compute_request_features(app, signature.request_features, values, resolve)
    fields = {key: rows.column(key) for key in signature.keys} | {n: rows.column(n) for n in (EVENT_TIME, EVENT_ID)}
    fields |= {i.name: _as_type(values[i.name], i.dtype) for i in signature.inputs}
    table = pa.table({**fields, LABEL: rows.column(LABEL)}).combine_chunks()
    return TrainingSet(
        table=table, source_versions=versions, label_rows=table.num_rows, dropped=usable.dropped,
        trained_until_us=as_of_us - duration_us(label.delay), max_event_us=int(times[-1]),
    )  # fmt: skip


def _as_type(values: pa.Array, dtype: str) -> pa.Array:
    wanted = ARROW_TYPES[dtype]
    return to_float(values) if wanted == ARROW_TYPES["float64"] and values.type in NUMBERS else values.cast(wanted)


def _check_names(model_name: str, signature: Signature) -> None:
    for name in (LABEL, EVENT_TIME, EVENT_ID):
        if name in signature.keys or any(i.name == name for i in signature.inputs):
            raise InvalidDefinition(
                f"model '{model_name}' reads an input named '{name}', which is a column of every training set",
                "give the request field or feature another name",
            )
