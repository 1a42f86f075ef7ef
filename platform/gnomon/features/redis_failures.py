"""What is told when a server of the online store does not answer or refuses a command: `Unavailable`, with a remedy.

Used by the connections and stores of `features`. No message ever holds a password.
"""

from __future__ import annotations

import ssl
from typing import Final

import hiredis

from gnomon.errors import Unavailable
from gnomon.features.redis_protocol import GreetingRefused

LOST: Final = (OSError, hiredis.ProtocolError, EOFError)
"""What an exchange may end with; `TimeoutError` is an OSError, and so are TLS errors."""

_START: Final = "start it, or correct GNOMON_ONLINE_URL"
_REMEDIES: Final = {
    "OOM": "its memory is full: raise its maxmemory, or clear views that are no longer needed",
    "LOADING": "it is loading its data after a start: repeat when it has",
    "READONLY": "it is a replica: name the primary in GNOMON_ONLINE_URL, or the sentinels with redis+sentinel://",
    "MASTERDOWN": "it is a replica that has lost its primary: name the primary in GNOMON_ONLINE_URL",
    "MOVED": "it is a node of a cluster: use redis+cluster:// in GNOMON_ONLINE_URL",
    "ASK": "it is a node of a cluster: use redis+cluster:// in GNOMON_ONLINE_URL",
    "CROSSSLOT": "it is a node of a cluster: use redis+cluster:// in GNOMON_ONLINE_URL",
    "TRYAGAIN": "the cluster is moving these keys: repeat",
    "CLUSTERDOWN": "the cluster has lost a part: look at CLUSTER INFO, and repeat when it is whole",
    "NOAUTH": "it asks for a password: give it in GNOMON_ONLINE_URL",
    "NOPERM": "grant its user the commands and keys in platform/docs/online_store.md",
    "MISCONF": "it cannot write to its disk: free space there",
    "NOREPLICAS": "too few of its replicas are there: start them",
    "BUSY": "a script of somebody else keeps it busy: repeat when that has ended",
}


def refused(address: str, reply: Exception) -> Unavailable:
    """Return the error for a command that the server answered with an error."""
    text = str(reply)
    code = text.partition(" ")[0]
    return Unavailable(
        f"the online store at {address} refused: {text}",
        _REMEDIES.get(code, "look at the server's log and memory"),
        {"address": address, "code": code},
    )


def unanswered(address: str, timeout_s: float, error: BaseException) -> Unavailable:
    """Return the error for an exchange that brought no answer.

    Args:
        address: Of the server.
        timeout_s: Deadline of the exchange in seconds.
        error: One of `LOST`.

    Returns:
        What was tried, why it failed, and what to do.
    """
    why, hint = _cause(error)
    return Unavailable(
        f"the online store at {address} {why}", hint, {"address": address, "timeout_s": timeout_s, "why": why}
    )


def withheld(address: str, next_try_s: float, why: str, hint: str) -> Unavailable:
    """Return the error for a request that the circuit breaker did not let out.

    Args:
        address: Of the server.
        next_try_s: Seconds until the next request that goes out.
        why: What the server did last, as the end of a sentence.
        hint: What to do about it.

    Returns:
        When the next try is, and why.
    """
    return Unavailable(
        f"the online store at {address} is not asked before {max(next_try_s, 0.1):.1f} s have passed, because it {why}",
        hint,
        {"address": address, "next_try_s": round(next_try_s, 3), "why": why},
    )


def _cause(error: BaseException) -> tuple[str, str]:
    if isinstance(error, GreetingRefused):
        return error.why, error.hint
    if isinstance(error, TimeoutError) and "TLS" in str(error):
        return "does not answer the TLS handshake in time", "use redis:// in GNOMON_ONLINE_URL if it has no TLS"
    if isinstance(error, TimeoutError):
        return "does not answer in time", _START
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"shows a certificate that cannot be verified ({error.verify_message})",
            "name the file of its authority with ssl_ca_certs in GNOMON_ONLINE_URL, and the host as in the certificate",
        )
    if isinstance(error, ssl.SSLError):
        return (
            f"does not agree on TLS ({error.reason or 'connection closed'})",
            "give ssl_certfile and ssl_keyfile in GNOMON_ONLINE_URL if it asks for them, or redis:// if it has no TLS",
        )
    if isinstance(error, hiredis.ProtocolError):
        return "does not speak the Redis protocol", "correct the port in GNOMON_ONLINE_URL; with TLS use rediss://"
    return f"cannot be reached: {type(error).__name__}", _START
