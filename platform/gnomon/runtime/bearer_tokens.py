"""Reads the access token of a request; the one check that the gateway and the replicas of endpoints share."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie

COOKIE = "gnomon_token"


def authorized(headers: Iterable[tuple[bytes, bytes]], token: str) -> bool:
    """Tell whether the request carries the token, as `Authorization: Bearer …` or (for pages) in our cookie.

    Tokens are compared in constant time. An `Authorization` header decides alone, whatever the cookie says.
    """
    cookies = b""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, given = value.partition(b" ")
            return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), token.encode())
        if name == b"cookie":
            cookies = value
    return bool(cookies) and _in_cookie(cookies, token)


def _in_cookie(value: bytes, token: str) -> bool:
    try:
        cookies: SimpleCookie = SimpleCookie(value.decode("latin-1"))
    except CookieError:
        return False
    return COOKIE in cookies and hmac.compare_digest(cookies[COOKIE].value.encode(), token.encode())
