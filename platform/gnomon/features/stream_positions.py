"""How far a streamed view has come: the durable position, and the figures that people are shown with it.

Written by `view_streams`; read by it after a restart, and by the gateway for `gnomon status` and `/metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

STREAM = "stream"
"""Kind of the documents in the state store; named by their view."""


@dataclass(frozen=True)
class StreamPosition:
    """Where a view's stream stands.

    Attributes:
        layout: Version of the layout that the values were written with.
        source: The view's source.
        version: Version of the source's table up to which every event is in the online values …
        as_of_us: … as they are at this moment.
        whole_us: The moment at which the whole view was last written.
        watermark_us: Greatest event time among the events of that version; None before the first.
        lag_s: From the commit of the oldest event of the last write to the end of that write.
        entities: Rows written online since the process began.
        cached_rows: Events held in memory.
        cached_bytes: About how much memory they take.
        wall_us: The machine's time at which this was written down.
        error: Why the last step failed; empty when it did not.
    """

    layout: str
    source: str
    version: int
    as_of_us: int
    whole_us: int
    watermark_us: int | None = None
    lag_s: float = 0.0
    entities: int = 0
    cached_rows: int = 0
    cached_bytes: int = 0
    wall_us: int = 0
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the document."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read a document."""
        return cls(**document)
