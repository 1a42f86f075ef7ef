"""Stores of operations, state and champions in a dictionary, for tests that need thousands of them.

Made for one thread. A test holds them against the real stores, call by call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gnomon.contracts.clocks import Clock, from_us
from gnomon.contracts.operations import FINAL, Operation, OperationKind, OperationState
from gnomon.contracts.registry import Lineage, ModelVersion
from gnomon.contracts.signatures import Signature
from gnomon.errors import Conflict, NotFound


class MemoryOperations:
    """An `OperationStore`.

    Args:
        clock: Tells when an operation was made and changed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._operations: dict[str, Operation] = {}

    def submit(
        self, kind: OperationKind, target: str, arguments: Mapping[str, Any], *, actor: str,
        operation_id: str | None = None,
    ) -> Operation:  # fmt: skip
        """Store the intent, or return the operation that already has that id and content."""
        identity = operation_id or f"made-{len(self._operations)}"
        known = self._operations.get(identity)
        if known is None:
            now = from_us(self._clock.now_us())
            known = Operation(identity, kind, target, dict(arguments), actor=actor, created=now, updated=now)
            self._operations[identity] = known
        if (known.kind, known.target, known.arguments) != (kind, target, dict(arguments)):
            raise Conflict(f"operation '{identity}' exists with other content")
        return known

    def get(self, operation_id: str) -> Operation:
        """Return an operation."""
        try:
            return self._operations[operation_id]
        except KeyError:
            raise NotFound(f"there is no operation '{operation_id}'") from None

    def list(self, *, states: Sequence[OperationState] = (), limit: int = 100) -> list[Operation]:
        """Return operations, newest first."""
        found = [op for op in self._operations.values() if not states or op.state in states]
        return found[::-1][: max(limit, 0)]

    def lease(self, operation_id: str, expected_lease: int) -> Operation | None:
        """Start the next attempt, or return None if it moved on meanwhile or is final."""
        known = self.get(operation_id)
        if known.lease != expected_lease or known.state in FINAL:
            return None
        return self._write(replace(known, state="running", lease=known.lease + 1, attempts=known.attempts + 1))

    def report(self, operation_id: str, lease: int, progress: str) -> bool:
        """Record progress under the current lease."""
        known = self.get(operation_id)
        if known.state != "running" or known.lease != lease:
            return False
        self._write(replace(known, progress=progress))
        return True

    def finish(
        self, operation_id: str, lease: int, *, result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        """End an operation under the current lease."""
        known = self.get(operation_id)
        if known.state != "running" or known.lease != lease:
            return False
        self._write(replace(known, state="failed" if error is not None else "succeeded", result=result, error=error))
        return True

    def cancel(self, operation_id: str) -> Operation:
        """End an operation that is not final as cancelled."""
        known = self.get(operation_id)
        return known if known.state in FINAL else self._write(replace(known, state="cancelled"))

    def _write(self, operation: Operation) -> Operation:
        changed = replace(operation, updated=from_us(self._clock.now_us()))
        self._operations[operation.id] = changed
        return changed


class MemoryStates:
    """A `StateStore`."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[str, Mapping[str, Any]]] = {}

    def put(self, kind: str, name: str, document: Mapping[str, Any]) -> None:
        """Replace a document."""
        self._documents.setdefault(kind, {})[name] = dict(document)

    def get(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Return a document, or None."""
        return self._documents.get(kind, {}).get(name)

    def all(self, kind: str) -> Mapping[str, Mapping[str, Any]]:
        """Return all documents of a kind by name."""
        return dict(sorted(self._documents.get(kind, {}).items()))

    def take(self, kind: str, name: str) -> Mapping[str, Any] | None:
        """Remove a document and return it, or None."""
        return self._documents.get(kind, {}).pop(name, None)


class MemoryAliases:
    """Champions of models, whose versions are numbers without artifacts."""

    def __init__(self) -> None:
        self._champions: dict[tuple[str, str], ModelVersion] = {}

    def resolve(self, model: str, alias: str) -> ModelVersion | None:
        """Return the version that an alias names, or None."""
        return self._champions.get((model, alias))

    def move(self, model: str, alias: str, number: int) -> None:
        """Point an alias at a version."""
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        signature = Signature(keys={}, request={}, inputs=(), lookups=(), request_features=(), task="binary")
        lineage = Lineage("", "", "", "", {}, {}, moment)
        self._champions[model, alias] = ModelVersion(model, number, "", signature, (), lineage, moment, (alias,))
