"""The request path: the bytes of a predict request in, the bytes of its answer out; no Ray and no HTTP.

Built by `serving.replica` once per model version. One request is one online read of all its rows; the prediction log is
fed through a sink that never blocks.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from gnomon.contracts.clocks import Clock
from gnomon.contracts.columns import Dtype
from gnomon.contracts.online_store import OnlineRows, OnlineStore, ReadPlan, Status
from gnomon.contracts.predictions import PredictionRecord, PredictionSink
from gnomon.contracts.predictors import Predictor
from gnomon.contracts.signatures import Signature
from gnomon.errors import GnomonError, OperationFailed, Unavailable
from gnomon.features.model_columns import as_input
from gnomon.serving.deadlines import check_deadline
from gnomon.serving.request_rows import RequestRows, RowReader

Array = np.ndarray[Any, Any]

_PLAIN_NUMBERS = (pa.float64(), pa.int64())
_STATUS_NAMES = tuple(status.name.lower() for status in Status)


class RequestFeatureComputer(Protocol):
    """What computes request features: `features.request_features.RequestFeatures`."""

    def compute(self, columns: Mapping[str, Any], rows: int | None = None) -> Mapping[str, Any]:
        """Return one Arrow array per request feature."""
        ...


@dataclass(frozen=True)
class ServedVersion:
    """Which version answers, and as what.

    Attributes:
        deployment: The endpoint.
        model: Its model.
        version: Number of the version.
        variant: `champion`, or the name of a canary or shadow.
    """

    deployment: str
    model: str
    version: int
    variant: str = "champion"


@dataclass(frozen=True)
class Answer:
    """An answered request.

    Attributes:
        body: JSON.
        rows: How many predictions it holds.
        status: uint8 `Status` of every looked-up feature, shape (rows, lookups).
    """

    body: bytes
    rows: int
    status: Array


@dataclass(frozen=True)
class _Predicted:
    """Rows as predicted, with what was found for them."""

    outputs: list[float]
    status: list[list[int]]
    ages_us: list[list[int]]
    found: OnlineRows


class RequestPath:
    """Answers predict requests for one model version. Safe to call from several threads.

    Args:
        served: Which version this is.
        signature: What a request holds and the model reads.
        plan: The signature's lookups, compiled.
        online: Where they are read.
        features: Computes the signature's request features; None where it has none.
        predictor: The loaded model.
        sink: Takes one record per prediction; None logs nothing.
        clock: Gives predictions their time.
        max_rows: Rows that one request may have.
    """

    def __init__(
        self, served: ServedVersion, signature: Signature, plan: ReadPlan, online: OnlineStore,
        features: RequestFeatureComputer | None, predictor: Predictor, sink: PredictionSink | None, clock: Clock, *,
        max_rows: int = 1000,
    ) -> None:  # fmt: skip
        self.served = served
        self.signature = signature
        self._plan = plan
        self._online = online
        self._features = features
        self._predictor = predictor
        self._predicting = threading.Lock()
        self._sink = sink
        self._clock = clock
        self._reader = RowReader(signature, max_rows)
        self._requested = [(name, _NUMPY[dtype]) for name, dtype in signature.request.items()]
        self._inputs = [(item.name, item.dtype == "string") for item in signature.inputs]
        who = {"deployment": served.deployment, "model": served.model, "version": served.version}
        self._head = json.dumps({**who, "variant": served.variant})[:-1] + ', "predictions": '
        self._no_lookups = OnlineRows({}, np.empty((0, 0), np.uint8), np.empty((0, 0), np.int64))

    def answer(self, body: bytes, deadline_s: float = math.inf) -> Answer:
        """Answer a request.

        Args:
            body: `{"rows": [{…}, …]}`, each row with the keys, the request fields and optionally `prediction_id`.
            deadline_s: When nobody waits any longer, by `time.monotonic`; what is not done by then is given up.

        Returns:
            `deployment`, `model`, `version`, `variant`, and `predictions` in the order of the rows, each with `id`,
            `value`, and `ages_s` (null where there is no row) and `status` of every looked-up feature.

        Raises:
            InvalidInput: The body cannot be used, or an expired feature meets the policy `reject`.
            TimedOut: The deadline has passed; nothing was logged.
            Unavailable: The online store does not answer.
            OperationFailed: The model answered something that is no number.
        """
        (answer,) = self.answer_many([body], deadline_s)
        if isinstance(answer, GnomonError):
            raise answer
        return answer

    def answer_many(self, bodies: Sequence[bytes], deadline_s: float = math.inf) -> list[Answer | GnomonError]:
        """Answer requests that came together with one online read and one pass through the model.

        Args:
            bodies: As `answer` takes them.
            deadline_s: As `answer` takes it, one for all.

        Returns:
            An answer for each, in order, or the error that `answer` would raise; no request fails for another's sake.
        """
        arrived_ns = time.perf_counter_ns()
        read = [self._read(body) for body in bodies]
        good = [rows for rows in read if isinstance(rows, RequestRows)]
        answers = iter(self._answer_all(good, arrived_ns, deadline_s))
        return [next(answers) if isinstance(rows, RequestRows) else rows for rows in read]

    def _read(self, body: bytes) -> RequestRows | GnomonError:
        try:
            return self._reader.read(body)
        except GnomonError as error:
            return error

    def _answer_all(
        self, requests: list[RequestRows], arrived_ns: int, deadline_s: float
    ) -> list[Answer | GnomonError]:  # fmt: skip
        if not requests:
            return []
        rows = requests[0] if len(requests) == 1 else _merged(requests)
        try:
            merged = self._answer_rows(rows, arrived_ns, deadline_s)
        except GnomonError as error:
            if len(requests) == 1 or isinstance(error, Unavailable):
                return [error] * len(requests)
            return [a for request in requests for a in self._answer_all([request], arrived_ns, deadline_s)]
        answers: list[Answer | GnomonError] = []
        start = 0
        for request in requests:
            part = slice(start, start + len(request.ids))
            body = self._body(request.ids, merged.outputs[part], merged.status[part], merged.ages_us[part])
            answers.append(Answer(body, len(request.ids), merged.found.status[part]))
            start = part.stop
        return answers

    def _answer_rows(self, rows: RequestRows, arrived_ns: int, deadline_s: float) -> _Predicted:
        now_us = self._clock.now_us()
        found = self._found(rows, now_us, deadline_s)
        columns = self._columns(rows, found)
        check_deadline(deadline_s, "the request features")
        with self._predicting:
            values = self._predictor.predict(columns)
        check_deadline(deadline_s, "the model")
        if values.shape != (len(rows.ids),) or not np.isfinite(values).all():
            raise OperationFailed(
                f"model '{self.served.model}' version {self.served.version} answered no finite number for some row",
                "deploy an earlier version, and look at the inputs in the prediction log",
            )
        outputs = values.tolist()
        status, ages_us = found.status.tolist(), found.age_us.tolist()
        if not self._plan.names:
            status = ages_us = [[] for _ in rows.ids]
        if self._sink is not None:
            self._log(self._sink, rows, columns, status, ages_us, outputs, now_us, arrived_ns)
        return _Predicted(outputs, status, ages_us, found)

    def _found(self, rows: RequestRows, now_us: int, deadline_s: float) -> OnlineRows:
        """Look up the rows' features, for as long as there is time."""
        check_deadline(deadline_s, "waiting for its turn")
        if not self._plan.names:
            return self._no_lookups
        left_s = None if deadline_s == math.inf else deadline_s - time.monotonic()
        try:
            found = self._online.read(self._plan, rows.keys, now_us, left_s)
        except Unavailable as error:
            check_deadline(deadline_s, "the online store", error)
            raise
        check_deadline(deadline_s, "the online store")
        return found

    def _columns(self, rows: RequestRows, found: OnlineRows) -> dict[str, Array]:
        """Return every column that the model or a request feature reads, the model's as a predictor takes them."""
        columns: dict[str, Any] = dict(found.values)
        for name, dtype in self._requested:
            columns[name] = np.array(rows.fields[name], dtype)
        if self._features is not None:
            computed = self._features.compute(columns, len(rows.ids))
            columns.update({name: _of_arrow(values) for name, values in computed.items()})
        for name, is_text in self._inputs:
            column = columns[name]
            if not is_text and column.dtype != np.float64:
                columns[name] = _as_float(column)
        return columns

    def _body(self, ids: list[str], outputs: list[float], status: list[Any], ages_us: list[Any]) -> bytes:
        names = self._plan.names
        predictions = [
            {
                "id": prediction_id,
                "value": value,
                "ages_s": {n: None if age < 0 else age / 1e6 for n, age in zip(names, row_ages, strict=True)},
                "status": {n: _STATUS_NAMES[s] for n, s in zip(names, row_status, strict=True)},
            }
            for prediction_id, value, row_status, row_ages in zip(ids, outputs, status, ages_us, strict=True)
        ]
        return f"{self._head}{json.dumps(predictions)}}}".encode()

    def _log(
        self, sink: PredictionSink, rows: RequestRows, columns: Mapping[str, Array], status: list[Any],
        ages_us: list[Any], outputs: list[float], now_us: int, arrived_ns: int,
    ) -> None:  # fmt: skip
        served, names = self.served, self._plan.names
        inputs = [
            (name, column if is_text else [None if v != v else v for v in column])
            for name, is_text in self._inputs
            for column in (columns[name].tolist(),)
        ]
        latency_us = (time.perf_counter_ns() - arrived_ns) // 1000
        for i, prediction_id in enumerate(rows.ids):
            sink.put(PredictionRecord(
                prediction_id, served.deployment, served.model, served.version, served.variant, now_us, rows.keys[i],
                {name: values[i] for name, values in inputs}, dict(zip(names, ages_us[i], strict=True)),
                dict(zip(names, status[i], strict=True)), outputs[i], latency_us,
            ))  # fmt: skip


_NUMPY: dict[Dtype, Any] = {
    "int64": np.int64, "float64": np.float64, "bool": np.bool_, "string": object, "timestamp": np.int64
}  # fmt: skip


def _merged(requests: Sequence[RequestRows]) -> RequestRows:
    return RequestRows(
        [i for request in requests for i in request.ids],
        [key for request in requests for key in request.keys],
        {name: [v for request in requests for v in request.fields[name]] for name in requests[0].fields},
    )


def _as_float(column: Array) -> Array:
    """Return a column of numbers as float64, with NaN for None."""
    if column.dtype == object:
        return np.array([np.nan if value is None else value for value in column.tolist()], np.float64)
    return column.astype(np.float64)


def _of_arrow(values: pa.Array) -> Array:
    """Return a computed column as a predictor takes it; numbers the short way, which matters for a single row."""
    if values.type in _PLAIN_NUMBERS:
        plain: Array = values.to_numpy(zero_copy_only=False)  # null becomes NaN
        return plain
    return as_input(values)
