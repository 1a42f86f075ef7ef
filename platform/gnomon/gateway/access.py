"""Who may call: one bearer token, compared in constant time, for every route but the health check.

`TokenGate` is ASGI middleware of the gateway; the check itself is `runtime.bearer_tokens`, which replicas use too.
"""

from __future__ import annotations

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from gnomon.errors import Unauthenticated
from gnomon.runtime.bearer_tokens import COOKIE, authorized

__all__ = ["COOKIE", "OPEN_PATHS", "TokenGate", "authorized"]

OPEN_PATHS = frozenset({"/health"})
_LOGIN = "/login/"  # carries a log-in code in its path, which it checks itself


class TokenGate:
    """Answers 401 to every request without the token.

    Args:
        app: The application behind the gate.
        token: The only token that opens it.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        if not token:
            raise Unauthenticated("the gateway has no token", "start the platform with `gnomon up`, which makes one")
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on when it may pass."""
        needs_token = scope["type"] in ("http", "websocket") and not _open(scope["path"])
        if not needs_token or authorized(list(scope["headers"]), self._token):
            await self._app(scope, receive, send)
            return
        error = Unauthenticated(
            "the access token is missing, or not this platform's",
            "send `Authorization: Bearer TOKEN`; `gnomon env` prints it, and GNOMON_TOKEN is sent where it is set",
        )
        body = json.dumps({"error": error.as_json()}).encode()
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(_LOGIN)
