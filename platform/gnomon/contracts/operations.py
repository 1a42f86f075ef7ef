"""Operation: one piece of work that the control plane was asked for, and its durable state.

Intent is stored as an operation before anything is done. The control plane gives it a lease and starts a worker;
the worker finishes it under that lease, and a worker of an older lease can no longer change it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

OperationKind = Literal[
    "ingest", "materialize", "train", "deploy", "monitor", "retrain", "audit_skew", "export_training_set",
    "export_features",
]  # fmt: skip
OperationState = Literal["pending", "running", "succeeded", "failed", "cancelled"]
FINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


def new_operation_id(now_us: int) -> str:
    """Return a fresh id: a ULID in lower case, 26 characters that sort by time to the millisecond, 80 bits of chance.

    Args:
        now_us: Microseconds since the epoch.

    Returns:
        Text that no other call returns.

    Example:
        >>> new_operation_id(1_700_000_000_000_000)[:10]
        '01hf7yat00'
    """
    number = (now_us // 1000) << 80 | secrets.randbits(80)
    return "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True)
class Operation:
    """A piece of work.

    Attributes:
        id: Its identity; given by the caller to make a request idempotent, or made here.
        kind: What to do.
        target: Name of the source, view, model, deployment or monitor.
        arguments: JSON arguments of the kind.
        state: Where it stands; final states never change.
        lease: Number of the attempt that may write, from 1; 0 before the first.
        attempts: How many attempts have been started.
        progress: Last line of progress that the worker reported.
        result: JSON result when succeeded.
        error: `GnomonError.as_json` when failed.
        actor: Who asked.
        created: When it was asked for.
        updated: When it last changed.
    """

    id: str
    kind: OperationKind
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    state: OperationState = "pending"
    lease: int = 0
    attempts: int = 0
    progress: str = ""
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    actor: str = ""
    created: datetime | None = None
    updated: datetime | None = None


class OperationStore(Protocol):
    """Operations, durable. Each call is one transaction. Contract: `testing.operation_store_contract`.

    Every call on an id that does not exist raises `NotFound`. Arguments, results and errors are JSON; what is not
    (NaN, objects) is refused with `InvalidInput`, and what is returned has gone through JSON.
    """

    def submit(
        self, kind: OperationKind, target: str, arguments: Mapping[str, Any], *, actor: str,
        operation_id: str | None = None,
    ) -> Operation:  # fmt: skip
        """Store the intent. With the id of an existing operation, return that one and store nothing.

        Args:
            kind: What to do.
            target: Name of the source, view, model, deployment or monitor.
            arguments: JSON arguments of the kind.
            actor: Who asks.
            operation_id: Names the request, so that repeating it is harmless; a fresh id is made when left out.

        Returns:
            The pending operation, or the existing one in the state that it is in.

        Raises:
            Conflict: That id belongs to an operation of another kind, target or arguments.
        """
        ...

    def get(self, operation_id: str) -> Operation:
        """Return an operation.

        Args:
            operation_id: As `submit` returned it.

        Returns:
            The operation in its state of now.

        Raises:
            NotFound: There is none with that id.
        """
        ...

    def list(self, *, states: Sequence[OperationState] = (), limit: int = 100) -> list[Operation]:
        """Return operations, newest first; of all states when none is named."""
        ...

    def lease(self, operation_id: str, expected_lease: int) -> Operation | None:
        """Start the next attempt: state running, lease and attempts + 1. None if it moved on meanwhile or is final."""
        ...

    def report(self, operation_id: str, lease: int, progress: str) -> bool:
        """Record progress; False (and nothing written) if the lease is no longer the current one."""
        ...

    def finish(
        self, operation_id: str, lease: int, *, result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        """End an operation as succeeded (no error) or failed; False if the lease is not current or it is final."""
        ...

    def cancel(self, operation_id: str) -> Operation:
        """End an operation that is not final as cancelled; a final one is returned as it is."""
        ...
