"""Stops asking a server that does not answer, so that callers fail at once instead of waiting one deadline each.

Used by `features.redis_connections` and `features.async_redis_connections`, one breaker per server.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

BreakerState = Literal["closed", "open", "half-open"]

_FAILURES: Final = 5
"""Fewer would open it at one lost packet; a frozen server costs five deadlines before callers fail at once."""
_WINDOW_S: Final = 30.0
_PAUSE_S: Final = 1.0
"""A server that is back is found within this time; the probes of a whole fleet are nothing to it."""


class CircuitBreaker:
    """Closed → open after failures in a row → half-open after a pause, for one probe → closed, or open again.

    While half-open, one more probe is let through after each further pause, so that a probe that never reports (its
    thread ended) does not keep the breaker half-open for good. Safe to share between threads.

    Args:
        failures: How many failures in a row open it.
        window_s: Only failures that lie this close together count as in a row.
        pause_s: How long it stays open before a probe.
        now_s: A clock that never goes back, in seconds.

    Attributes:
        troubled: False as long as nothing has failed since the last success; callers need to ask for nothing else.
    """

    def __init__(
        self, failures: int = _FAILURES, window_s: float = _WINDOW_S, pause_s: float = _PAUSE_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.troubled = False
        self._failed_s: deque[float] = deque(maxlen=failures)
        self._window_s = window_s
        self._pause_s = pause_s
        self._now_s = now_s
        self._next_try_s: float | None = None
        self._probed = False
        self._lock = threading.Lock()

    @property
    def state(self) -> BreakerState:
        """Return the state; open turns to half-open with the request that becomes the probe."""
        if self._next_try_s is None:
            return "closed"
        return "half-open" if self._probed else "open"

    def admit(self) -> float:
        """Ask whether a request may go out; only needed while `troubled`.

        Returns:
            0 when it may, and it then has to report `succeeded` or `failed`; else seconds until the next probe.
        """
        with self._lock:
            if self._next_try_s is None:
                return 0.0
            now_s = self._now_s()
            if now_s < self._next_try_s:
                return self._next_try_s - now_s
            self._probed = True
            self._next_try_s = now_s + self._pause_s
            return 0.0

    def succeeded(self) -> None:
        """Report an answer: the server lives, whatever failed before. Only needed while `troubled`."""
        with self._lock:
            self._failed_s.clear()
            self._next_try_s = None
            self._probed = False
            self.troubled = False

    def failed(self) -> None:
        """Report that no answer came. While open it changes nothing: those requests went out before."""
        with self._lock:
            now_s = self._now_s()
            self.troubled = True
            if self._next_try_s is not None:
                if self._probed:
                    self._probed = False
                    self._next_try_s = now_s + self._pause_s
                return
            self._failed_s.append(now_s)
            full = len(self._failed_s) == self._failed_s.maxlen
            if full and now_s - self._failed_s[0] <= self._window_s:
                self._next_try_s = now_s + self._pause_s
