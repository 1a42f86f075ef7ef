"""Stop requests: how work that shares a process with other work learns that it should end.

A thread cannot be killed. `shared_workers` runs each piece of work within `stoppable`; the work looks at
`stop_requested` where it can end cleanly.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_REQUEST: ContextVar[threading.Event | None] = ContextVar("stop_request", default=None)


@contextmanager
def stoppable(request: threading.Event) -> Iterator[None]:
    """Let `stop_requested` answer for this event within the block, in this thread only.

    Args:
        request: Set by another thread when the work should end.
    """
    token = _REQUEST.set(request)
    try:
        yield
    finally:
        _REQUEST.reset(token)


def stop_requested() -> bool:
    """Tell whether the work of this thread should end.

    Returns:
        Whether the event of the innermost `stoppable` is set; False outside of one, as for work in a process of its
        own.

    Example:
        >>> request = threading.Event()
        >>> with stoppable(request):
        ...     request.set()
        ...     stop_requested()
        True
        >>> stop_requested()
        False
    """
    request = _REQUEST.get()
    return request is not None and request.is_set()
