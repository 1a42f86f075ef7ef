"""The route that takes events: they go through the rules of ingestion, and are durable when it answers."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from gnomon.contracts.columns import Dtype
from gnomon.contracts.sources import DataSource
from gnomon.control_plane.parts import Parts
from gnomon.errors import InvalidInput
from gnomon.gateway.bodies import Id

if TYPE_CHECKING:  # Arrow is loaded by the first push
    from gnomon.data.pushing import Pusher

MOST_BYTES = 8 * 2**20
"""Size of a body; larger batches are sent in parts, of which each is durable when answered."""

_LINES = "application/x-ndjson"
_REMEMBERED_S = 0.5


class Pushes:
    """The pusher of this process, made when first needed, and what it needs to know of the applied sources.

    Args:
        parts: The platform's parts.
        wait_s: A push waits this long for others to share its commit.
    """

    def __init__(self, parts: Parts, wait_s: float) -> None:
        self._parts = parts
        self._wait_s = wait_s
        self._made: Pusher | None = None
        self._making = threading.Lock()
        self._sources: dict[str, tuple[float, DataSource, Mapping[str, Dtype]]] = {}

    def pusher(self) -> Pusher:
        """Return the pusher."""
        with self._making:
            if self._made is None:
                from gnomon.data.pushing import Pusher, PushLimits

                limits = PushLimits(wait_s=self._wait_s)
                self._made = Pusher(self.definition, self._parts.offline, self._parts.clock, limits)
            return self._made

    def definition(self, source: str) -> tuple[DataSource, Mapping[str, Dtype]]:
        """Return a source and its column types, as they are applied now or were half a second ago.

        Args:
            source: Its name.

        Returns:
            Definition and types.

        Raises:
            NotFound: No applied app defines it.
        """
        known = self._sources.get(source)
        if known is None or time.monotonic() - known[0] > _REMEMBERED_S:
            app = self._parts.app_with(DataSource, source).app
            known = (time.monotonic(), app.get(DataSource, source), app.schemas[source])
            self._sources[source] = known
        return known[1], known[2]

    def queued_rows(self) -> dict[str, int]:
        """Return the rows that wait for their commit, by source."""
        return {} if self._made is None else self._made.queued_rows()


def router(pushes: Pushes) -> APIRouter:
    """Return the route over this process's pusher."""
    routes = APIRouter(tags=["events"])

    @routes.post("/sources/{source}/events")
    async def push(source: str, request: Request, batch_id: Annotated[Id | None, Query()] = None) -> dict[str, Any]:
        """Add rows to a source: JSON lines (`application/x-ndjson`), or `{"rows": [{…}, …]}` as JSON.

        The answer comes when they are durable, and tells how many were new, known already or quarantined, and why.
        A resend with the same `batch_id` and the same rows adds nothing and is answered like the first one. 429 means
        that too many rows wait: nothing was kept, send them again.
        """
        from gnomon.data.push_batches import Push

        body = await _bounded(request)
        is_lines = request.headers.get("content-type", "").startswith(_LINES)
        lines = body if is_lines else await run_in_threadpool(_as_lines, body)
        if not lines.strip():
            raise InvalidInput("there are no rows", "send at least one, one JSON object a line")
        pusher = await run_in_threadpool(pushes.pusher)
        waiting = await run_in_threadpool(pusher.push, source, Push(lines, batch_id or ""))
        return (await asyncio.wrap_future(waiting)).as_json()

    return routes


async def _bounded(request: Request) -> bytes:
    """Read the body, and no more of it than may come."""
    pieces, size_bytes = [], 0
    async for piece in request.stream():
        size_bytes += len(piece)
        if size_bytes > MOST_BYTES:
            raise InvalidInput(f"the body has more than {MOST_BYTES} bytes", "send the rows in several pushes")
        pieces.append(piece)
    return b"".join(pieces)


def _as_lines(body: bytes) -> bytes:
    try:
        rows = json.loads(body)["rows"]
        if not isinstance(rows, list):
            raise TypeError("rows is no array")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(
            f'the body is not {{"rows": [...]}}: {error or type(error).__name__}',
            f"send JSON so, or JSON lines with the content type {_LINES}",
        ) from error
    return "\n".join(json.dumps(row) for row in rows).encode()
