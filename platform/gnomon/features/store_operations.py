"""What reads and writes of the online store consist of: the commands, and what their replies mean; no input or output.

An operation is a generator: it yields what to ask and is sent the replies, so that `features.redis_online_store` and
`features.async_redis_online_store` share all of it. Writes compare times on the server, in scripts; a read is one
pipelined round trip of HMGETs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pyarrow as pa

from gnomon.contracts.layouts import ViewLayout
from gnomon.contracts.online_store import OnlineRows, ReadPlan, WriteResult
from gnomon.errors import InvalidInput
from gnomon.features.codec import codec_of, column_of
from gnomon.features.compiled_reads import CompiledRead
from gnomon.features.entity_keys import EntityKeys, check_project, deletion_field, row_field, row_prefix
from gnomon.features.redis_addresses import Endpoint
from gnomon.features.redis_failures import refused
from gnomon.features.redis_protocol import ReplyError, Script, command, is_unknown_script
from gnomon.features.tombstones import encode_tombstones

T = TypeVar("T")

_SCRIPT_ROWS: Final = 256
"""Rows per script call: the server serves nobody else while a script runs, here about half a millisecond."""
_BATCH_ROWS: Final = 8192
"""Rows per round trip of a write; bounds the memory of a request to a few megabytes."""
_READ_ROWS: Final = 8192
"""Entities per round trip of a read; only larger requests take several."""
_SCAN_KEYS: Final = 1000
_WRITE_TIMEOUT_S: Final = 10.0
"""Least deadline of writes: nobody waits for them, and a server that syncs its disk may pause for seconds."""
_PLANS: Final = 64


@dataclass(slots=True)
class Ask:
    """Commands to send, each to the server of its key, or all to one server; answered by one reply each.

    Without commands it asks which servers hold the keys, and is answered by their endpoints.
    """

    commands: Sequence[bytes]
    keys: Sequence[bytes]
    timeout_s: float
    server: Endpoint | None = None


Operation = Generator[Ask, list[Any], T]
Groups = Callable[[Sequence[bytes], int], list[Sequence[int]]]


class StoreOperations:
    """The operations of one project on one store.

    Args:
        project: Separates platforms on one server; letters, digits, `_`, `.` and `-`.
        address: Of the servers, for messages.
        timeout_s: Deadline of one read.
        groups: Says which keys one script call may name; see `features.redis_routes.Route.groups`.

    Raises:
        InvalidInput: The project cannot be used.
    """

    def __init__(self, project: str, address: str, timeout_s: float, groups: Groups) -> None:
        self._project = check_project(project)
        self._address = address
        self._timeout_s = timeout_s
        self._write_timeout_s = max(_WRITE_TIMEOUT_S, timeout_s)
        self._groups = groups
        self._plans: dict[int, CompiledRead] = {}
        self._write_script = Script("newest_order.lua", "write_newest.lua")
        self._delete_script = Script("newest_order.lua", "delete_rows.lua")
        self._clear_script = Script("clear_view.lua")

    def write(self, layout: ViewLayout, rows: pa.Table) -> Operation[WriteResult]:
        """Write rows; see `OnlineStore.write`. Both counts are lower bounds where a lost answer was repeated."""
        fields = [row_field(layout), deletion_field(layout)]
        return self._write(layout, rows, codec_of(layout).encode, self._write_script, fields)

    def delete(self, layout: ViewLayout, rows: pa.Table) -> Operation[WriteResult]:
        """Delete rows of entities; see `OnlineStore.delete`. The counts are as those of `write`."""
        fields = [deletion_field(layout), row_prefix(layout)]
        return self._write(layout, rows, lambda batch: encode_tombstones(layout, batch), self._delete_script, fields)

    def read(
        self, plan: ReadPlan, keys: Sequence[Mapping[str, Any]], now_us: int, timeout_s: float | None
    ) -> Operation[OnlineRows]:  # fmt: skip
        """Read all features of a plan for n entities; see `OnlineStore.read`."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        compiled = self._plans.get(id(plan))
        if compiled is None or compiled.plan is not plan:
            compiled = self._compile(plan)
        if not keys or not compiled.replies_per_row:
            return compiled.answer([], len(keys), now_us)
        if len(keys) <= _READ_ROWS:
            replies = self._hashes((yield self._question(compiled, keys, deadline_s)))
            return compiled.answer(replies, len(keys), now_us)
        parts: list[list[Any]] = []
        for start in range(0, len(keys), _READ_ROWS):
            parts += [self._hashes((yield self._question(compiled, keys[start : start + _READ_ROWS], deadline_s)))]
        groups = range(compiled.replies_per_row)
        by_group = [
            reply
            for g in groups
            for part in parts
            for reply in part[g * len(part) // len(groups) : (g + 1) * len(part) // len(groups)]
        ]
        return compiled.answer(by_group, len(keys), now_us)

    def clear(self, layout: ViewLayout) -> Operation[int]:
        """Remove all rows of a view; see `OnlineStore.clear`. Walks through all keys of every server."""
        return self._clear(layout, b"")

    def drop_version(self, layout: ViewLayout) -> Operation[int]:
        """Remove the rows of one version; see `OnlineStore.drop_version`. Walks through all keys of every server."""
        return self._clear(layout, row_field(layout))

    def ping(self) -> Operation[None]:
        """Return when the server answers, of a cluster one node; see `OnlineStore.ping`."""
        self._checked((yield Ask([command(b"PING")], (), self._timeout_s)))

    def _clear(self, layout: ViewLayout, only: bytes) -> Operation[int]:
        pattern = _literal_pattern(EntityKeys(self._project, layout.keys).prefix) + b"*"
        removed = 0
        for server in (yield Ask((), (), self._write_timeout_s)):
            cursor = b"0"
            while True:
                scan = command(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % _SCAN_KEYS)
                ((cursor, found),) = self._checked((yield Ask([scan], (), self._write_timeout_s, server)))
                groups = self._groups(found, max(len(found), 1))
                calls = [
                    ([found[i] for i in group], [deletion_field(layout), row_prefix(layout), only]) for group in groups
                ]
                removed += yield from self._run(self._clear_script, calls)
                if cursor == b"0":
                    break
        return removed

    def _write(
        self, layout: ViewLayout, rows: pa.Table, pack: Callable[[pa.Table], list[bytes]], script: Script,
        fields: Sequence[bytes],
    ) -> Operation[WriteResult]:  # fmt: skip
        keys = EntityKeys(self._project, layout.keys)
        written = 0
        for batch in _batches(rows):
            packed = pack(batch)
            hashes = keys.encode_columns([_key_column(batch, name, dtype, layout) for name, dtype in layout.keys])
            calls = [
                ([hashes[i] for i in group], [*fields, *[packed[i] for i in group]])
                for group in self._groups(hashes, _SCRIPT_ROWS)
            ]
            written += yield from self._run(script, calls)
        return WriteResult(written, rows.num_rows - written)

    def _question(self, compiled: CompiledRead, keys: Sequence[Mapping[str, Any]], deadline_s: float | None) -> Ask:
        left_s = self._timeout_s
        if deadline_s is not None:
            left_s = min(max(deadline_s - time.monotonic(), 1e-3), left_s)
        return Ask(*compiled.request(keys), left_s)

    def _hashes(self, replies: list[Any]) -> list[Any]:
        for reply in replies:
            if type(reply) is not list:
                raise refused(self._address, reply)
        return replies

    def _run(self, script: Script, calls: Sequence[tuple[Sequence[bytes], Sequence[bytes]]]) -> Operation[int]:
        """Run a script once per (keys, arguments) and add up; a server that does not know it yet is taught it."""
        if not calls:
            return 0
        firsts = [keys[0] for keys, _ in calls]
        answer = yield Ask([script.call(*call) for call in calls], firsts, self._write_timeout_s)
        unknown = [i for i, reply in enumerate(answer) if is_unknown_script(reply)]
        if unknown:
            lesson = [script.teach(*calls[i]) for i in unknown]
            taught = yield Ask(lesson, [firsts[i] for i in unknown], self._write_timeout_s)
            for i, reply in zip(unknown, taught, strict=True):
                answer[i] = reply
        return sum(self._checked(answer))

    def _checked(self, answer: list[Any]) -> list[Any]:
        for reply in answer:
            if isinstance(reply, ReplyError):
                raise refused(self._address, reply)
        return answer

    def _compile(self, plan: ReadPlan) -> CompiledRead:
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        compiled = CompiledRead(plan, self._project)
        self._plans[id(plan)] = compiled
        return compiled


def _batches(rows: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, rows.num_rows, _BATCH_ROWS):
        yield rows.slice(start, _BATCH_ROWS)


def _key_column(rows: pa.Table, name: str, dtype: str, layout: ViewLayout) -> list[Any]:
    column = column_of(rows, name, dtype, layout.view)
    if column.null_count:
        raise InvalidInput(f"rows of view '{layout.view}': key '{name}' is null", "every row needs its entity's key")
    values: list[Any] = column.to_pylist()
    return values


def _literal_pattern(text: bytes) -> bytes:
    return b"".join(b"\\" + bytes([c]) if c in b"\\*?[]^-" else bytes([c]) for c in text)
