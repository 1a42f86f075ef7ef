"""Deadlines of requests: asked after each stage of the request path, so that nobody is answered who has gone."""

from __future__ import annotations

import time

from gnomon.errors import TimedOut


def check_deadline(deadline_s: float, after: str, cause: Exception | None = None) -> None:
    """Return when there is still time.

    Args:
        deadline_s: By `time.monotonic`; infinity for none.
        after: What was done last, for the message.
        cause: The error that it ended in, if it did.

    Raises:
        TimedOut: The deadline has passed.
    """
    if time.monotonic() >= deadline_s:
        raise TimedOut(
            f"the request's deadline had passed after {after}",
            "repeat it, with fewer rows if it has many; the deployment's request_timeout_s sets the deadline",
        ) from cause
