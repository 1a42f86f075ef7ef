"""`audit_skew`: replays logged predictions against the offline store as it was known then, and counts what differs.

Called by the work of the operation `audit_skew`. A prediction of a version at time t is compared, feature by feature,
with what a training set would hold for its keys at t: the definitions are those that the version was trained with, and
only what was known at t is seen. Values are compared as they were logged, bit by bit; `skew_classes` says why one
differs. The log is read in stretches of time, so that memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.clocks import from_us
from gnomon.contracts.columns import EVENT_ID, EVENT_TIME
from gnomon.contracts.features import FeatureView
from gnomon.contracts.offline_store import OfflineStore
from gnomon.contracts.signatures import Signature
from gnomon.errors import GnomonError
from gnomon.features.event_columns import Flags, Int64s, column, times_us
from gnomon.features.point_in_time import point_in_time_join
from gnomon.features.view_events import source_version
from gnomon.features.view_plans import view_keys
from gnomon.monitoring.skew_cells import CLASSES, SkewRows
from gnomon.monitoring.skew_classes import Explanations, classify
from gnomon.monitoring.skew_clocks import FARTHEST_US, explain_by_clock
from gnomon.monitoring.skew_log import ABSENT_US, log_slices, logged_input, logged_requests, logged_whole
from gnomon.monitoring.skew_replay import ViewReplay, read_events
from gnomon.monitoring.skew_reports import FeatureSkew, SkewReport
from gnomon.monitoring.skew_requests import Resolve, auditable, defined_otherwise, recompute
from gnomon.monitoring.skew_values import as_logged, rounded_rows, same

SLICE_ROWS: Final = 50_000
"""Predictions in memory at once, about."""

_OTHERWISE, _UNEXPLAINED = CLASSES.index("definition_version"), CLASSES.index("unexplained")
_NOT_LOGGED = "only request features read it, so that its value is not in the log"


@dataclass(frozen=True)
class TrainedVersion:
    """What a model version was trained with, and what else was applied.

    Attributes:
        signature: What it reads.
        app: The app that it was trained with.
        resolve: Imports that app's functions.
        revisions: Other applied revisions of the app with their importers, newest first.
    """

    signature: Signature
    app: App
    resolve: Resolve
    revisions: Sequence[tuple[App, Resolve]] = ()


@dataclass(frozen=True)
class SkewQuestion:
    """What is audited.

    Attributes:
        model: The model.
        tables: Table of the log, by deployment.
        after_us: Exclusive start of the period, microseconds since the epoch.
        until_us: Its inclusive end.
        now_us: The moment of the audit.
        materialized_us: Known materializations by view, ascending.
        local_rows: Up to this many rows are joined in this process, see `point_in_time_join`.
        slice_rows: Predictions to hold at once.
    """

    model: str
    tables: Mapping[str, str]
    after_us: int
    until_us: int
    now_us: int
    materialized_us: Mapping[str, Int64s]
    local_rows: int
    slice_rows: int = SLICE_ROWS


def audit_skew(
    question: SkewQuestion, offline: OfflineStore, trained: Callable[[int], TrainedVersion],
    report: Callable[[str], None],
) -> SkewReport:  # fmt: skip
    """Audit the predictions of a model in a period.

    Args:
        question: Which predictions.
        offline: Holds the log and the sources' tables.
        trained: Gives a version of the model by its number.
        report: Takes a line of progress after each stretch of the log.

    Returns:
        Exact counts; no features where nothing was predicted.

    Raises:
        NotFound: A version, or a table that its features come from, is absent.
    """
    audit = _Audit(question, offline)
    for table in question.tables.values():
        for rows in log_slices(offline, table, question.after_us, question.until_us, question.slice_rows):
            rows = rows.filter(pc.equal(rows["model"], question.model)).combine_chunks()
            for number in sorted(pc.unique(rows["version"]).to_pylist()):
                audit.add(rows.filter(pc.equal(rows["version"], number)).combine_chunks(), number, trained(number))
            report(f"{audit.predictions} predictions replayed, {audit.mismatches} values differ")
    return audit.result()


class _Audit:
    """The growing result. Versions of tables are those of the first time that they were read."""

    def __init__(self, question: SkewQuestion, offline: OfflineStore) -> None:
        self._question, self._offline = question, offline
        self._skews: dict[str, FeatureSkew] = {}
        self._left: dict[str, str] = {}
        self._versions: set[int] = set()
        self._tables: dict[str, int] = {}
        self.predictions = 0

    @property
    def mismatches(self) -> int:
        return sum(skew.mismatches for skew in self._skews.values())

    def result(self) -> SkewReport:
        asked = self._question
        window = (from_us(asked.after_us), from_us(asked.until_us))
        return SkewReport(
            asked.model, tuple(sorted(asked.tables)), window, self.predictions, tuple(sorted(self._versions)),
            self._skews, {name: why for name, why in self._left.items() if name not in self._skews},
        )  # fmt: skip

    def add(self, rows: pa.Table, number: int, version: TrainedVersion) -> None:
        """Audit predictions of one version."""
        self.predictions += rows.num_rows
        self._versions.add(number)
        signature = version.signature
        logged = {i.name: logged_input(rows, i.name, i.dtype) for i in signature.inputs}
        looked_up = [i.name for i in signature.inputs if i.origin == "view"]
        self._left |= {name: _NOT_LOGGED for name in signature.lookups if name not in looked_up}
        requests = logged_requests(rows, signature.keys, times_us(rows, EVENT_TIME))
        found = point_in_time_join(
            version.app, self._offline, requests, looked_up, local_rows=self._question.local_rows,
            versions=self._pinned(version.app, looked_up),
        )  # fmt: skip
        differs: dict[str, Flags] = {}
        for name in looked_up:
            differs[name] = ~same(logged[name], as_logged(found.column(name)))
            self._skew(name).add(rows.num_rows, rounded_rows(found.column(name)))
        for view in dict.fromkeys(name.partition(".")[0] for name in looked_up):
            mine = [name for name in looked_up if name.partition(".")[0] == view and differs[name].any()]
            if mine:
                self._explain(rows, requests, view, {n: logged[n] for n in mine}, differs, version)
        self._add_request_features(rows, logged, version)

    def _explain(
        self, rows: pa.Table, requests: pa.Table, view_name: str, logged: Mapping[str, pa.Array],
        differs: Mapping[str, Flags], version: TrainedVersion,
    ) -> None:  # fmt: skip
        """Class the mismatches of one view."""
        view = version.app.get(FeatureView, view_name)
        wrong = np.flatnonzero(np.logical_or.reduce([differs[name] for name in logged]))
        features = {name.partition(".")[2]: name for name in logged}
        case = SkewRows(
            keys=requests.select(list(view_keys(version.app, view))),
            time_us=times_us(rows, EVENT_TIME),
            age_us=logged_whole(rows, "age_us", next(iter(logged)), ABSENT_US),
            status={f: logged_whole(rows, "status", name, -1) for f, name in features.items()},
            served={f: logged[name] for f, name in features.items()},
            differs={f: differs[name] for f, name in features.items()},
        ).take(wrong)
        ids = column(rows, EVENT_ID).take(pa.array(wrong)).to_pylist()
        replay, stored = self._replays(version.app, view, case)
        by = Explanations(
            replay, stored, lambda: self._revisions(version, view, case),
            self._question.materialized_us.get(view_name, np.zeros(0, np.int64)),
            self._question.now_us, explain_by_clock,
        )  # fmt: skip
        for feature, codes in classify(case, by).items():
            self._skew(features[feature]).add_mismatches(ids, codes)

    def _replays(self, app: App, view: FeatureView, case: SkewRows) -> tuple[ViewReplay, ViewReplay]:
        """Read the events of the case's entities once, for all the moments that are looked at."""
        earliest = int(np.minimum(case.time_us, case.time_us - case.age_us).min()) - FARTHEST_US
        latest = int(np.maximum(case.time_us, case.time_us - case.age_us).max()) + FARTHEST_US
        moments = self._question.materialized_us.get(view.name, np.zeros(0, np.int64))
        before = moments[: max(0, int(np.searchsorted(moments, case.time_us.min(), side="right")) - 1)]
        earliest = min(earliest, int(before[-1])) if len(before) else earliest
        version = self._version(view.source)
        events, stored = read_events(app, view, self._offline, version, case.keys, case.names, earliest, latest)
        return ViewReplay(app, view, events), ViewReplay(app, view, stored)

    def _revisions(self, version: TrainedVersion, view: FeatureView, case: SkewRows) -> Iterator[ViewReplay]:
        """Yield the view as other applied revisions define it, each definition once."""
        seen = [view]
        for app, _ in version.revisions:
            other = next((v for v in app.all(FeatureView) if v.name == view.name), None)
            if other is None or other in seen:
                continue
            seen.append(other)
            try:
                known = {f.name for f in other.features}
                part = SkewRows(
                    case.keys, case.time_us, case.age_us, case.status,
                    {n: v for n, v in case.served.items() if n in known}, case.differs,
                )  # fmt: skip
                if part.names:
                    yield self._replays(app, other, part)[0]
            except GnomonError:
                continue  # its source, its columns or its keys are gone: it cannot be replayed

    def _add_request_features(self, rows: pa.Table, logged: Mapping[str, pa.Array], version: TrainedVersion) -> None:
        names, left = auditable(version.app, version.signature)
        self._left |= left
        if not names:
            return
        ids = column(rows, EVENT_ID).to_pylist()
        computed = recompute(version.app, names, logged, rows.num_rows, version.resolve)
        for name in names:
            differs = ~same(logged[name], computed[name])
            self._skew(name).add(rows.num_rows, 0)
            if differs.any():
                otherwise = defined_otherwise(name, logged, differs, version.revisions)
                codes = np.where(differs, np.where(otherwise, _OTHERWISE, _UNEXPLAINED), -1).astype(np.int8)
                self._skew(name).add_mismatches(ids, codes)

    def _skew(self, name: str) -> FeatureSkew:
        return self._skews.setdefault(name, FeatureSkew())

    def _pinned(self, app: App, lookups: Sequence[str]) -> dict[str, int]:
        sources = {app.get(FeatureView, name.partition(".")[0]).source for name in lookups}
        return {source: self._version(source) for source in sources}

    def _version(self, source: str) -> int:
        if source not in self._tables:
            self._tables[source] = source_version(self._offline, source)
        return self._tables[source]
