"""Prediction and outcome records, and the log that keeps them.

Written by replicas off the request path (`serving.prediction_log`), read by `monitoring`.
Contract: `testing.prediction_log_contract`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class PredictionRecord:
    """One answered prediction.

    Attributes:
        prediction_id: Unique; given by the caller or made here.
        deployment: Endpoint that answered.
        model: Name of its model.
        version: Number of the version that answered.
        variant: `champion`, or the name of a canary or shadow.
        time_us: When it was asked.
        keys: Entity keys.
        inputs: Every model input by name, as the model saw it (null where missing).
        age_us: Age of each looked-up input, −1 where there was no row.
        status: `Status` of each looked-up input.
        output: The prediction.
        latency_us: From the request's arrival in the replica to the answer.
    """

    prediction_id: str
    deployment: str
    model: str
    version: int
    variant: str
    time_us: int
    keys: Mapping[str, Any]
    inputs: Mapping[str, Any]
    age_us: Mapping[str, int]
    status: Mapping[str, int]
    output: float
    latency_us: int


@dataclass(frozen=True)
class Outcome:
    """What really happened, for one prediction.

    Attributes:
        prediction_id: The prediction that it belongs to; it may arrive before the prediction is flushed.
        value: 0 or 1 for a binary model, the number for a regression.
        time_us: When it became known.
    """

    prediction_id: str
    value: float
    time_us: int


@dataclass(frozen=True)
class PredictionPage:
    """Some of the predictions of a period, newest first.

    Attributes:
        rows: With the columns that `PredictionLog.read` gives, by (time, id) descending.
        total: Predictions in the whole period.
        is_last: No older ones follow in the period.
    """

    rows: pa.Table
    total: int
    is_last: bool


class PredictionSink(Protocol):
    """Where a replica puts its records: never blocks, never raises, bounded; what it must drop it counts."""

    def put(self, record: PredictionRecord) -> None:
        """Take a record; it is durable within the flush interval."""
        ...

    def flush(self) -> None:
        """Return when everything put before is durable and readable."""
        ...


class PredictionLog(Protocol):
    """The record of predictions and outcomes, in the offline store."""

    def append(self, deployment: str, records: Sequence[PredictionRecord], batch_id: str) -> None:
        """Store records durably; a repeated batch adds nothing."""
        ...

    def append_outcomes(self, deployment: str, outcomes: Sequence[Outcome], batch_id: str) -> int:
        """Store outcomes durably; return how many were new. For one prediction the latest `time_us` counts."""
        ...

    def read(self, deployment: str, after_us: int, until_us: int) -> pa.Table:
        """Return predictions with time in `(after_us, until_us]` and their outcomes known by `until_us`.

        Args:
            deployment: The endpoint that predicted.
            after_us: Exclusive start, microseconds since the epoch.
            until_us: Inclusive end, which also limits the outcomes.

        Returns:
            One row a prediction id: prediction_id, version, variant, time_us, output, latency_us, `outcome` (float64,
            null when not yet known), one column per model input named as in the record, sorted by time and id. Empty
            where nothing was logged.
        """
        ...

    def page(
        self, deployment: str, after_us: int, until_us: int, *, limit: int, before: tuple[int, str] | None = None
    ) -> PredictionPage:  # fmt: skip
        """Return the newest predictions that `read` would return, without holding all of the period's whole rows.

        Args:
            deployment: The endpoint that predicted.
            after_us: As of `read`.
            until_us: As of `read`.
            limit: Rows of the page, at most.
            before: Only predictions with a lesser (time, id), such as those of the last row of the page before.

        Returns:
            The page. A prediction that is logged again meanwhile leaves the pages to come for its new, later place.
        """
        ...
