"""MonitorState: what the control plane remembers of a monitor, kept as the document ('monitor_schedule', name).

The control plane is its only writer. That a monitor fired is taken from the result of the operation that evaluated it:
a result is fenced by the lease, whereas a document that the worker writes may come from a worker given up long ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

SCHEDULE = "monitor_schedule"
"""Kind of the documents."""


@dataclass(frozen=True)
class MonitorState:
    """State of a monitor.

    Attributes:
        next_due_us: When it is evaluated next; None before its deployment first served.
        watching: Ids of evaluations that were asked for and whose end has not been taken in.
        last_evaluated_us: When the last evaluation succeeded.
        last_fired_us: When it last fired outside a cooldown.
        last_operation: Id of the last evaluation that ended.
        last_retrain: Id of the last retraining that followed.
    """

    next_due_us: int | None = None
    watching: tuple[str, ...] = ()
    last_evaluated_us: int | None = None
    last_fired_us: int | None = None
    last_operation: str | None = None
    last_retrain: str | None = None

    def schedule(self, next_due_us: int) -> Self:
        """Return the state with another time of the next evaluation."""
        return replace(self, next_due_us=next_due_us)

    def watch(self, operation_id: str) -> Self:
        """Return the state with an evaluation remembered; once, however often it is asked for."""
        return self if operation_id in self.watching else replace(self, watching=(*self.watching, operation_id))

    def settle(
        self, operation_id: str, ended_us: int, *, succeeded: bool, fired: bool, retrain: str | None
    ) -> Self:  # fmt: skip
        """Return the state after an evaluation ended.

        Args:
            operation_id: The evaluation; no longer watched afterwards.
            ended_us: When it ended.
            succeeded: Whether it said anything.
            fired: Whether it counts as firing.
            retrain: Id of the retraining that follows from it.

        Returns:
            The new state.
        """
        return replace(
            self,
            watching=tuple(watched for watched in self.watching if watched != operation_id),
            last_operation=operation_id,
            last_evaluated_us=ended_us if succeeded else self.last_evaluated_us,
            last_fired_us=ended_us if fired else self.last_fired_us,
            last_retrain=retrain or self.last_retrain,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the document; `from_json` reads it back."""
        return {**asdict(self), "watching": list(self.watching)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> Self:
        """Read a document; None is a monitor that was never seen."""
        if document is None:
            return cls()
        return cls(**{**document, "watching": tuple(document["watching"])})


def evaluation_id(monitor: str, due_us: int) -> str:
    """Return the operation id of the evaluation of a monitor that is due at a time."""
    return f"monitor-{monitor}-{due_us}"


def retrain_id(evaluation: str) -> str:
    """Return the operation id of the retraining that follows from an evaluation."""
    return f"retrain-{evaluation}"
