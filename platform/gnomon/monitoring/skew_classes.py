"""Why a served value is not the one that a training set would hold: the first explanation that gives it bit by bit.

Called by `skew_audit` with the rows of one view in which some value differs. Let t be the time of the prediction, a the
age that was served with the value, and v(x, k) the view's value at the moment x with what was known at k, under the
definition that the model was trained with. The reference is v(t, t). The classes, in the order in which they are tried:

- `default`: the store had nothing to serve (status DEFAULT or MISSING_*), the reference is null, expired or of an
  entity without events, and the stand-in (the declared default, or null) was served. Training fills in another one.
- `expiry`: the reference is expired and v(t, t) without `max_age` was served; or the store's row had reached `max_age`
  by its age (status EXPIRED or DEFAULT) and the stand-in was served.
- `stale`: what the last materialization had written was served: v(m, m), expired as of t. For a view with windows
  m = t − a. For a view of columns t − a is the time e of the row that was served; m is one of the last two
  materializations where these are known, and otherwise the row of time e is looked for: as known at t, as known just
  before the reference's row, and as known at e. Nothing served counts where nothing was materialized. It is no
  explanation where the value is also right by all that had been stored by t: then materializing again would not help.
- `late_data`: as `stale`, and v(m, t) is the reference: only events up to m that became known in (m, t] differ.
- `backfill`: the rows that were there are not those that say so: v(t, now) or v(m, now) was served (rows known after t
  were online before), or v(t, t) or v(m, m) over the rows stored by then (rows stored after t say they were known).
- `definition_version`: another applied revision of the view gives it, at t or as materialized.
- `clock`: it is of another time: the served row is of the future (a < 0), or one offset gives the served values of at
  least half of the predictions that are still open (`skew_clocks`).
- `unexplained`: none of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.online_store import Status
from gnomon.errors import GnomonError
from gnomon.features.event_columns import Flags, Int64s
from gnomon.monitoring.skew_cells import Codes, OpenCells, SkewRows, Values
from gnomon.monitoring.skew_log import ABSENT_US
from gnomon.monitoring.skew_replay import Replayed, ViewReplay
from gnomon.monitoring.skew_values import same

_MISSING: Final = (Status.MISSING_ENTITY, Status.MISSING_FEATURE)


@dataclass(frozen=True)
class Explanations:
    """What a case is explained with.

    Attributes:
        replay: The view that the model was trained with.
        stored: The same over rows as known when they were stored.
        revisions: Makes the view's other applied revisions, newest first; called only where needed.
        materialized_us: When the view was materialized, ascending; empty where that is not known.
        now_us: The moment of the audit.
        shifted: Finds what is of another time; see `skew_clocks`.
    """

    replay: ViewReplay
    stored: ViewReplay
    revisions: Callable[[], Iterator[ViewReplay]]
    materialized_us: Int64s
    now_us: int
    shifted: Callable[[OpenCells, Explanations], None]


def classify(case: SkewRows, by: Explanations) -> dict[str, Codes]:
    """Find the class of every cell that differs; see the module's docstring.

    Args:
        case: The rows of one view.
        by: The view's replays, and what is known of its materializations.

    Returns:
        By feature, for each row the index of its class in `CLASSES`; −2 where the value does not differ.
    """
    cells = OpenCells(case)
    for explain in (_unfilled, _expired, _stale, _backfilled, _defined_otherwise):
        if len(rows := cells.rows()):
            explain(cells, rows, by)
    if len(cells.rows()):
        by.shifted(cells, by)
    return cells.finish()


def _unfilled(cells: OpenCells, rows: Int64s, by: Explanations) -> None:
    part = cells.case.take(rows)
    reference = by.replay.offline(part.keys, part.time_us, part.time_us, part.names)
    nothing = ~reference.found | by.replay.too_old(reference, part.time_us)
    holds = {
        name: np.isin(part.status[name], (Status.DEFAULT, *_MISSING)) & (nothing | _is_null(value))
        for name, value in reference.values.items()
    }
    cells.mark("default", rows, _stand_ins(by.replay, part, reference.values), holds)


def _expired(cells: OpenCells, rows: Int64s, by: Explanations) -> None:
    if by.replay.max_age_us is None:
        return
    part = cells.case.take(rows)
    endless = by.replay.offline(part.keys, part.time_us, part.time_us, part.names, expire=False)
    cells.mark("expiry", rows, endless.values, by.replay.too_old(endless, part.time_us))
    aged = part.age_us >= by.replay.max_age_us
    holds = {n: aged & np.isin(part.status[n], (Status.EXPIRED, Status.DEFAULT)) for n in endless.values}
    cells.mark("expiry", rows, _stand_ins(by.replay, part, endless.values), holds)


def _stale(cells: OpenCells, rows: Int64s, by: Explanations) -> None:
    part = cells.case.take(rows)
    reference = by.replay.offline(part.keys, part.time_us, part.time_us, part.names)
    stored = by.stored.offline(part.keys, part.time_us, part.time_us, part.names)
    behind = {n: ~same(part.served[n], v) for n, v in stored.values.items()}
    for point in materialized(part, by.replay, by.materialized_us, reference.known_us):
        later = by.replay.offline(part.keys, point.moment_us, part.time_us, part.names)
        late = {n: ("late_data", same(v, reference.values[n])) for n, v in later.values.items()}
        holds = {n: point.holds & behind[n] for n in point.row.values}
        cells.mark("stale", rows, point.row.values, holds, late)
    never = (part.age_us == ABSENT_US) & stored.found & ~_last(by.materialized_us, part.time_us, 0)[1]
    holds = {n: never & behind[n] for n in reference.values}
    cells.mark("stale", rows, _stand_ins(by.replay, part, reference.values), holds)


def _backfilled(cells: OpenCells, rows: Int64s, by: Explanations) -> None:
    part = cells.case.take(rows)
    now_us = np.full(len(rows), by.now_us, np.int64)
    everywhere = np.ones(len(rows), np.bool_)
    for replay, at_us in ((by.replay, now_us), (by.stored, part.time_us)):
        row = replay.offline(part.keys, part.time_us, at_us, part.names)
        cells.mark("backfill", rows, row.values, everywhere)
        known_us = np.where(row.found, row.known_us, 0)
        for point in materialized(part, replay, by.materialized_us, known_us, at_us if replay is by.replay else None):
            cells.mark("backfill", rows, point.row.values, point.holds)
    nothing = (part.age_us == ABSENT_US) & ~row.found  # the last row is of what was stored by then
    cells.mark("backfill", rows, _stand_ins(by.replay, part, row.values), nothing)


def _defined_otherwise(cells: OpenCells, rows: Int64s, by: Explanations) -> None:
    for other in by.revisions():
        if not len(rows := cells.rows()):
            return
        part = cells.case.take(rows)
        try:
            row = other.offline(part.keys, part.time_us, part.time_us, part.names)
            cells.mark("definition_version", rows, row.values, np.ones(len(rows), np.bool_))
            for point in materialized(part, other, by.materialized_us, row.known_us):
                cells.mark("definition_version", rows, point.row.values, point.holds)
        except GnomonError:
            continue  # it reads something that is of another type today: it cannot be replayed


@dataclass(frozen=True)
class Point:
    """What a materialization of some moment would have brought online, and where the log does not contradict that."""

    moment_us: Int64s
    row: Replayed
    holds: Flags


def materialized(
    part: SkewRows, replay: ViewReplay, moments_us: Int64s, known_us: Int64s, at_us: Int64s | None = None
) -> Iterator[Point]:
    """Yield what may have been online when the predictions were asked; the served ages pick the moments.

    Args:
        part: The predictions.
        replay: Of a definition of their view.
        moments_us: Known materializations, ascending.
        known_us: When the newest row became known, for each prediction.
        at_us: Look with the knowledge of this moment instead of each materialization's own.

    Yields:
        Point: Rows as read at the time of each prediction; they hold where their age is the one that was served.
    """
    time_us, there, names = part.time_us, part.age_us >= 0, part.names
    row_us = np.where(there, time_us - part.age_us, time_us)
    for back in (0, 1):
        moment_us, known = _last(moments_us, time_us, back)
        if not known.any() or (replay.has_windows and not (~there).any()):
            continue
        row = replay.online(part.keys, moment_us, moment_us if at_us is None else at_us, time_us, names)
        fits = np.where(there, row.found & (row.event_us == row_us), ~row.found & (part.age_us == ABSENT_US))
        yield Point(moment_us, row, fits & known)
    if replay.has_windows:
        knowledge = row_us if at_us is None else at_us
        yield Point(row_us, replay.online(part.keys, row_us, knowledge, time_us, names, there=True), there)
        return
    before_us = np.maximum(known_us - 1, 0)
    for until_us, knowledge in ((row_us, time_us), (time_us, before_us), (row_us, row_us)):
        row = replay.online(part.keys, until_us, knowledge if at_us is None else at_us, time_us, names)
        yield Point(row_us, row, there & row.found & (row.event_us == row_us))


def _last(moments_us: Int64s, time_us: Int64s, back: int) -> tuple[Int64s, Flags]:
    """Return the last moment up to each time, or the one `back` before it, and whether there is one (else 0)."""
    place = np.searchsorted(moments_us, time_us, side="right") - 1 - back
    known: Flags = place >= 0
    if not len(moments_us):
        return np.zeros(len(time_us), np.int64), known
    return moments_us[np.maximum(place, 0)], known


def _stand_ins(replay: ViewReplay, part: SkewRows, values: Values) -> dict[str, pa.Array]:
    rows = len(part.time_us)
    return {name: pa.repeat(replay.stand_in(name, value), rows) for name, value in values.items()}


def _is_null(values: pa.Array) -> Flags:
    result: Flags = np.asarray(pc.is_null(values))
    return result
