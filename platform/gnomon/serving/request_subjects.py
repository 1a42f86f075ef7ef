"""Request features as subjects of `features.feature_properties`: computed as a training set does, and as serving does.

Called by `gnomon test-features`. A row alone goes the whole way of a predict request: its JSON is read, its looked-up
features are unpacked as the online store packs them, and the feature is computed by the same request path. Only the
network and the model are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import SystemClock, from_us
from gnomon.contracts.columns import Dtype
from gnomon.contracts.features import FeatureView, RequestFeature
from gnomon.contracts.online_store import OnlineRows, OnlineStore, ReadPlan
from gnomon.contracts.signatures import ModelInput, Signature
from gnomon.features.compiled_reads import CompiledRead
from gnomon.features.derived_subjects import arrow_columns, bare_layout, feature_domain, packed_row, plain_values
from gnomon.features.drawn_values import Domain
from gnomon.features.request_features import RequestFeatures, Resolve
from gnomon.features.smallest_rows import Row
from gnomon.serving.request_path import RequestPath, ServedVersion

Array = np.ndarray[Any, Any]


class RequestSubject:
    """A request feature.

    Args:
        app: With the types of the columns that its looked-up features are computed from.
        spec: Itself.
        resolve: Imports its function.

    Attributes:
        name: Its name.
        kind: `request_feature`.
        domains: Of the request fields and looked-up features that it reads, by name.

    Raises:
        NotFound: There is no such function.
    """

    kind = "request_feature"

    def __init__(self, app: App, spec: RequestFeature, resolve: Resolve) -> None:
        self.name = spec.name
        self._request = {name: dtype for name, dtype in spec.request.items() if name in spec.reads()}
        self._unread = {name: dtype for name, dtype in spec.request.items() if name not in self._request}
        self._lookups = [name for name in spec.reads() if "." in name]
        looked_up = {name: _domain(app, name) for name in self._lookups}
        self.domains: Mapping[str, Domain] = {**{n: Domain(t) for n, t in self._request.items()}, **looked_up}
        self._inputs = spec.inputs
        self._features = RequestFeatures(app, [spec.name], resolve)
        self._changed: list[str] = []
        self._watched = RequestFeatures(app, [spec.name], self._watching(resolve))
        self._computed: list[pa.Array] = []
        self._store = _PackedRows({name: domain.dtype for name, domain in looked_up.items()})
        signature = Signature(
            keys={}, request=spec.request, lookups=tuple(self._lookups), request_features=(spec.name,),
            task="regression", inputs=(ModelInput(name=spec.name, dtype=spec.dtype, origin="request_feature"),),
        )  # fmt: skip
        self._path = RequestPath(
            ServedVersion("test", spec.name, 0), signature, self._store.plan, cast(OnlineStore, self._store), self,
            _NoModel(), None, SystemClock(),
        )  # fmt: skip

    def together(self, rows: Sequence[Row]) -> list[Any]:
        """Compute the rows as one batch of a training set."""
        return plain_values(self._features.compute(arrow_columns(self.domains, rows), len(rows))[self.name])

    def alone(self, row: Row) -> Any:
        """Compute one row by a predict request; without one where none can hold it, such as a null integer."""
        if not all(_sendable(row[name], dtype) for name, dtype in self._request.items()):
            return self.together([row])[0]
        self._store.put(arrow_columns({name: self.domains[name] for name in self._lookups}, [row]))
        unread = {name: _PLAIN[dtype] for name, dtype in self._unread.items()}
        body = {**unread, **{name: _in_json(row[name], dtype) for name, dtype in self._request.items()}}
        self._computed.clear()
        self._path.answer(json.dumps({"rows": [body]}).encode())
        (column,) = self._computed
        return plain_values(column)[0]

    def changed_input(self, rows: Sequence[Row]) -> str | None:
        """Call the function with arrays that it could change, as serving's are, and return which one it did."""
        self._changed.clear()
        self._watched.compute(arrow_columns(self.domains, rows), len(rows))
        return self._changed[0] if self._changed else None

    def compute(self, columns: Mapping[str, Any], rows: int | None = None) -> Mapping[str, Any]:
        """Compute for the request path, and keep what was computed; see `RequestFeatures.compute`."""
        found = self._features.compute(columns, rows)
        self._computed.append(found[self.name])
        return found

    def _watching(self, resolve: Resolve) -> Resolve:
        def resolved(reference: str) -> Callable[..., Any]:
            function = resolve(reference)

            def watched(*arrays: Array) -> Any:
                given = [array.copy() for array in arrays]
                result = function(*given)
                self._changed += [
                    name for name, a, b in zip(self._inputs, arrays, given, strict=True) if not _same(a, b)
                ]
                return result

            return watched

        return resolved


class _PackedRows:
    """The looked-up features of one row, read as from the online store."""

    def __init__(self, dtypes: Mapping[str, Dtype]) -> None:
        by_view: dict[str, list[tuple[str, Dtype]]] = {}
        for name, dtype in dtypes.items():
            view, _, feature = name.partition(".")
            by_view.setdefault(view, []).append((feature, dtype))
        self._layouts = [bare_layout(view, columns) for view, columns in by_view.items()]
        features, names = [], []
        for index, layout in enumerate(self._layouts):
            features += [(index, position) for position in range(len(layout.columns))]
            names += [f"{layout.view}.{column.name}" for column in layout.columns]
        self.plan = ReadPlan(tuple(self._layouts), tuple(features), tuple(names))
        self._read = CompiledRead(self.plan, "test") if names else None
        self._reply: list[bytes | None] = []

    def put(self, columns: Mapping[str, pa.Array]) -> None:
        """Pack the row."""
        self._reply = [b""]
        for layout in self._layouts:
            mine = {column.name: columns[f"{layout.view}.{column.name}"] for column in layout.columns}
            self._reply.append(packed_row(layout, mine))

    def read(
        self, plan: ReadPlan, keys: Sequence[Mapping[str, Any]], now_us: int, timeout_s: float | None = None
    ) -> OnlineRows:  # fmt: skip
        """Unpack the row, as `OnlineStore.read` does."""
        del plan, timeout_s
        assert self._read is not None
        return self._read.answer([self._reply], len(keys), now_us)


class _NoModel:
    """Takes the columns as a predictor does, and answers 0."""

    def predict(self, columns: Mapping[str, Array]) -> Array:
        """Return a zero for each row."""
        return np.zeros(len(next(iter(columns.values()))))


_PLAIN: Mapping[Dtype, Any] = {
    "int64": 0, "float64": 0.0, "bool": False, "string": "", "timestamp": "1970-01-01T00:00:00+00:00"
}  # fmt: skip


def _domain(app: App, reference: str) -> Domain:
    view_name, _, name = reference.partition(".")
    view = app.get(FeatureView, view_name)
    return feature_domain(app, view, next(f for f in view.features if f.name == name))


def _sendable(value: Any, dtype: Dtype) -> bool:
    """Tell whether a request can hold a value: only a float64 may be null there, and none infinite."""
    return dtype == "float64" if value is None else not (isinstance(value, float) and math.isinf(value))


def _in_json(value: Any, dtype: Dtype) -> Any:
    if dtype == "timestamp":
        return from_us(value).isoformat()
    return None if value != value else value


def _same(before: Array, after: Array) -> bool:
    if before.dtype == object:
        return bool(before.tolist() == after.tolist())
    return bool(before.shape == after.shape and before.tobytes() == after.tobytes())
