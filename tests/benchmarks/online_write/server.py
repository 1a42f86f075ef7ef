"""The server of `online_write` as its contestants need it, and the one way in which all of them are measured.

Imported by the contestants; redis-py is in each of their environments.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis
from contestant import time_runs

_QUIET_S = 0.05
_NEVER_STORED = ("mem_clients_normal", "mem_aof_buffer")


class Server:
    """The server, from the side of who measures it.

    Args:
        url: With the password in it.
    """

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def empty(self) -> None:
        """Remove everything, the content of the append-only file included."""
        self._client.config_set("appendonly", "no")
        self._client.execute_command("FLUSHALL", "SYNC")  # by default memory is freed later
        self._client.config_set("appendonly", "yes")
        while any(self._info("persistence")[f"aof_rewrite_{state}"] for state in ("in_progress", "scheduled")):
            time.sleep(_QUIET_S)

    def stored_bytes(self) -> int:
        """Return the memory of what is stored, without the buffers of connections and of the append-only file."""
        memory = self._info("memory")
        return int(memory["used_memory"]) - sum(int(memory[name]) for name in _NEVER_STORED)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _info(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.info(section)
        return found


def measure_writes(
    server: Server, entities: int, replaces: bool, budget_s: float,
    make: Callable[[int, int], Any], put: Callable[[Any], None],
) -> dict[str, float]:  # fmt: skip
    """Measure writes of all entities, each into an empty server or over the rows before.

    Args:
        server: Emptied first.
        entities: Rows of each write.
        replaces: Whether the rows replace others of the same entities.
        budget_s: For how long.
        make: Makes what is written, given a generation and a number that makes each write's event time later than that
            of the write before; not measured.
        put: Writes it.

    Returns:
        `rows_per_s`, `entity_bytes` in the server, `peak_mib` of this process.
    """
    server.empty()
    before = server.stored_bytes()
    number, rows = 0, None

    def between() -> None:
        nonlocal number, rows
        if not replaces:
            server.empty()
        elif not number:
            put(make(0, 0))
        number += 1
        rows = make(int(replaces), number)

    taken, _ = time_runs(lambda: put(rows), budget_s, between)
    entity_bytes = (server.stored_bytes() - before) / entities
    return {"rows_per_s": entities / taken["seconds"], "entity_bytes": entity_bytes, "peak_mib": taken["peak_mib"]}
