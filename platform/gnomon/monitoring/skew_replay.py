"""ViewReplay: what one view would have given for any keys at any moments, offline or online. Called by `skew_classes`.

Everything is computed by `features.view_rows`, the function behind training sets and materialization; only the rules of
an online read (absent rows, `max_age`, defaults) are applied here, as `features.compiled_reads` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gnomon.contracts.apps import App
from gnomon.contracts.columns import INGESTED_AT, KNOWN_TIME
from gnomon.contracts.durations import duration_us
from gnomon.contracts.features import FeatureView
from gnomon.contracts.offline_store import OfflineStore
from gnomon.features.event_columns import Flags, Int64s, entity_codes, times_us, timestamps
from gnomon.features.event_order import SUPERSEDED, superseded_us
from gnomon.features.view_events import read_view_events
from gnomon.features.view_plans import has_windows, view_keys
from gnomon.features.view_rows import REQUEST_TIME, view_rows
from gnomon.monitoring.skew_values import as_logged


@dataclass(frozen=True)
class Replayed:
    """Values of a view's features, row by row.

    Attributes:
        values: By feature name, as the log would hold them.
        found: Whether there is a row of the entity.
        event_us: Time of that row, from which its age is counted online; 0 where there is none.
        known_us: When the row became known; 0 where there is none.
    """

    values: Mapping[str, pa.Array]
    found: Flags
    event_us: Int64s
    known_us: Int64s


class ViewReplay:
    """One definition of a view over the events of some entities.

    Args:
        app: An app whose schemas are resolved.
        view: Its view.
        events: Events of the view's source, as `read_events` gives them.
    """

    def __init__(self, app: App, view: FeatureView, events: pa.Table) -> None:
        self.view = view
        self.has_windows = has_windows(view)
        self.max_age_us = None if view.max_age is None else duration_us(view.max_age)
        self._features = {f.name: f for f in view.features}
        self._app = app
        self._events = events

    def names(self, wanted: Sequence[str]) -> list[str]:
        """Return those of the names that are features of this view."""
        return [name for name in wanted if name in self._features]

    def offline(
        self, keys: pa.Table, until_us: Int64s, at_us: Int64s, names: Sequence[str], *, expire: bool = True
    ) -> Replayed:  # fmt: skip
        """Compute what a training set would hold.

        Args:
            keys: Key columns, one row per request.
            until_us: The time that each row is of.
            at_us: With the knowledge of which moment.
            names: Which features.
            expire: Apply `max_age`.

        Returns:
            One row per request, in their order.
        """
        view = self.view if expire else self.view.model_copy(update={"max_age": None})
        return self._rows(view, keys, until_us, at_us, names, expire=True)

    def online(
        self, keys: pa.Table, moment_us: Int64s, at_us: Int64s, read_us: Int64s, names: Sequence[str], *,
        there: bool = False,
    ) -> Replayed:  # fmt: skip
        """Compute what an online read would give of what a materialization has written.

        Args:
            keys: Key columns, one row per request.
            moment_us: The moment of the materialization.
            at_us: With the knowledge of which moment; of the same in real life.
            read_us: When it is read.
            names: Which features.
            there: A view with windows had a row of every entity, also of one without visible events.

        Returns:
            One row per request; `event_us` is what ages are counted from.
        """
        rows = self._rows(self.view, keys, moment_us, at_us, names, expire=False)
        if self.has_windows:
            found = np.ones_like(rows.found) if there else rows.found
            event_us, known_us = np.where(found, moment_us, 0), np.where(found, at_us, 0)
        else:
            found, event_us, known_us = rows.found, rows.event_us, rows.known_us
        hidden = ~found
        if self.max_age_us is not None and self.view.on_expired != "serve":
            hidden |= read_us - event_us >= self.max_age_us
        mask = pa.array(hidden)
        values = {n: pc.if_else(mask, self.stand_in(n, v), v) for n, v in rows.values.items()}
        return Replayed(values, found, event_us, known_us)

    def stand_in(self, name: str, values: pa.Array) -> pa.Scalar:
        """Return what is served of a feature where there is nothing to serve, in the type of its logged values."""
        default = self._features[name].default if self.view.on_expired == "default" else None
        if default is None or (isinstance(default, str) != pa.types.is_string(values.type)):
            return pa.scalar(None, values.type)
        return pa.scalar(default if isinstance(default, str) else float(default), values.type)

    def too_old(self, row: Replayed, read_us: Int64s) -> Flags:
        """Tell where a row's age has reached `max_age`."""
        if self.max_age_us is None:
            return np.zeros(len(read_us), np.bool_)
        result: Flags = row.found & (read_us - row.event_us >= self.max_age_us)
        return result

    def _rows(
        self, view: FeatureView, keys: pa.Table, until_us: Int64s, at_us: Int64s, names: Sequence[str], *, expire: bool
    ) -> Replayed:  # fmt: skip
        asked = keys.append_column(REQUEST_TIME, pa.array(until_us, pa.int64()))
        rows = view_rows(self._app, view, self._events, asked, expire=expire, names=self.names(names), as_of_us=at_us)
        values = {name: as_logged(rows.values.column(name)) for name in rows.values.column_names}
        return Replayed(values, rows.found, rows.event_us, rows.known_us)


def read_events(
    app: App, view: FeatureView, offline: OfflineStore, version: int, keys: pa.Table, names: Sequence[str],
    earliest_us: int, latest_us: int,
) -> tuple[pa.Table, pa.Table]:  # fmt: skip
    """Read the events that a replay needs for some entities between two times, whenever they became known.

    Args:
        app: An app whose schemas are resolved.
        view: Its view.
        offline: Where the source's table is.
        version: Version of the table.
        keys: Key columns of the entities.
        names: Features that are asked for.
        earliest_us: No moment is earlier.
        latest_us: No moment is later.

    Returns:
        The entities' events, with the time at which each version was superseded; and the same as known when they were
        stored, where that was later than they say.
    """
    events = read_view_events(app, view, offline, version, earliest_us=earliest_us, latest_us=latest_us, names=names)
    return events_of(app, view, events, keys)


def events_of(app: App, view: FeatureView, events: pa.Table, keys: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Keep the events of some entities; see `read_events`.

    Args:
        app: An app whose schemas are resolved.
        view: Its view.
        events: Rows of its source with the system columns, of any entities.
        keys: Key columns of the entities.

    Returns:
        As `read_events`.
    """
    stored_us = np.maximum(times_us(events, KNOWN_TIME), times_us(events, INGESTED_AT))
    stored = events.set_column(events.column_names.index(KNOWN_TIME), KNOWN_TIME, timestamps(stored_us))
    # Before the other entities' events go: a later version of an event may belong to one of them.
    both = [table.append_column(SUPERSEDED, pa.array(superseded_us(table))) for table in (events, stored)]
    _, found, _ = entity_codes(keys, events, view_keys(app, view))
    mine = pa.array(found >= 0)
    return both[0].filter(mine).combine_chunks(), both[1].filter(mine).combine_chunks()
