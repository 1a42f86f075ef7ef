"""Packed rows for the raw contestants of `online_read`: an event time and float64 values.

Written twice: as one hash per entity with a field per view, and as one key per entity and view.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import redis
from online_read.rows import ENTITIES, WIDTHS, column, view_name


def row_type(width: int) -> np.dtype[Any]:
    """Return how a row of so many features is packed."""
    return np.dtype([("event_us", "<i8"), ("values", "<f8", (width,))])


def key(entity: int) -> bytes:
    """Return an entity's key."""
    return b"raw:%d" % entity


def view_key(entity: int, width: int) -> bytes:
    """Return the key of an entity's row of one view."""
    return b"raw:%d:%d" % (width, entity)


def write_all(url: str) -> None:
    """Write the rows of all entities; writing them again changes nothing but their time."""
    client = redis.Redis.from_url(url)
    pipeline = client.pipeline(transaction=False)
    for width in WIDTHS:
        rows = np.zeros(ENTITIES, row_type(width))
        rows["event_us"] = time.time_ns() // 1000
        rows["values"] = np.array([column(i) for i in range(width)]).T
        for entity in range(ENTITIES):
            packed = rows[entity].tobytes()
            pipeline.hset(key(entity), view_name(width), packed)
            pipeline.set(view_key(entity, width), packed)
    pipeline.execute()
    client.close()
