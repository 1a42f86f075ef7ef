"""Audit entries of operations: each is recorded once, however often the operation's work is repeated.

Used by the work of operations, whose worker may die between what it did and its entry, or right after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.contracts.platform_state import AuditTrail

ACTOR = "control-plane"
_MOST_ENTRIES = 1000  # of the target since the attempt before; what an operation repeats, it repeats soon


def record_once(
    audit: AuditTrail, operation_id: str, action: str, target: str, details: Mapping[str, Any]
) -> None:  # fmt: skip
    """Record what an operation did unless an earlier attempt of it has recorded it.

    Args:
        audit: The trail.
        operation_id: The operation; part of the entry's details.
        action: What it did; an operation does it to a target at most once.
        target: To what.
        details: Why, with the numbers that decided.
    """
    entries = audit.entries(target=target, limit=_MOST_ENTRIES)
    if not any(e.action == action and e.details.get("operation") == operation_id for e in entries):
        audit.record(ACTOR, action, target, {**details, "operation": operation_id})
