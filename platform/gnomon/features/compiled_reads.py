"""A `ReadPlan` compiled for the Redis protocol: from keys to the bytes of a request, from replies to values.

Free of input and output, so that any client can use it; `features.store_operations` does. One HMGET per entity and
group of views with the same key columns; its first field is the empty one, which every known entity has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnomon.contracts.layouts import StoredColumn, ViewLayout
from gnomon.contracts.online_store import OnlineRows, ReadPlan, Status
from gnomon.errors import InvalidDefinition, InvalidInput
from gnomon.features.codec import Array, DecodedRows, codec_of
from gnomon.features.entity_keys import EntityKeys, row_field


class CompiledRead:
    """Everything about one plan that does not depend on the request.

    Args:
        plan: What to read.
        project: Checked name of the project.

    Raises:
        InvalidDefinition: A declared default does not have its feature's type.
    """

    def __init__(self, plan: ReadPlan, project: str) -> None:
        self.plan = plan
        self._width = len(plan.features)
        by_keys: dict[Any, list[int]] = {}
        wanted = {layout for layout, _ in plan.features}
        for index, layout in enumerate(plan.layouts):
            if index not in wanted:
                continue
            by_keys.setdefault(layout.keys, []).append(index)
        self._groups: list[tuple[EntityKeys, _Heads, bytes]] = []
        views: list[_CompiledView] = []
        for group, (keys, members) in enumerate(by_keys.items()):
            fields = [b"", *(row_field(plan.layouts[i]) for i in members)]
            head = b"*%d\r\n$5\r\nHMGET\r\n$" % (2 + len(fields))
            tail = b"".join(b"\r\n$%d\r\n%b" % (len(f), f) for f in fields) + b"\r\n"
            self._groups.append((EntityKeys(project, keys), _Heads(head), tail))
            for position, i in enumerate(members, start=1):
                views.append(_CompiledView(plan, i, group, position))
        self._views = views
        self._whole = len(views) == 1 and views[0].is_whole

    @property
    def replies_per_row(self) -> int:
        """Return how many replies the server gives per entity."""
        return len(self._groups)

    def request(self, keys: Sequence[Mapping[str, Any]]) -> tuple[list[bytes], list[bytes]]:
        """Return the commands to send at once; they go group by group, each in the order of the rows.

        Args:
            keys: One mapping per row, with every key column of every layout of the plan.

        Returns:
            Commands of the Redis protocol, `replies_per_row` for each row, and the hash that each one reads.

        Raises:
            InvalidInput: A key column is missing, null or of another type.
        """
        commands: list[bytes] = []
        hashes: list[bytes] = []
        for encoder, heads, tail in self._groups:
            encoded = encoder.encode(keys)
            hashes += encoded
            commands += [heads[len(key)] + key + tail for key in encoded]
        return commands, hashes

    def answer(self, replies: Sequence[list[bytes | None]], rows: int, now_us: int) -> OnlineRows:
        """Turn the replies for n rows into values, statuses and ages.

        Args:
            replies: As the server gave them for `request`, in the same order.
            rows: How many rows were asked for, n.
            now_us: Time that ages are counted to, microseconds since the epoch.

        Returns:
            One row per key of the request, in that order; features in the plan's order.

        Raises:
            CorruptData: A stored row cannot be read.
            InvalidInput: An expired value meets the policy `reject`.
        """
        if self._whole:
            view = self._views[0]
            columns, found, ages = view.answer(replies, now_us)
            age_us = ages.repeat(self._width).reshape(len(ages), self._width)
            return OnlineRows(dict(zip(view.names, columns, strict=True)), found, age_us)
        status = np.empty((rows, self._width), np.uint8)
        age_us = np.empty((rows, self._width), np.int64)
        values: dict[str, Array] = dict.fromkeys(self.plan.names, _NOTHING)
        for view in self._views:
            mine = replies[view.group * rows : (view.group + 1) * rows]
            columns, status[:, view.target], ages = view.answer(mine, now_us)
            age_us[:, view.target] = ages[:, None]
            values.update(zip(view.names, columns, strict=True))
        return OnlineRows(values, status, age_us)


_NOTHING: Array = np.empty(0)
_MOST_HEADS = 1024


class _Heads(dict[int, bytes]):
    """What a command begins with, up to its key, by the length of the key."""

    def __init__(self, before: bytes) -> None:
        self._before = before

    def __missing__(self, size: int) -> bytes:
        head = b"%b%d\r\n" % (self._before, size)
        if len(self) < _MOST_HEADS:
            self[size] = head
        return head


class _CompiledView:
    """One view of a plan: which decoded columns go where, and what becomes of rows that are absent or expired."""

    def __init__(self, plan: ReadPlan, index: int, group: int, position: int) -> None:
        layout = plan.layouts[index]
        self.layout: ViewLayout = layout
        self.codec = codec_of(layout)
        self.group = group
        self.position = position
        self.max_age_us = layout.max_age_us
        target = [f for f, (of, _) in enumerate(plan.features) if of == index]
        wanted = [plan.features[f][1] for f in target]
        self.names = [plan.names[f] for f in target]
        self.columns: list[StoredColumn] = [layout.columns[i] for i in wanted]
        decoded_at = {column: at for at, column in enumerate(self.codec.order)}
        picks = [decoded_at[i] for i in wanted]
        self.picks = None if picks == list(range(len(layout.columns))) else picks
        self.wanted = None if wanted == list(range(len(layout.columns))) else np.array(wanted)
        contiguous = target == list(range(target[0], target[0] + len(target)))
        self.target: Any = slice(target[0], target[0] + len(target)) if contiguous else np.array(target, np.intp)
        self.is_whole = contiguous and len(target) == len(plan.features)
        self.defaults = [_default_of(layout, column) for column in self.columns]

    def answer(self, replies: Sequence[list[bytes | None]], now_us: int) -> tuple[list[Array], Array, Array]:
        """Return the wanted columns, their statuses (n, wanted) and the rows' ages (n,)."""
        position = self.position
        decoded = self.codec.decode([reply[position] for reply in replies])
        ages = now_us - decoded.event_us
        columns = decoded.columns if self.picks is None else [decoded.columns[i] for i in self.picks]
        status = decoded.nulls if self.wanted is None else decoded.nulls[:, self.wanted]
        if decoded.absent is not None:
            ages[decoded.absent] = -1
        if decoded.absent is not None or (self.max_age_us is not None and ages.max(initial=-1) >= self.max_age_us):
            columns, status = self._judge(decoded, columns, status, ages, [reply[0] is not None for reply in replies])
        return columns, status, ages

    def _judge(
        self, decoded: DecodedRows, values: list[Array], status: Array, ages: Array, known: list[bool]
    ) -> tuple[list[Array], Array]:
        """Apply the view's policy to absent and expired rows."""
        status = status.copy()
        gone = np.zeros(len(ages), bool)
        if decoded.absent is not None:
            gone |= decoded.absent
            missing = np.where(np.array(known, bool), Status.MISSING_FEATURE, Status.MISSING_ENTITY)
            status[gone] = missing[gone, None]
        if self.max_age_us is not None:
            expired = (ages >= self.max_age_us) & ~gone
            if expired.any():
                self._refuse(expired, ages)
                status[expired] = Status.EXPIRED
                if self.layout.on_expired != "serve":
                    gone |= expired
        if not gone.any():
            return values, status
        uses_defaults = self.layout.on_expired == "default"
        replaced = []
        for position, (column, values_of_column) in enumerate(zip(self.columns, values, strict=True)):
            default = self.defaults[position] if uses_defaults else None
            replaced.append(_replaced(values_of_column, gone, default, column.dtype))
            if default is not None:
                status[gone, position] = Status.DEFAULT
        return replaced, status

    def _refuse(self, expired: Array, ages: Array) -> None:
        if self.layout.on_expired != "reject" or self.max_age_us is None:
            return
        row = int(np.flatnonzero(expired)[0])
        raise InvalidInput(
            f"view '{self.layout.view}': the value of row {row} is {ages[row] / 1e6:.6g} s old, "
            f"and expires at {self.max_age_us / 1e6:.6g} s",
            "materialize the view, or choose another on_expired than 'reject'",
            {"view": self.layout.view, "row": row, "age_us": int(ages[row]), "max_age_us": self.max_age_us},
        )


def _replaced(values: Array, rows: Array, value: Any, dtype: str) -> Array:
    """Return a copy with `value` in some rows; a column that then has no None left gets its plain type back."""
    if dtype == "float64":
        plain = values.copy()
        plain[rows] = np.nan if value is None else value
        return plain
    column = values.astype(object)
    column[rows] = value
    if dtype == "string" or None in column.tolist():
        return column
    return column.astype(np.bool_ if dtype == "bool" else np.int64)


def _default_of(layout: ViewLayout, column: StoredColumn) -> Any:
    """Return the declared default in the column's type; timestamps are microseconds since the epoch."""
    default = column.default
    if default is None:
        return None
    takes: dict[str, tuple[type, ...]] = {
        "float64": (int, float), "int64": (int,), "timestamp": (int,), "bool": (bool,), "string": (str,)
    }  # fmt: skip
    if not isinstance(default, takes[column.dtype]) or (isinstance(default, bool) and column.dtype != "bool"):
        raise InvalidDefinition(
            f"view '{layout.view}': the default {default!r} of feature '{column.name}' is not {column.dtype}",
            f"give a default of type {column.dtype}",
        )
    return float(default) if column.dtype == "float64" else default
