"""RedisOnlineStore: the `OnlineStore` port over any server that speaks Redis' protocol (Valkey, Redis).

Made by `client`; written by materialization, read inside replicas. One hash per entity, one field per view, one packed
row per field (`features.codec`). Writes compare times on the server, in one script per batch; reads are one pipelined
round trip of HMGETs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import hiredis
import pyarrow as pa

from gnomon.contracts.layouts import ViewLayout
from gnomon.contracts.online_store import OnlineRows, ReadPlan, WriteResult
from gnomon.errors import InvalidInput
from gnomon.features.codec import codec_of, column_of
from gnomon.features.compiled_reads import CompiledRead
from gnomon.features.entity_keys import EntityKeys, check_project
from gnomon.features.redis_connections import RedisConnections

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


class RedisOnlineStore:
    """The newest row of each view per entity, in Redis hashes. Safe to share between threads.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the password in it.
        project: Separates platforms on one server; letters, digits, `_`, `.` and `-`.
        timeout_s: Deadline of one read.

    Raises:
        InvalidInput: The URL or the project cannot be used.
    """

    def __init__(self, url: str, project: str, timeout_s: float = 0.5) -> None:
        self._connections = RedisConnections(url, timeout_s)
        self._project = check_project(project)
        self._plans: dict[int, CompiledRead] = {}
        self._write_script = _Script("write_newest.lua")
        self._clear_script = _Script("clear_view.lua")

    def write(self, layout: ViewLayout, rows: pa.Table) -> WriteResult:
        """Write rows; see `OnlineStore.write`. Both counts are lower bounds where a lost answer was repeated."""
        keys = EntityKeys(self._project, layout.keys)
        field = layout.view.encode()
        written = 0
        for start in range(0, rows.num_rows, _BATCH_ROWS):
            batch = rows.slice(start, _BATCH_ROWS)
            packed = codec_of(layout).encode(batch)
            hashes = keys.encode_columns([_key_column(batch, name, dtype, layout) for name, dtype in layout.keys])
            calls = [
                (hashes[i : i + _SCRIPT_ROWS], [field, *packed[i : i + _SCRIPT_ROWS]])
                for i in range(0, len(packed), _SCRIPT_ROWS)
            ]
            written += sum(self._run(self._write_script, calls))
        return WriteResult(written, rows.num_rows - written)

    def read(self, plan: ReadPlan, keys: Sequence[Mapping[str, Any]], now_us: int) -> OnlineRows:
        """Read all features of a plan for n entities; see `OnlineStore.read`."""
        compiled = self._plans.get(id(plan))
        if compiled is None or compiled.plan is not plan:
            compiled = self._compile(plan)
        if len(keys) <= _READ_ROWS:
            return compiled.answer(self._fetch(compiled, keys), len(keys), now_us)
        parts = [self._fetch(compiled, keys[i : i + _READ_ROWS]) for i in range(0, len(keys), _READ_ROWS)]
        groups = range(compiled.replies_per_row)
        by_group = [
            reply
            for g in groups
            for part in parts
            for reply in part[g * len(part) // len(groups) : (g + 1) * len(part) // len(groups)]
        ]
        return compiled.answer(by_group, len(keys), now_us)

    def clear(self, layout: ViewLayout) -> int:
        """Remove all rows of a view; see `OnlineStore.clear`. Walks through all keys of the server."""
        pattern = _literal_pattern(EntityKeys(self._project, layout.keys).prefix) + b"*"
        cursor, removed = b"0", 0
        while True:
            scan = _command(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", b"%d" % _SCAN_KEYS)
            cursor, found = self._ask(scan, 1)[0]
            if found:
                removed += sum(self._run(self._clear_script, [(found, [layout.view.encode()])]))
            if cursor == b"0":
                return removed

    def ping(self) -> None:
        """Return when the server answers; see `OnlineStore.ping`."""
        reply = self._connections.exchange(_command(b"PING"), 1)[0]
        if isinstance(reply, hiredis.ReplyError):
            raise self._connections.refused(reply)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self._connections.close()

    def _compile(self, plan: ReadPlan) -> CompiledRead:
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        compiled = CompiledRead(plan, self._project)
        self._plans[id(plan)] = compiled
        return compiled

    def _fetch(self, compiled: CompiledRead, keys: Sequence[Mapping[str, Any]]) -> list[Any]:
        if not keys or not compiled.replies_per_row:
            return []
        replies = self._connections.exchange(compiled.request(keys), len(keys) * compiled.replies_per_row)
        for reply in replies:
            if type(reply) is not list:
                raise self._connections.refused(reply)
        return replies

    def _ask(self, request: bytes, replies: int) -> list[Any]:
        answer = self._connections.exchange(request, replies, max(_WRITE_TIMEOUT_S, self._connections.timeout_s))
        for reply in answer:
            if isinstance(reply, hiredis.ReplyError):
                raise self._connections.refused(reply)
        return answer

    def _run(self, script: _Script, calls: Sequence[tuple[Sequence[bytes], Sequence[bytes]]]) -> list[int]:
        """Run a script once per (keys, arguments), pipelined; a server that does not know it yet is taught it."""
        timeout_s = max(_WRITE_TIMEOUT_S, self._connections.timeout_s)
        request = b"".join(
            _command(b"EVALSHA", script.digest, b"%d" % len(keys), *keys, *arguments) for keys, arguments in calls
        )
        answer = self._connections.exchange(request, len(calls), timeout_s)
        unknown = [
            i for i, reply in enumerate(answer) if isinstance(reply, hiredis.ReplyError) and "NOSCRIPT" in str(reply)
        ]
        for i in unknown:
            keys, arguments = calls[i]
            answer[i] = self._ask(_command(b"EVAL", script.text, b"%d" % len(keys), *keys, *arguments), 1)[0]
        for reply in answer:
            if isinstance(reply, hiredis.ReplyError):
                raise self._connections.refused(reply)
        return answer


class _Script:
    """A Lua script of this package and the digest that servers know it by."""

    def __init__(self, name: str) -> None:
        self.text = files("gnomon.features").joinpath(name).read_bytes()
        self.digest = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


def _command(*parts: bytes) -> bytes:
    body = b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])
    return b"*%d\r\n%b" % (len(parts), body)


def _key_column(rows: pa.Table, name: str, dtype: str, layout: ViewLayout) -> list[Any]:
    column = column_of(rows, name, dtype, layout.view)
    if column.null_count:
        raise InvalidInput(f"rows of view '{layout.view}': key '{name}' is null", "every row needs its entity's key")
    values: list[Any] = column.to_pylist()
    return values


def _literal_pattern(text: bytes) -> bytes:
    return b"".join(b"\\" + bytes([c]) if c in b"\\*?[]^-" else bytes([c]) for c in text)
