"""Every error that Gnomon raises on purpose, split by what the caller should do about it.

    GnomonError
    ├── InvalidInput      change the input            400   exit 2
    │   ├── InvalidDefinition   change the app file   422   exit 2
    │   ├── CorruptData         replace the file      422   exit 2
    │   └── ContractViolated    mend the data         422   exit 2
    ├── NotFound          name something that exists  404   exit 2
    ├── Conflict          look at the state, choose   409   exit 2
    ├── Forbidden         get permission              403   exit 2
    │   └── Unauthenticated     send a token          401   exit 2
    ├── Overloaded        wait, then repeat           429   exit 3
    ├── Unavailable       repeat when it is back      503   exit 3
    │   └── TimedOut            repeat, with less     504   exit 3
    ├── OutOfSpace        free space, then repeat     507   exit 3
    └── OperationFailed   read the cause              500   exit 1

A message says what is true, with the values; the hint says what to do. An error crosses Ray actors and HTTP whole:
`as_json` and `from_json` are inverse, and `__reduce__` keeps message, hint and details.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class GnomonError(Exception):
    """Base of all errors raised on purpose; never raised itself.

    Args:
        message: What is true, with the offending values in it. One sentence.
        hint: What the reader can do now; empty where nothing helps.
        details: JSON-able facts for programs (never secrets).
    """

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def __reduce__(self) -> tuple[type[GnomonError], tuple[str, str, dict[str, Any]]]:
        return (type(self), (self.message, self.hint, self.details))

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def as_json(self) -> dict[str, Any]:
        """Return the body that the HTTP API answers with, under the key `error`."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "details": self.details,
        }


class InvalidInput(GnomonError):
    """A value given by the caller cannot be used as it is."""

    code = "invalid_input"
    http_status = 400
    exit_code = 2


class InvalidDefinition(InvalidInput):
    """An app file, or a definition in it, contradicts itself or the data."""

    code = "invalid_definition"
    http_status = 422


class CorruptData(InvalidInput):
    """Bytes that should be a table, a model or a record cannot be read as one."""

    code = "corrupt_data"
    http_status = 422


class ContractViolated(InvalidInput):
    """Data break a rule of their source's contract that lets none of them in; `details` has the report."""

    code = "contract_violated"
    http_status = 422


class NotFound(GnomonError):
    """The named thing does not exist."""

    code = "not_found"
    http_status = 404
    exit_code = 2


class Conflict(GnomonError):
    """The request contradicts the present state (already exists, moved on meanwhile, already running)."""

    code = "conflict"
    http_status = 409
    exit_code = 2


class Forbidden(GnomonError):
    """The caller is known and may not do this."""

    code = "forbidden"
    http_status = 403
    exit_code = 2


class Unauthenticated(Forbidden):
    """The caller did not prove who they are."""

    code = "unauthenticated"
    http_status = 401


class Overloaded(GnomonError):
    """More was asked than can be held; nothing was done."""

    code = "overloaded"
    http_status = 429
    exit_code = 3
    retryable = True


class Unavailable(GnomonError):
    """A part that is needed does not answer; nothing was done, or the outcome is safe to repeat."""

    code = "unavailable"
    http_status = 503
    exit_code = 3
    retryable = True


class TimedOut(Unavailable):
    """There was no answer within the deadline that the platform gives itself."""

    code = "timeout"
    http_status = 504


class OutOfSpace(GnomonError):
    """The disk is full; nothing half-written is visible."""

    code = "out_of_space"
    http_status = 507
    exit_code = 3
    retryable = True


class OperationFailed(GnomonError):
    """A piece of background work ended in failure; the message holds its cause."""

    code = "operation_failed"


def _leaf_types(base: type[GnomonError]) -> Iterable[type[GnomonError]]:
    for child in base.__subclasses__():
        yield child
        yield from _leaf_types(child)


def from_json(body: Mapping[str, Any]) -> GnomonError:
    """Rebuild the error that `as_json` described; an unknown code becomes `OperationFailed`."""
    by_code = {kind.code: kind for kind in _leaf_types(GnomonError)}
    kind = by_code.get(str(body.get("code", "")), OperationFailed)
    return kind(str(body.get("message", "unknown error")), str(body.get("hint", "")), body.get("details"))


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest known name, or else lists what exists.

    Args:
        wrong: The name that was given.
        known: Names that exist, in any order.

    Returns:
        The nearest name as a question, or else up to eight names in alphabetical order.

    Example:
        >>> did_you_mean("amuont", ["amount", "paid_at"])
        "did you mean 'amount'?"
        >>> did_you_mean("x", [])
        'none is defined yet'
    """
    names = sorted(known)
    if not names:
        return "none is defined yet"
    close = difflib.get_close_matches(wrong, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return f"known: {shown}"


def unknown_name(what: str, wrong: str, known: Iterable[str]) -> NotFound:
    """Build the error for a name that does not exist."""
    return NotFound(f"there is no {what} named '{wrong}'", did_you_mean(wrong, known), {"name": wrong})
