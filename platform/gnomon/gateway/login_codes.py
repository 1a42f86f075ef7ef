"""LoginCodes: codes that let a browser in once, so that a link need not carry the access token.

Made for `gnomon status --link` and taken back by the log-in page, both in `gateway.page_routes`. They are kept in the
platform's state, hashed, so that any replica of the gateway takes what another one made.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from gnomon.contracts.clocks import Clock
from gnomon.contracts.platform_state import StateStore

VALID_S: Final = 60
_KIND: Final = "login_code"
_CODE_BYTES: Final = 32


class LoginCodes:
    """Codes that are good for one use within a minute.

    Args:
        states: Where the codes' hashes are kept; shared by all replicas of the gateway.
        clock: Tells when a code has expired.
    """

    def __init__(self, states: StateStore, clock: Clock) -> None:
        self._states = states
        self._clock = clock

    def issue(self) -> str:
        """Make a code; those that have expired unused are forgotten."""
        now_us = self._clock.now_us()
        for name, known in self._states.all(_KIND).items():
            if now_us >= known["expires_us"]:
                self._states.take(_KIND, name)
        code = secrets.token_urlsafe(_CODE_BYTES)
        self._states.put(_KIND, _digest(code), {"expires_us": now_us + VALID_S * 1_000_000})
        return code

    def redeem(self, code: str) -> bool:
        """Use up a code.

        Args:
            code: What somebody gave for one.

        Returns:
            Whether it was made here, has not expired and was never used before; of several at once one is told so.
        """
        known = self._states.take(_KIND, _digest(code))
        return known is not None and self._clock.now_us() < known["expires_us"]


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()
