"""Named actors of the platform: finding one, asking the cluster what state it is in, and the cluster's errors.

Used by the worker pools, the control plane's actor and the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray._private.state import actors as actor_table
from ray.exceptions import RayError

from gnomon.errors import Unavailable

NAMESPACE = "gnomon"
"""Ray namespace of all named actors of the platform."""

ALIVE, RESTARTING, DEAD = "ALIVE", "RESTARTING", "DEAD"
"""States of an actor that matter here; before the first of them it is being created."""


def find_actor(name: str) -> ray.actor.ActorHandle | None:
    """Look up an actor by name.

    Args:
        name: Its name in the platform's namespace.

    Returns:
        Its handle, also while it is starting; None where there is none, or where it is dead for good.

    Raises:
        Unavailable: The cluster does not answer.
    """
    with cluster_errors():
        try:
            return ray.get_actor(name, NAMESPACE)
        except ValueError:  # Ray's way to say that no actor has that name, or that it is dead
            return None


def actor_row(handle: ray.actor.ActorHandle) -> Mapping[str, Any]:
    """Return what the cluster's own table says of an actor, among it `State` and `NumRestarts`.

    Args:
        handle: The actor; it is not asked, and may be dead.

    Returns:
        The row; of an actor that the cluster has forgotten, one whose state is `DEAD`.

    Raises:
        Unavailable: The cluster does not answer.
    """
    with cluster_errors():
        return actor_table(actor_id=handle._actor_id.hex()) or {"State": DEAD, "NumRestarts": 0}


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turn Ray's errors into the platform's.

    Raises:
        Unavailable: The block raised an error of Ray, or lost its connection.
    """
    try:
        yield
    except (RayError, ConnectionError) as error:
        raise Unavailable(f"the Ray cluster does not answer: {error}", "is it up? see `gnomon status`") from error
